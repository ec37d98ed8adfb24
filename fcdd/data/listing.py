"""Lists of image files as arrays, in which millions of files stay small."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np


class Changed(ValueError):
    """A listed file is gone or has another size: results would not belong to the fingerprint."""


@dataclass(frozen=True)
class Entry:
    """Where the bytes of one file lie: `size` bytes from `offset` of `path`."""

    path: str
    offset: int
    size: int
    whole: bool  # the file holds nothing else


@dataclass(frozen=True)
class Listing:
    """n image files in the order of their relative names, which are `<group>/<name>`.

    `sources` are the folder or tar of each group. Files of a tar begin at `offsets`, those of a
    folder (offset -1) are files of their own. 14 million names of ImageNet-22k take about 0.6 GB.
    """

    groups: tuple[str, ...]
    sources: tuple[str, ...]
    group_numbers: np.ndarray  # int32 [n]
    names: np.ndarray  # uint8, all names one after the other
    name_ends: np.ndarray  # int64 [n]
    sizes: np.ndarray  # int64 [n]
    offsets: np.ndarray  # int64 [n]

    def __len__(self) -> int:
        return len(self.sizes)

    def _file_name(self, index: int) -> str:
        start = int(self.name_ends[index - 1]) if index else 0
        return os.fsdecode(self.names[start : self.name_ends[index]].tobytes())

    def name(self, index: int) -> str:
        """The relative name of a file, with "/"."""
        group = self.groups[self.group_numbers[index]]
        return f"{group}/{self._file_name(index)}" if group else self._file_name(index)

    def group(self, index: int) -> str:
        """The group (such as the class folder) of a file."""
        return self.groups[self.group_numbers[index]]

    def entry(self, index: int) -> Entry:
        """Where the bytes of a file lie."""
        source, offset = self.sources[self.group_numbers[index]], int(self.offsets[index])
        size = int(self.sizes[index])
        if offset < 0:
            return Entry(os.path.join(source, self._file_name(index)), 0, size, whole=True)
        return Entry(source, offset, size, whole=False)

    def read(self, index: int) -> bytes:
        """The content of a file. Raises Changed, or OSError if it is unreadable."""
        return read(self.entry(index))

    def keep(self, wanted: Callable[[str], bool]) -> Self:
        """The files of the groups that are `wanted`; the list itself if those are all."""
        chosen = np.array([wanted(group) for group in self.groups], bool)
        mask = chosen[self.group_numbers]
        if mask.all():
            return self
        starts = np.concatenate([[0], self.name_ends[:-1]])
        lengths = self.name_ends - starts
        return type(self)(
            self.groups,
            self.sources,
            self.group_numbers[mask],
            self.names[np.repeat(mask, lengths)],
            np.cumsum(lengths[mask]),
            self.sizes[mask],
            self.offsets[mask],
        )

    def fingerprint(self) -> str:
        """16 hex digits from all relative names and sizes: contents of millions of files cannot be
        read before every run, so a file replaced by one of equal size goes unnoticed."""
        used = np.unique(self.group_numbers)
        places = np.zeros(len(self.groups), np.int64)
        places[used] = np.arange(len(used))
        digest = hashlib.sha256()
        for group in used:
            digest.update(os.fsencode(self.groups[group]) + b"\0")
        for array in (places[self.group_numbers], self.names, self.name_ends, self.sizes):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]


def read(entry: Entry) -> bytes:
    """The bytes of `entry`. Raises Changed if they are not as listed, else OSError."""
    try:
        with open(entry.path, "rb") as file:
            file.seek(entry.offset)
            content = file.read(entry.size)
            # A file of its own must end where its list says, a tar goes on.
            longer = entry.whole and bool(file.read(1))
    except FileNotFoundError:
        raise _changed(entry, "is missing") from None
    if len(content) != entry.size or longer:
        raise _changed(entry, "has another size than when it was listed")
    return content


def _changed(entry: Entry, fault: str) -> Changed:
    return Changed(
        f"{entry.path} {fault}; do not change a data root while runs read it, and on a cluster "
        "mount it at the same path on every node"
    )
