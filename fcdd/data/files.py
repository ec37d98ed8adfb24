"""Readers of the data sets' own file formats, straight from disk: idx and CIFAR batches."""

import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

_REMEDY = "delete it and fetch it again with `fcdd run ... --download`"
_IDX_UINT8 = 0x08  # third byte of an idx file: the element type


def fingerprint(*arrays: np.ndarray) -> str:
    """16 hex digits that name the content: SHA-256 over dtype, shape and bytes of each array."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def data_root(root: Path | None, name: str) -> Path:
    """`root` itself. Raises ValueError where the data set `name` needs one and there is none."""
    if root is None:
        raise ValueError(f"{name!r} is read from a data root: give --data-root or set FCDD_DATA")
    return root


def missing(root: Path, name: str, expected: Sequence[str]) -> ValueError:
    """The error of a data set that is not there: the files expected, and what fetches them."""
    return ValueError(
        f"{name!r} is not under the data root {root}: expected {', '.join(expected)}; fetch it "
        "with `fcdd run ... --download`, or point --data-root or FCDD_DATA to its folder"
    )


def idx_files(root: Path | None, name: str, files: Sequence[str]) -> list[np.ndarray]:
    """The arrays of idx `files` (names below `root`, without .gz) of data set `name`, in order.

    Raises ValueError if there is no root, a file is missing (all are named) or one is damaged.
    """
    root = data_root(root, name)
    if not all(_stored(root / file) for file in files):
        raise missing(root, name, [f"{file}[.gz]" for file in files])
    return [idx(root / file) for file in files]


def _stored(path: Path) -> Path | None:
    """The file that holds `path`: itself, else its .gz, else None."""
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


def idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx file, in the shape its header gives.

    `path` is named without .gz; the plain file is preferred to the compressed one. Raises
    ValueError if neither is there, it is not idx, not uint8, or its length does not fit its header.
    """
    stored = _stored(path)
    if stored is None:
        raise ValueError(
            f"no file {path} or {path.name}.gz; fetch it with `fcdd run ... --download`"
        )
    content = stored.read_bytes()
    if stored != path:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{stored} is damaged ({error}); {_REMEDY}") from None
    if len(content) < 4 or content[:2] != b"\0\0":
        raise ValueError(f"{stored} is not an idx file: it begins {content[:4].hex()!r}; {_REMEDY}")
    if content[2] != _IDX_UINT8:
        raise ValueError(
            f"{stored} has idx element type 0x{content[2]:02x}, only 0x08 (uint8) is read; "
            f"{_REMEDY}"
        )
    num_axes = content[3]
    start = 4 + 4 * num_axes
    if len(content) < start:
        raise ValueError(f"{stored} is cut short inside its header; {_REMEDY}")
    shape = [int.from_bytes(content[4 + 4 * a : 8 + 4 * a], "big") for a in range(num_axes)]
    size = int(np.prod(shape, dtype=object))
    if len(content) - start != size:
        raise ValueError(
            f"{stored} holds {len(content) - start} values, its header promises {size}; {_REMEDY}"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def images_and_classes(
    images: np.ndarray, classes: np.ndarray, *, source: str
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images [n, h, w] or [n, c, h, w] as [n, c, h, w], and classes [n] as int64.

    Raises ValueError if the shapes do not fit each other; `source` names the data in the text.
    """
    if images.ndim == 3:
        images = images[:, None]  # n 1 h w
    if images.ndim != 4 or classes.shape != images.shape[:1]:
        raise ValueError(
            f"{source}: images of shape {images.shape} and labels of shape {classes.shape} do not "
            f"belong together; {_REMEDY.replace('it', 'both files', 1).replace('it', 'them', 1)}"
        )
    return images, classes.astype(np.int64)


def cifar_batches(
    root: Path | None, *, name: str, archive: str, folder: str, members: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The unpickled batches of a CIFAR data set in the order of `members` (file name -> MD5).

    Read from `<root>/<folder>/` where all members are there, else out of `<root>/<archive>`, which
    is not unpacked. The MD5 of every member is checked before any is unpickled. Raises ValueError
    if there is no root or no data, if an MD5 differs, or if a pickle asks for anything but arrays.
    """
    root = data_root(root, name)
    if all((root / folder / member).is_file() for member in members):
        contents = {member: (root / folder / member).read_bytes() for member in members}
        place = root / folder
    elif (root / archive).is_file():
        place = root / archive
        contents = _archived(place, {f"{folder}/{member}": member for member in members})
    else:
        raise missing(root, name, [archive, *(f"or {folder}/{member}" for member in members)])
    for member, expected in members.items():
        md5 = hashlib.md5(contents[member], usedforsecurity=False).hexdigest()
        if md5 != expected:
            raise ValueError(
                f"{member} of {place} has MD5 {md5}, expected {expected}: damaged or altered; "
                f"{_REMEDY}"
            )
    return [_unpickle(contents[member], f"{member} of {place}") for member in members]


def _archived(path: Path, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """The contents of the `wanted` members (name in the archive -> key), read in one pass."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None and member.name in wanted:
                    contents[wanted[member.name]] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); {_REMEDY}") from None
    lacking = [name for name, key in wanted.items() if key not in contents]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(lacking)}; {_REMEDY}")
    return contents


# What unpickling a malformed file raises.
_NO_PICKLE = (
    *(pickle.UnpicklingError, ValueError, TypeError, EOFError, AttributeError, ImportError),
    *(LookupError, OverflowError, MemoryError),
)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles containers, numbers, text and numpy arrays; every other name is refused."""

    # numpy's old module name warns since numpy 2: both names lead to the new one.
    _allowed: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): "numpy._core.multiarray",
        ("numpy._core.multiarray", "_reconstruct"): "numpy._core.multiarray",
        ("numpy", "ndarray"): "numpy",
        ("numpy", "dtype"): "numpy",
        ("_codecs", "encode"): "_codecs",
    }

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        module = self._allowed.get((module_name, global_name))
        if module is None:
            raise ValueError(f"it asks for {module_name}.{global_name}, which no array needs")
        return super().find_class(module, global_name)


def _unpickle(content: bytes, source: str) -> dict[str, Any]:
    try:
        # Python 2 wrote the files: latin1 maps its byte strings one to one.
        batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except _NO_PICKLE as error:
        raise ValueError(f"{source} is refused as a pickle: {error}; {_REMEDY}") from None
    if not isinstance(batch, dict):
        # A file is at fault that the user can replace, hence no TypeError.
        raise ValueError(f"{source} holds a {type(batch).__name__}, not a batch; {_REMEDY}")
    return batch
