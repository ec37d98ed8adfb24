"""The images of a list as arrays: decoded in threads, kept in the cache."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from fcdd.data.cache import Arrays, cached
from fcdd.data.decoding import in_threads
from fcdd.data.listing import Listing
from fcdd.data.pictures import Size, centre, cover, decode, resize
from fcdd.data.ragged import Ragged

# Squashed; covering the size with the proportions kept, so that sizes differ; the centre of that.
ListedFit = Literal["squash", "cover", "centre"]


def decode_listing(
    files: Listing, *, size: Size, fit: ListedFit, cache: Path | None, label: str
) -> np.ndarray | Ragged:
    """All images of `files`, uint8 RGB [n, 3, h, w] at `size`, for "cover" `Ragged`; bilinear and
    antialiased. Raises ValueError, naming the file, for one that cannot be read."""
    arrays = cached(
        lambda: _arrays(files, size, fit),
        folder=cache,
        name=f"{label} {size[0]}x{size[1]} {fit}",
        source=_digest(files) if cache else "",
    )
    if fit != "cover":
        return arrays["images"]
    return Ragged.from_buffer(arrays["images"], arrays["sizes"], channels=3)


def _digest(files: Listing) -> str:
    total = hashlib.sha256(files.fingerprint().encode())
    for content in in_threads(
        lambda index: hashlib.sha256(files.read(index)).digest(), range(len(files))
    ):
        total.update(content)
    return total.hexdigest()


def _arrays(files: Listing, size: Size, fit: ListedFit) -> Arrays:
    images: Iterator[np.ndarray] = in_threads(
        lambda index: _image(files, index, size, fit), range(len(files))
    )
    if fit == "cover":
        ragged = Ragged.from_images(list(images))
        return {"images": np.asarray(ragged.pixels), "sizes": np.asarray(ragged.sizes)}
    array = np.empty((len(files), 3, *size), np.uint8)
    for index, image in enumerate(images):
        array[index] = image
    return {"images": array}


def _image(files: Listing, index: int, size: Size, fit: ListedFit) -> np.ndarray:
    path = f"{files.sources[files.group_numbers[index]]}: {files.name(index)}"
    try:
        content = files.read(index)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    picture = decode(content, mode="RGB", name=path)
    match fit:
        case "squash":
            return resize(picture, size, "bilinear")
        case "cover":
            return cover(picture, size)
        case "centre":
            return centre(cover(picture, size), size)
