"""A pool of outliers that the user brings: the images of a folder or tar."""

import gzip
import hashlib
import os
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from fcdd.data.decoding import in_threads
from fcdd.data.listing import Listing
from fcdd.data.pictures import SUFFIXES, is_image
from fcdd.data.scanning import scan_tar, scan_tree
from fcdd.data.streamed import Streamed
from fcdd.data.task import Pool
from fcdd.data.worker import Shape, fitted

# Above, images stay on disk and are decoded while training goes on: 4 GiB are 21,800 of 3x256x256.
_MAX_BYTES = 4 << 30
_GZIP = b"\x1f\x8b"


def load_folder(path: Path | None, shape: Shape, *, workers: int) -> Pool:
    """The images of a folder or tar, in the order of their relative names, squashed to `shape`.

    The fingerprint covers the bytes of all image files, whether readable or not, and no names.
    Images of more than 4 GiB of pixels are `Streamed`, with the fingerprint of their names and
    sizes. Raises ValueError if there is no readable image, for a damaged tar, and for a compressed
    tar of so many images.
    """
    if path is None:
        raise ValueError(
            "pool 'folder' needs a folder or tar of images: give --pool or set FCDD_POOL"
        )
    if not path.exists():
        raise ValueError(f"pool {path} does not exist; correct --pool or FCDD_POOL")
    most = _MAX_BYTES // int(np.prod(shape))
    large = _large(path, most)
    if large is not None:
        left_out = tuple(sorted(_links(path))) if path.is_dir() else ()
        images = Streamed(large, shape, "squash", workers)
        return Pool(images=images, fingerprint=large.fingerprint(), unreadable=left_out)
    return _in_memory(path, shape, most)


def _large(path: Path, most: int) -> Listing | None:
    """The files of a pool of more than `most` images; None for a smaller or compressed one."""
    if path.is_dir():
        count = sum(is_image(name) for _, _, names in os.walk(path) for name in names)
        return scan_tree(path) if count > most else None
    if _compressed(path):
        return None
    try:
        listing = scan_tar(path)
    except ValueError:
        return None  # reading it tells what is wrong
    return listing if len(listing) > most else None


def _in_memory(path: Path, shape: Shape, most: int) -> Pool:
    hashes: dict[str, bytes] = {}
    images: dict[str, np.ndarray] = {}
    with warnings.catch_warnings():
        # Odd metadata is no reason to leave an image out; a decompression bomb is.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        unreadable: set[str] = set()
        for name, digest, image in in_threads(lambda file: _read(file, shape), _files(path)):
            if digest is not None:
                hashes[name] = digest
            if image is None:
                unreadable.add(name)
            else:
                images[name] = image
            if len(images) > most:
                raise ValueError(
                    f"pool {path} holds more than {most} images, too many to keep in memory at "
                    f"{shape}; unpack it, then they are read as they are needed"
                )
    if not images:
        raise ValueError(
            f"pool {path} holds no readable image ({len(unreadable)} unreadable); known suffixes: "
            f"{', '.join(SUFFIXES)}; correct --pool or FCDD_POOL"
        )
    total = hashlib.sha256(b"".join(hashes[name] for name in sorted(hashes)))
    return Pool(
        images=np.stack([images[name] for name in sorted(images)]),
        fingerprint=total.hexdigest()[:16],
        unreadable=tuple(sorted(unreadable)),
    )


def _read(
    file: tuple[str, bytes | None], shape: Shape
) -> tuple[str, bytes | None, np.ndarray | None]:
    """Name, digest and image of a file; None for what cannot be read."""
    name, content = file
    if content is None:
        return name, None, None
    digest = hashlib.sha256(content).digest()
    try:
        return name, digest, fitted(content, shape, "squash", name=name)
    except ValueError:
        return name, digest, None


def _links(folder: Path) -> list[str]:
    return [
        (Path(parent) / name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder)
        for name in names
        if is_image(name) and (Path(parent) / name).is_symlink()
    ]


def _compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def _files(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Relative name and content of every image file; None for one that cannot be read.

    A symbolic link is never followed, so nothing outside `path` is read: it counts as unreadable.
    """
    return _folder_files(path) if path.is_dir() else _tar_files(path)


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    for parent, _, names in os.walk(folder):
        for file in (Path(parent, name) for name in names if is_image(name)):
            name = file.relative_to(folder).as_posix()
            try:
                regular = file.is_file() and not file.is_symlink()
                content = file.read_bytes() if regular else None
            except OSError:
                content = None
            yield name, content


def _tar_files(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """In the order of the tar, in one pass. Raises ValueError for a damaged one."""
    compressed = _compressed(path)
    with path.open("rb") as raw:
        # Not tarfile's own "r|gz": it takes a truncated stream for the end of the archive.
        stream = gzip.GzipFile(fileobj=raw) if compressed else raw
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).as_posix()
                    if is_image(name) and not member.isdir():
                        file = archive.extractfile(member) if member.isfile() else None
                        yield name, None if file is None else file.read()
            while stream.read(1 << 20):  # to the end, where gzip keeps its checksum
                pass
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"pool {path} is not a readable tar ({error}); give a folder, .tar or .tar.gz to "
                "--pool or FCDD_POOL"
            ) from None
