"""What may be wrong with one image or mask file, and the digests that tell equal pictures."""

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from fcdd.data.check_files import Inventory
from fcdd.data.check_findings import Notes, Severity
from fcdd.data.decoding import in_threads
from fcdd.data.pictures import FORMATS, decode

_DIGEST_BYTES = 16
_UPRIGHT = (0, 1)  # EXIF orientations that say: as stored
_ORIENTATION = 0x0112  # EXIF tag
_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm"),
}


class Fault(NamedTuple):
    """A fault of a file; as in `Finding`."""

    kind: str
    severity: Severity
    remedy: str
    detail: str = ""


@dataclass(frozen=True)
class Examined:
    """A file: (height, width) and digest of its pixels, None where unreadable; for a mask, whether
    it marks a pixel; and its faults."""

    size: tuple[int, int] | None
    digest: bytes | None
    marks: bool
    faults: tuple[Fault, ...]


def examine(content: bytes | str, name: str, *, mask: bool = False) -> Examined:
    """What is wrong with an image or mask file; `content` in words means it could not be read."""
    if isinstance(content, str):
        fault = Fault("unreadable file", "refused", "allow reading it, or fetch it again", content)
        return Examined(None, None, False, (fault,))
    if not content:
        return Examined(None, None, False, (Fault("empty file", "refused", "fetch it again"),))
    try:
        picture = decode(content, mode="RGB", name="")
    except ValueError as error:
        return Examined(None, None, False, (_unreadable(str(error)),))
    size = (picture.height, picture.width)
    array = np.asarray(picture)
    if mask:
        return _examined_mask(array, size)
    return Examined(size, digest_of(array), False, tuple(_oddities(content, name)))


def digest_of(pixels: np.ndarray) -> bytes:
    """16 bytes that only equal pictures share: of uint8 pixels [h, w, 3]."""
    total = hashlib.blake2b(f"{pixels.shape}".encode(), digest_size=_DIGEST_BYTES)
    total.update(np.ascontiguousarray(pixels).data)
    return total.digest()


def _unreadable(message: str) -> Fault:
    words = message.strip()
    for sign, kind, remedy in (
        ("bits per channel", "more than 8 bits per channel", "convert it to 8 bits"),
        ("pixels are more than", "enormous image", "scale it down"),
        ("decompression bomb", "enormous image", "scale it down"),
        ("truncated", "image cut short", "fetch it again"),
    ):
        if sign in words:
            return Fault(kind, "refused", remedy, words)
    return Fault("unreadable image", "refused", "fetch or save it again", words)


def _examined_mask(array: np.ndarray, size: tuple[int, int]) -> Examined:
    values = array.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    different = np.unique(values)
    marks = bool((different != 0).any())
    faults: tuple[Fault, ...] = ()
    if len(different[different != 0]) > 1:
        remedy = "save it with two values, 0 and one other, in a lossless format such as PNG"
        detail = f"{len(different)} different values"
        faults = (Fault("mask that is not two-valued", "refused", remedy, detail),)
    return Examined(size, None, marks, faults)


def _oddities(content: bytes, name: str) -> Iterator[Fault]:
    """What is read, but perhaps not as meant."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        kind = picture.format or ""
        if PurePosixPath(name).suffix.lower() not in _SUFFIXES.get(kind, ()):
            yield Fault(
                "format is not that of the suffix", "harmless", "rename it", f"it is {kind}"
            )
        if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            remedy = "read without its colour profile; convert it to RGB if colours matter"
            yield Fault(f"{picture.mode} image", "harmless", remedy)
        if picture.mode in ("P", "PA"):
            yield Fault("palette image", "harmless", "it is read as RGB, nothing is lost")
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            remedy = "the colour below it is read; flatten it if that is not meant"
            yield Fault("transparent image", "harmless", remedy)
        if getattr(picture, "n_frames", 1) > 1:
            yield Fault("several frames", "harmless", "the first is read; split it")
        if picture.getexif().get(_ORIENTATION, 1) not in _UPRIGHT:
            remedy = "read as stored, not turned; save it upright if masks or other images are"
            yield Fault("turned by EXIF", "harmless", remedy)


def examine_each(
    files: Inventory, *, is_mask: Callable[[str], bool]
) -> Iterator[tuple[str, Examined]]:
    """Yields each image and mask of `files` and what is wrong with it; read in parallel and in one
    pass, in memory that holds a few of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, in all threads
        yield from in_threads(
            lambda item: (item[0], examine(item[1], item[0], mask=is_mask(item[0]))),
            files.read(files.images()),
        )


def taken(
    names: Iterable[str], examined: Mapping[str, Examined], notes: Notes
) -> dict[str, Examined]:
    """The files `names` of the `examined`, their faults noted."""
    found = {name: examined[name] for name in names if name in examined}
    for name, one in found.items():
        note_faults(name, one, notes)
    return found


def note_faults(name: str, examined: Examined, notes: Notes, *, skipped: bool = False) -> None:
    """Notes the faults of a file; with `skipped` (a pool) a run leaves out and counts what it
    cannot read."""
    for fault in examined.faults:
        counted = skipped and fault.severity == "refused"
        severity = "counted" if counted else fault.severity
        notes.add(name, fault.kind, severity, fault.remedy, fault.detail)
