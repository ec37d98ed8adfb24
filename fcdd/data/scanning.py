"""From a folder or an uncompressed tar to the list of its image files.

Nothing is unpacked and no symbolic link below the folder is followed.
"""

import hashlib
import os
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np

from fcdd.data.cache import Arrays, cached
from fcdd.data.listing import Listing
from fcdd.data.pictures import is_image

_SCANNING_THREADS = 16  # reading folders waits for the disk or the network, not for a core
_SCANNED_AHEAD = 256  # folders
_File = tuple[str, int, int]  # name, size, offset in a tar or -1
_Part = tuple[str, str, Sequence[_File]]  # group, its source, its files


def scan_classes(
    base: Path, *, only: Collection[str] | None = None, cache: Path | None = None
) -> Listing:
    """The images `<class folder>/<name>` below the folder `base`, which is read in parallel; of the
    class folders `only`, all others are not even looked into.

    Links, and what lies deeper, are left out. The list is kept below `cache` where one is given,
    and used again until a file is added, removed or renamed. Raises ValueError without an image.
    """
    with os.scandir(base) as entries:
        folders = sorted(
            entry.name
            for entry in entries
            if (only is None or entry.name in only) and entry.is_dir(follow_symlinks=False)
        )
    arrays = cached(
        lambda: _arrays(_assemble(_scanned(base, folders))),
        folder=cache,
        name=f"list {hashlib.sha256(os.fsencode(base.resolve())).hexdigest()[:16]}",
        source=_state(base, folders) if cache else "",
    )
    paths = tuple(os.path.join(base, name) for name in folders)
    return _not_empty(Listing(tuple(folders), paths, **arrays), base)


def _state(base: Path, folders: Sequence[str]) -> str:
    """Names and times of the folders, which change with every file added, removed or renamed."""
    digest = hashlib.sha256()
    for name in folders:
        digest.update(os.fsencode(f"{name}/{os.stat(base / name).st_mtime_ns}/"))
    return digest.hexdigest()


def _arrays(listing: Listing) -> Arrays:
    names = ("group_numbers", "names", "name_ends", "sizes", "offsets")
    return {name: getattr(listing, name) for name in names}


def _scanned(base: Path, folders: Sequence[str]) -> Iterator[_Part]:
    paths = [os.path.join(base, name) for name in folders]
    with ThreadPoolExecutor(_SCANNING_THREADS) as threads:
        # Not all at once: what is waiting to be assembled are Python objects.
        for start in range(0, len(paths), _SCANNED_AHEAD):
            ahead = slice(start, start + _SCANNED_AHEAD)
            yield from zip(
                folders[ahead], paths[ahead], threads.map(_images, paths[ahead]), strict=True
            )


def scan_tree(base: Path) -> Listing:
    """All images below the folder `base`, at any depth. Links are left out.

    Raises ValueError if there is no image.
    """
    files: list[_File] = []
    for parent, _, _ in os.walk(base):
        inner = os.path.relpath(parent, base)
        start = "" if inner == "." else f"{inner.replace(os.sep, '/')}/"
        files += [(start + name, size, -1) for name, size, _ in _images(parent)]
    return _not_empty(_assemble([("", str(base), sorted(files))]), base)


def scan_tar(path: Path, *, classes: Mapping[str, str] | None = None) -> Listing:
    """All images in an uncompressed tar by their names in it; with `classes` (file name -> class),
    those that it names as `<class>/<name>`. Raises ValueError if it is damaged or has none."""
    with path.open("rb") as file:
        members = [
            (name, size, offset)
            for name, size, offset in _members(file, path)
            if classes is None or name in classes
        ]
    if classes is None:
        return _not_empty(_assemble([("", str(path), sorted(members))]), path)
    by_class: dict[str, list[_File]] = {}
    for member in sorted(members):
        by_class.setdefault(classes[member[0]], []).append(member)
    listing = _assemble((name, str(path), by_class[name]) for name in sorted(by_class))
    return _not_empty(listing, path)


def scan_tar_of_tars(path: Path, groups: Iterable[str]) -> Listing:
    """The images of the inner tars `<group>.tar` of an uncompressed tar as `<group>/<name>`.

    Raises ValueError if it is damaged or an inner tar is missing.
    """
    wanted = {f"{group}.tar": group for group in groups}
    parts: dict[str, list[_File]] = {}
    try:
        with tarfile.open(path, "r:") as outer:
            for member in outer:
                stream = outer.extractfile(member) if member.name in wanted else None
                if stream is not None:
                    parts[wanted[member.name]] = [
                        (name, size, member.offset_data + offset)
                        for name, size, offset in _members(stream, path)
                    ]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _damaged(path, error) from None
    if lacking := sorted(set(wanted.values()) - parts.keys()):
        raise ValueError(f"{path} lacks {', '.join(f'{n}.tar' for n in lacking)}; fetch it again")
    return _assemble((name, str(path), sorted(parts[name])) for name in sorted(parts))


def _images(folder: str) -> list[_File]:
    with os.scandir(folder) as entries:
        return sorted(
            (entry.name, entry.stat(follow_symlinks=False).st_size, -1)
            for entry in entries
            if is_image(entry.name) and entry.is_file(follow_symlinks=False)
        )


def _members(file: IO[bytes], path: Path) -> list[_File]:
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            return [
                (member.name.removeprefix("./"), member.size, member.offset_data)
                for member in archive
                if member.isreg() and not member.issparse() and is_image(member.name)
            ]
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a readable uncompressed tar ({error}); fetch it again")


def _assemble(parts: Iterable[_Part]) -> Listing:
    """A list of groups: name, source and files of each. Keeps no Python object per file."""
    groups, sources, counts = [], [], []
    names, ends, sizes, offsets = bytearray(), [], [], []
    total = 0
    for group, source, files in parts:
        encoded = [os.fsencode(name) for name, _, _ in files]
        lengths = np.fromiter((len(name) for name in encoded), np.int64, len(encoded))
        names += b"".join(encoded)
        ends.append(total + np.cumsum(lengths))
        total += int(lengths.sum())
        sizes.append(np.fromiter((size for _, size, _ in files), np.int64, len(files)))
        offsets.append(np.fromiter((offset for *_, offset in files), np.int64, len(files)))
        groups.append(group)
        sources.append(source)
        counts.append(len(files))
    none = [np.empty(0, np.int64)]
    return Listing(
        tuple(groups),
        tuple(sources),
        np.repeat(np.arange(len(groups), dtype=np.int32), counts),
        np.frombuffer(names, np.uint8),
        np.concatenate(ends or none),
        np.concatenate(sizes or none),
        np.concatenate(offsets or none),
    )


def _not_empty(listing: Listing, place: Path) -> Listing:
    if not len(listing):
        raise ValueError(
            f"{place} holds no image in the expected layout; correct --data-root or --pool"
        )
    return listing
