"""Pools of outlier-exposure images (docs/method.md, section 5.6)."""

import gzip
import hashlib
import io
import os
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from fcdd.catalog import PoolName
from fcdd.data import cifar
from fcdd.data.files import fingerprint, idx_files
from fcdd.data.load import fetch
from fcdd.data.task import Pool

Shape = tuple[int, int, int]  # c h w

EMNIST_FILE = "EMNIST/raw/emnist-letters-train-images-idx3-ubyte"
MNIST_FILE = "MNIST/raw/train-images-idx3-ubyte"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
# What the suffixes stand for; a file that is something else (such as EPS, which runs a program) is
# not opened.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
# What Pillow raises for broken files: OSError (truncated, unknown), SyntaxError (PNG chunks), the
# rest from single decoders.
_UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, OverflowError),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
_NUM_CROPS = 4000  # ours: two thirds of a Fashion-MNIST class
_CROP_PX = (32, 128)  # ours: smallest and largest side of a crop


def load_pool(
    source: PoolName,
    shape: Shape,
    *,
    root: Path | None,
    pool: Path | None,
    download: bool = False,
) -> Pool | None:
    """The pool `source` as uint8 [n, c, h, w] with (c, h, w) = `shape`; None for "none".

    Data sets are read below `root` (fetched first with `download`), "folder" is read from `pool`, a
    folder or tar of images. Raises ValueError if what is needed is not given, missing or damaged.
    """
    if download and source in ("cifar100", "emnist", "mnist"):
        fetch(source, root)
    match source:
        case "none":
            return None
        case "cifar100":
            return _of_images(cifar.load_cifar100(root), shape)
        case "emnist":
            (letters,) = idx_files(root, "emnist", [EMNIST_FILE])
            return _of_images(letters[:, None].transpose(0, 1, 3, 2), shape)  # stored sideways
        case "mnist":
            (digits,) = idx_files(root, "mnist", [MNIST_FILE])
            return _of_images(digits[:, None], shape)
        case "photographs":
            return _photographs(shape)
        case "folder":
            return _folder(pool, shape)
        case _:
            raise ValueError(f"pool {source!r} has no reader yet")


def _of_images(images: np.ndarray, shape: Shape) -> Pool:
    """A pool of uint8 images [n, 1 or 3, any h, any w]."""
    pictures = (Image.fromarray(i[0] if len(i) == 1 else i.transpose(1, 2, 0)) for i in images)
    fitted = np.stack([_fit(picture, shape) for picture in pictures])
    return Pool(images=fitted, fingerprint=fingerprint(fitted))


def _fit(picture: Image.Image, shape: Shape) -> np.ndarray:
    """`picture` (mode L or RGB) as uint8 [c, h, w]: squashed to (h, w), then gray or colour."""
    c, h, w = shape
    picture = picture.resize((w, h), Image.Resampling.BILINEAR)
    array = np.asarray(_converted(picture, "L" if c == 1 else "RGB"))  # h w or h w 3
    return array[None] if c == 1 else array.transpose(2, 0, 1)


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    """`picture` in `mode`; Pillow's own convert copies even where nothing is to be done."""
    return picture if picture.mode == mode else picture.convert(mode)


def _photographs(shape: Shape) -> Pool:
    """Square crops of random size and place of scikit-learn's two photographs, always the same."""
    from sklearn.datasets import load_sample_images  # takes a second to import

    photographs = [Image.fromarray(array) for array in load_sample_images().images]
    rng = np.random.default_rng(0)  # fixed: the pool is data, the run's seed only draws from it
    crops = []
    for _ in range(_NUM_CROPS):
        photograph = photographs[rng.integers(len(photographs))]
        side = int(rng.integers(_CROP_PX[0], _CROP_PX[1], endpoint=True))
        left = int(rng.integers(photograph.width - side, endpoint=True))
        top = int(rng.integers(photograph.height - side, endpoint=True))
        crops.append(_fit(photograph.crop((left, top, left + side, top + side)), shape))
    images = np.stack(crops)
    return Pool(images=images, fingerprint=fingerprint(images))


def _folder(path: Path | None, shape: Shape) -> Pool:
    """The images of a folder or tar in the order of their relative names.

    The fingerprint covers the bytes of all image files, whether readable or not, and no names.
    """
    if path is None:
        raise ValueError(
            "pool 'folder' needs a folder or tar of images: give --pool or set FCDD_POOL"
        )
    if not path.exists():
        raise ValueError(f"pool {path} does not exist; correct --pool or FCDD_POOL")
    hashes: dict[str, bytes] = {}
    images: dict[str, np.ndarray] = {}
    unreadable: set[str] = set()
    with warnings.catch_warnings():
        # Odd metadata is no reason to leave an image out; a decompression bomb is.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for name, content in _files(path):
            if content is None:
                unreadable.add(name)
                continue
            hashes[name] = hashlib.sha256(content).digest()
            try:
                images[name] = _decode(content, shape)
            except _UNREADABLE:
                unreadable.add(name)
    if not images:
        raise ValueError(
            f"pool {path} holds no readable image ({len(unreadable)} unreadable); known suffixes: "
            f"{', '.join(SUFFIXES)}; correct --pool or FCDD_POOL"
        )
    digest = hashlib.sha256(b"".join(hashes[name] for name in sorted(hashes)))
    return Pool(
        images=np.stack([images[name] for name in sorted(images)]),
        fingerprint=digest.hexdigest()[:16],
        unreadable=tuple(sorted(unreadable)),
    )


def _decode(content: bytes, shape: Shape) -> np.ndarray:
    """The image in `content` as uint8 [c, h, w]. Raises one of _UNREADABLE."""
    with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
        if picture.mode.startswith(("I", "F")):
            raise ValueError(f"mode {picture.mode!r}: 16 bits and more would be cut to white")
        # Lets a JPEG at least 4 times too large be decoded at a fraction of its size; none other.
        picture.draft(None, (2 * shape[2], 2 * shape[1]))
        return _fit(_converted(picture, "RGB"), shape)


def _files(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Relative name and content of every image file; None for one that cannot be read.

    A symbolic link is never followed, so nothing outside `path` is read: it counts as unreadable.
    """
    return _folder_files(path) if path.is_dir() else _tar_files(path)


def _folder_files(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    for parent, _, names in os.walk(folder):
        for file in (Path(parent, name) for name in names if name.lower().endswith(SUFFIXES)):
            name = file.relative_to(folder).as_posix()
            try:
                regular = file.is_file() and not file.is_symlink()
                content = file.read_bytes() if regular else None
            except OSError:
                content = None
            yield name, content


def _tar_files(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """In the order of the tar, in one pass. Raises ValueError for a damaged one."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        # Not tarfile's own "r|gz": it takes a truncated stream for the end of the archive.
        stream = gzip.GzipFile(fileobj=raw) if compressed else raw
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = PurePosixPath(member.name).as_posix()
                    if name.lower().endswith(SUFFIXES) and not member.isdir():
                        file = archive.extractfile(member) if member.isfile() else None
                        yield name, None if file is None else file.read()
            while stream.read(1 << 20):  # to the end, where gzip keeps its checksum
                pass
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise ValueError(
                f"pool {path} is not a readable tar ({error}); give a folder, .tar or .tar.gz to "
                "--pool or FCDD_POOL"
            ) from None
