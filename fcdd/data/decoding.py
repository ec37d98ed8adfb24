"""Many image files with their masks as arrays: decoded in threads, kept in the cache."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from PIL import Image

from fcdd.data.archive import Files, digest, read
from fcdd.data.cache import Arrays, cached
from fcdd.data.masks import Masks
from fcdd.data.pictures import Size, centre, cover, decode, decode_mask, resize
from fcdd.data.ragged import Ragged

# How images come to one size: squashed to it (bilinear with antialiasing, or nearest), covering it
# with the proportions kept (sizes then differ), or the centre of that.
Fit = Literal["squash", "squash_nearest", "cover", "cover_centre"]

_THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes and resizes outside the interpreter's lock
_BYTES = 16  # of a picture's digest

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Decoded:
    """n images, uint8 RGB [n, 3, h, w] (`Ragged` where they only cover the size), in the order of
    their `names`; their masks, each of the image's native size; and `digests` of their native
    pixels, uint8 [n, 16], equal only for equal pictures."""

    names: tuple[str, ...]
    images: np.ndarray | Ragged
    masks: Masks
    digests: np.ndarray

    @property
    def array(self) -> np.ndarray:
        """The images, of one size. Raises TypeError where they only cover it."""
        if isinstance(self.images, Ragged):
            raise TypeError("images that only cover their size are no array; ask for another fit")
        return self.images


def decode_files(
    files: Files,
    names: Sequence[str],
    *,
    masks: Mapping[str, str],
    size: Size,
    fit: Fit,
    cache: Path | None,
    label: str,
) -> Decoded:
    """The images `names` of `files` at `size`; `masks` gives the mask files of some of them.

    The cache file is named by `label`, `size`, `fit` and the place. Raises ValueError, naming the
    file, for what cannot be read, and for a mask of another size than its image.
    """
    place = hashlib.sha256(f"{files.place.resolve()}\0{files.prefix}".encode()).hexdigest()[:8]
    name = f"{label} {size[0]}x{size[1]} {fit} {place}"
    source = ""
    if cache is not None:
        pairs = "\0".join(f"{name}\0{masks.get(name, '')}" for name in names)
        content = digest(files, [*names, *masks.values()])
        source = hashlib.sha256(f"{size}\0{fit}\0{pairs}\0{content}".encode()).hexdigest()
    arrays = cached(
        lambda: _arrays(files, names, masks, size, fit), folder=cache, name=name, source=source
    )
    images = arrays["images"]
    if fit == "cover":
        images = Ragged.from_buffer(images, arrays["covers"], channels=3)
    return Decoded(tuple(names), images, _masks(arrays), arrays["digests"])


def refuse_shared(train: Decoded, test: Decoded, files: Files) -> None:
    """Raises ValueError if a picture of `test` also stands in `train`, naming both files."""
    trained = {row.tobytes(): name for name, row in zip(train.names, train.digests, strict=True)}
    for name, row in zip(test.names, test.digests, strict=True):
        if row.tobytes() in trained:
            raise ValueError(
                f"{files.where(name)} is the same picture as {trained[row.tobytes()]}: a test "
                "image must not be trained on; delete one of the two"
            )


def check_masks(
    decoded: Decoded, anomalous: Iterable[bool], masks: Mapping[str, str], files: Files
) -> None:
    """Raises ValueError, naming the file of `masks`, for the mask of an anomalous image that marks
    no pixel and that of a nominal image that does."""
    for name, defect, bits in zip(decoded.names, anomalous, decoded.masks.packed, strict=True):
        if defect and bits is None:
            raise ValueError(
                f"{files.where(masks[name])} marks no pixel, but its image is anomalous; mark the "
                "anomaly, or move the image to the nominal ones"
            )
        if bits is not None and not defect:
            raise ValueError(
                f"{files.where(masks[name])} marks pixels of a nominal image; delete it, or move "
                "the image to the anomalous ones"
            )


@dataclass(frozen=True)
class _Picture:
    image: np.ndarray  # uint8 [3, h, w]
    size: Size  # native
    digest: bytes


def _arrays(
    files: Files, names: Sequence[str], masks: Mapping[str, str], size: Size, fit: Fit
) -> Arrays:
    """All that `Decoded` holds, as arrays that can be kept."""
    places = {name: place for place, name in enumerate(names)}
    images: list[np.ndarray] | np.ndarray = [np.empty(0, np.uint8)] * len(names)
    if fit != "cover":
        images = np.empty((len(names), 3, *size), np.uint8)
    digests = np.zeros((len(names), _BYTES), np.uint8)
    sizes = np.zeros((len(names), 2), np.int64)

    def picture(item: tuple[str, bytes]) -> tuple[str, _Picture]:
        return item[0], _picture(item[1], files.where(item[0]), size, fit)

    for name, found in in_threads(picture, read(files, names)):
        place = places[name]
        images[place] = found.image
        sizes[place] = found.size
        digests[place] = np.frombuffer(found.digest, np.uint8)
    bits = _mask_bits(files, {masks[n]: sizes[places[n]] for n in names if n in masks})
    packed = tuple(bits.get(masks.get(name, "")) for name in names)
    _, num_bytes, flat = Masks(packed, tuple((h, w) for h, w in sizes.tolist())).arrays()
    arrays = {"sizes": sizes, "digests": digests, "num_bytes": num_bytes, "bits": flat}
    if isinstance(images, np.ndarray):
        return arrays | {"images": images}
    covering = Ragged.from_images(images)
    pixels, covers = np.asarray(covering.pixels), np.asarray(covering.sizes)
    return arrays | {"images": pixels, "covers": covers}


def _picture(content: bytes, name: str, size: Size, fit: Fit) -> _Picture:
    native = decode(content, mode="RGB", name=name)
    pixels = hashlib.blake2b(f"{native.size}".encode(), digest_size=_BYTES)
    pixels.update(np.asarray(native).data)
    return _Picture(_fitted(native, size, fit), (native.height, native.width), pixels.digest())


def _fitted(picture: Image.Image, size: Size, fit: Fit) -> np.ndarray:
    match fit:
        case "squash":
            return resize(picture, size, "bilinear")
        case "squash_nearest":
            return resize(picture, size, "nearest")
        case "cover":
            return cover(picture, size)
        case "cover_centre":
            return centre(cover(picture, size), size)


def _mask_bits(files: Files, wanted: Mapping[str, np.ndarray]) -> dict[str, np.ndarray | None]:
    """The packed bits of the mask files `wanted` (name -> size of the image); None where no pixel
    is anomalous."""

    def bits(item: tuple[str, bytes]) -> tuple[str, np.ndarray | None]:
        name, content = item
        mask = decode_mask(content, name=files.where(name))
        if mask.shape != tuple(wanted[name]):
            raise ValueError(
                f"{files.where(name)} has {mask.shape[0]} x {mask.shape[1]} pixels (height x "
                f"width), but its image has {wanted[name][0]} x {wanted[name][1]}; save the mask "
                "at the size of the image"
            )
        return name, np.packbits(mask) if mask.any() else None

    return dict(in_threads(bits, read(files, list(wanted))))


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields the results of `function` in the order of `items`, computed a few ahead in threads.

    No more than a handful of items is taken ahead, so memory does not grow with their number.
    """
    ahead: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            for item in items:
                ahead.append(threads.submit(function, item))
                if len(ahead) > 2 * _THREADS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _masks(arrays: Arrays) -> Masks:
    counts = arrays["num_bytes"]
    parts = np.split(arrays["bits"], np.cumsum(counts)[:-1])
    packed = tuple(p if n else None for p, n in zip(parts, counts.tolist(), strict=True))
    return Masks(packed, tuple((h, w) for h, w in arrays["sizes"].tolist()))
