"""The files of a folder or tar by their names, read without unpacking and never from outside."""

import bz2
import gzip
import hashlib
import logging
import lzma
import os
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from fcdd.data.pictures import is_image

log = logging.getLogger(__name__)

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_OPENERS = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open, b"BZh": bz2.open}
_BLOCK = 512  # bytes of a tar header, and of the empty block that ends a tar
_DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Files:
    """The files below `prefix` in `place`, a folder or tar.

    `sizes` in bytes, by POSIX name relative to `prefix`. Left out are hidden files and folders
    (names that begin with "."), and `__MACOSX`.
    """

    place: Path
    prefix: str
    sizes: Mapping[str, int]

    def images(self) -> list[str]:
        """The names of the image files, sorted."""
        return sorted(name for name in self.sizes if is_image(name))

    def where(self, name: str) -> str:
        """The file `name` for a message: a path, or a tar and a path in it."""
        if self.place.is_dir():
            return str(self.place / (self.prefix + name))
        return f"{self.prefix}{name} in {self.place}" if name else str(self.place)


def open_files(path: Path, *, only: Collection[str] = ()) -> Files:
    """The files below the folder `path` or in the tar `path`; of a folder, with `only`, those below
    its folders of these names.

    Raises ValueError for a link that leads out of it, to a folder or to nowhere, for a damaged tar,
    for what is neither, and for a folder that cannot be listed.
    """
    if not path.exists():
        raise ValueError(f"{path} does not exist; correct --data-root or FCDD_DATA")
    if path.is_dir():
        return Files(path, "", _listing(path.resolve(), only))
    return Files(path, "", {name: member.size for name, member in _members(path).items()})


def below(files: Files, folder: str) -> Files:
    """The part of `files` below the folder of this name."""
    start = f"{folder}/"
    sizes = {n.removeprefix(start): s for n, s in files.sizes.items() if n.startswith(start)}
    return Files(files.place, files.prefix + start, sizes)


def folders(names: Collection[str]) -> list[str]:
    """The first folders on the way to `names`, sorted."""
    return sorted({name.partition("/")[0] for name in names if "/" in name})


def read(files: Files, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of the files `names`, in the order of the place, which may differ.

    A compressed tar takes a pass over all of it. Raises ValueError if it is damaged.
    """
    if files.place.is_dir():
        for name in names:
            try:
                content = (files.place / (files.prefix + name)).read_bytes()
            except OSError as error:
                raise ValueError(f"{files.where(name)} cannot be read: {error.strerror}") from None
            yield name, content
        return
    wanted = {files.prefix + name: name for name in names}
    for name, content in _contents(files.place, wanted):
        yield wanted[name], content


def digest(files: Files, names: Collection[str]) -> str:
    """SHA-256 over names, sizes and contents of `names`, as hex.

    For a compressed tar the bytes of the whole tar stand for the contents.
    """
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(f"{name}\0{files.sizes[name]}\0".encode())
    if not files.place.is_dir() and _opener(files.place):
        total.update(_file_digest(*_identity(files.place)).encode())
        return total.hexdigest()
    contents = {n: hashlib.sha256(content).digest() for n, content in read(files, names)}
    for name in sorted(contents):
        total.update(contents[name])
    return total.hexdigest()


def _listing(folder: Path, only: Collection[str]) -> dict[str, int]:
    def refuse(error: OSError) -> None:
        raise ValueError(f"{error.filename} cannot be listed: {error.strerror}")

    sizes: dict[str, int] = {}
    for parent, children, names in os.walk(folder, onerror=refuse):
        top = Path(parent) == folder and only
        children[:] = [child for child in children if _visible(child) and (not top or child in top)]
        for child in (Path(parent, child) for child in children):
            if child.is_symlink():
                raise ValueError(
                    f"{child} is a link to a folder, which is not followed; put the folder itself "
                    "there"
                )
        for file in (Path(parent, name) for name in names if _visible(name) and not top):
            if not file.is_symlink() or _leads_inside(file, folder):
                sizes[file.relative_to(folder).as_posix()] = file.stat().st_size
    return sizes


def _leads_inside(link: Path, folder: Path) -> bool:
    """Whether `link` leads to a file below `folder`. Raises ValueError for an image where not."""
    target = link.resolve()
    inside = target.is_file() and target.is_relative_to(folder)
    if not inside and is_image(link.name):
        raise ValueError(
            f"{link} is a link to {target}, which is no file below {folder} and is not read; put "
            "the file itself there"
        )
    return inside


def _visible(part: str) -> bool:
    return not part.startswith(".") and part != "__MACOSX"


def _members(path: Path) -> Mapping[str, tarfile.TarInfo]:
    """The regular files of a tar by name; of two files of one name the later, as when unpacking."""
    return _index(*_identity(path))


def _identity(path: Path) -> tuple[Path, int, int]:
    status = path.stat()
    return path, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4)  # an index of a large tar takes seconds, of a compressed one minutes
def _index(path: Path, size: int, changed_ns: int) -> Mapping[str, tarfile.TarInfo]:
    members: dict[str, tarfile.TarInfo] = {}
    try:
        with _archive(path) as (archive, stream):
            for member in archive:
                name = _name(member)
                if name is not None and member.isreg():
                    members[name] = member
                elif name is not None and is_image(name):
                    raise ValueError(
                        f"{name} in {path} is a link or device, which is not followed; pack the "
                        "file itself"
                    )
            _check_end(archive, stream, compressed=_opener(path) is not None)
    except _DAMAGED as error:
        raise _damaged(path, error) from None
    return members


@lru_cache(maxsize=4)
def _file_digest(path: Path, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _opener(path: Path) -> Callable[..., Any] | None:
    """What decompresses `path`; None for a plain tar."""
    with path.open("rb") as file:
        begin = file.read(6)
    return next((opener for magic, opener in _OPENERS.items() if begin.startswith(magic)), None)


@contextmanager
def _archive(path: Path) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
    opener = _opener(path)
    # Not tarfile's own "r|gz": it takes a truncated stream for the end of the archive.
    with (
        path.open("rb") as raw,
        opener(raw) if opener else nullcontext(raw) as stream,
        tarfile.open(fileobj=stream, mode="r|" if opener else "r:") as archive,
    ):
        yield archive, stream


def _check_end(archive: tarfile.TarFile, stream: IO[bytes], *, compressed: bool) -> None:
    """Reads on to what tells a whole tar from one cut short, which tarfile does not look at."""
    if compressed:
        while stream.read(1 << 20):  # to the checksum
            pass
    else:
        stream.seek(archive.offset)
        if len(stream.read(_BLOCK)) < _BLOCK:  # of the empty blocks at the end
            raise tarfile.ReadError("it is cut short")


def _name(member: tarfile.TarInfo) -> str | None:
    """The normalised name of `member`; None for what is hidden or would leave the tar's folder."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not all(_visible(part) for part in path.parts):
        return None
    return path.as_posix()


def _contents(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    members = _members(path)
    chosen = {members[name].offset_data: name for name in wanted}
    compressed = _opener(path) is not None
    if compressed:
        log.info("reading %d files in one pass over %s", len(chosen), path)
    try:
        with _archive(path) as (archive, _):
            # A plain tar is read at the places that its index gives, a compressed one in order.
            for member in archive if compressed else (members[name] for name in wanted):
                name = chosen.pop(member.offset_data, None)
                if name is not None:
                    yield name, _content(archive, member)
                if not chosen:
                    break
    except _DAMAGED as error:
        raise _damaged(path, error) from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read()


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is not a readable tar ({error}); fetch it again")
