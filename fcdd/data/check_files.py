"""All files of a folder or tar: a run stops at the first faulty one, a check names them all."""

import lzma
import os
import tarfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fcdd.data.archive import TAR_SUFFIXES
from fcdd.data.check_findings import Notes
from fcdd.data.pictures import is_image

_DAMAGED = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError)
# No image that a run takes is as large: 89 M pixels of 4 bytes are 0.36 GB.
_MAX_FILE_BYTES = 1 << 30
_TOO_LARGE = "it is larger than 1 GiB"


@dataclass(frozen=True)
class Inventory:
    """The regular files of `place` by POSIX name below `prefix`, hidden ones left out."""

    place: Path
    prefix: str
    names: tuple[str, ...]

    def below(self, folder: str) -> "Inventory":
        """The files below `folder`, by their names in it."""
        start = f"{folder}/"
        names = tuple(n.removeprefix(start) for n in self.names if n.startswith(start))
        return Inventory(self.place, self.prefix + start, names)

    def images(self) -> list[str]:
        """The names of image files, sorted."""
        return sorted(name for name in self.names if is_image(name))

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes | str]]:
        """Yields name and content, or why it cannot be read; in the order of the place."""
        if self.place.is_dir():
            for name in names:
                path = self.place / (self.prefix + name)
                try:
                    large = path.stat().st_size > _MAX_FILE_BYTES
                    yield name, _TOO_LARGE if large else path.read_bytes()
                except OSError as error:
                    yield name, error.strerror or str(error)
            return
        wanted = {self.prefix + name: name for name in names}
        try:
            with tarfile.open(self.place) as archive:
                for member in archive:
                    name = wanted.pop(_plain(member.name), None)
                    stream = archive.extractfile(member) if name is not None else None
                    if name is not None and stream is not None:
                        large = member.size > _MAX_FILE_BYTES
                        yield name, _TOO_LARGE if large else stream.read()
        except _DAMAGED as error:
            yield from ((name, f"the tar is damaged there: {error}") for name in wanted.values())


def inventory(path: Path, notes: Notes, *, skip: Collection[str] = ()) -> Inventory:
    """The files of the folder or tar `path`, without those in the top folders `skip`; notes links,
    special files and a damaged tar."""
    names = _folder(path, notes, skip) if path.is_dir() else _tar(path, notes)
    return Inventory(path, "", tuple(sorted(names)))


def is_tar(path: Path) -> bool:
    """Whether a file is taken for a tar: by its suffix."""
    return path.name.lower().endswith(TAR_SUFFIXES)


def _folder(top: Path, notes: Notes, skip: Collection[str]) -> list[str]:
    names = []
    whole = top.resolve()

    def unreadable(error: OSError) -> None:
        path = Path(error.filename or top)
        notes.add(
            path.relative_to(top).as_posix() if path.is_relative_to(top) else str(path),
            "folder that cannot be read",
            "refused",
            "allow reading it",
            error.strerror or "",
        )

    for parent, folders, files in os.walk(top, onerror=unreadable):
        skipped = skip if Path(parent) == top else ()
        folders[:] = sorted(f for f in folders if _visible(f) and f not in skipped)
        for path in (Path(parent, name) for name in [*folders, *files] if _visible(name)):
            name = path.relative_to(top).as_posix()
            if path.is_symlink():
                _note_link(path, name, whole, notes)
            if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(whole)):
                names.append(name)
    return names


def _note_link(path: Path, name: str, top: Path, notes: Notes) -> None:
    target = path.resolve()
    if not target.exists():
        kind, remedy = "symbolic link to nowhere", "delete it"
    elif target.is_dir():
        kind, remedy = "symbolic link to a folder", "put the folder itself there: none is followed"
    elif not target.is_relative_to(top):
        kind, remedy = "symbolic link out of the data", "put the file itself there"
    else:
        return
    counts = target.is_dir() or is_image(name)
    notes.add(name, kind, "refused" if counts else "harmless", remedy, f"leads to {target}")


def _tar(path: Path, notes: Notes) -> list[str]:
    names: list[str] = []
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = _plain(member.name)
                parts = PurePosixPath(name).parts
                if name.startswith("/") or ".." in parts:
                    notes.add(name, "path out of the tar", "harmless", "it is not read")
                elif not all(_visible(part) for part in parts) or member.isdir():
                    continue
                elif member.isreg():
                    names.append(name)
                elif is_image(name):
                    remedy = "pack the file itself"
                    notes.add(name, "link or device in a tar", "refused", remedy)
    except _DAMAGED as error:
        notes.add(path.name, "damaged tar", "refused", "fetch or pack it again", str(error))
    return names


def _plain(name: str) -> str:
    return PurePosixPath(name).as_posix()


def _visible(part: str) -> bool:
    return not part.startswith(".") and part != "__MACOSX"
