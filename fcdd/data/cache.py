"""Arrays kept on disk, so that images are decoded once; every reading checks a checksum.

One safetensors file each, which holds no code, written under another name and then renamed: two
processes at once leave one whole file.
"""

import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
import PIL
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]

# What decides the arrays beside their source: to be raised when decoding changes.
_MAKER = f"1 pillow {PIL.__version__}"
_NOTE = "fcdd"  # the one entry of the file's metadata


def cached(make: Callable[[], Arrays], *, folder: Path | None, name: str, source: str) -> Arrays:
    """The arrays of `make`, from the file `name` below `folder` where it holds those of `source`.

    `source` is a digest of all that decides the arrays. A file that is damaged or of another source
    is made again, with a warning in the log; so is one that cannot be written, which stops nothing.
    Without a folder, `make` is called.
    """
    if folder is None:
        return make()
    path = folder / f"{quote(name, safe=' ')}.safetensors"
    note = {"maker": _MAKER, "source": source}
    if path.exists():
        try:
            return _read(path, note)
        except (ValueError, OSError, SafetensorError) as error:
            log.warning("cache file %s is made again: %s", path, error)
    arrays = make()
    try:
        _write(path, arrays, note)
    except (OSError, SafetensorError) as error:
        log.warning("cache file %s is not kept: %s", path, error)
    return arrays


def checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and values, as hex."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name}\0{array.dtype.str}{array.shape}\0".encode())
        total.update(array.data)
    return total.hexdigest()


def _read(path: Path, note: Mapping[str, str]) -> Arrays:
    """Raises ValueError, OSError or SafetensorError for what is not whole or not meant."""
    with safe_open(path, framework="numpy") as file:
        found = json.loads((file.metadata() or {}).get(_NOTE, "{}"))
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not isinstance(found, dict) or {k: found.get(k) for k in note} != note:
        raise ValueError("it is of other files, or made by another version")
    if found.get("sha256") != checksum(arrays):
        raise ValueError("it is damaged: its content does not have the checksum it was kept with")
    return arrays


def _write(path: Path, arrays: Arrays, note: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.draft")
    text = json.dumps({**note, "sha256": checksum(arrays)}, sort_keys=True)
    try:
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(whole, draft, metadata={_NOTE: text})
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
