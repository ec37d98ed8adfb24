"""Test images that training sees as well, found exactly and at once over the stored arrays."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from fcdd.catalog import OWN_CLASSES
from fcdd.config import Run
from fcdd.data.ragged import Ragged
from fcdd.data.streamed import Streamed
from fcdd.data.task import Images, Pool

_CHUNK = 256  # images cropped at once
_SHOWN = 3


@dataclass(frozen=True)
class Leaks:
    """Places of test images that equal an image of the nominal training images, or of the pool, and
    of the first image that each equals: (test place, other place). A streamed pool is not read:
    its pairs are empty."""

    train: tuple[tuple[int, int], ...]
    pool: tuple[tuple[int, int], ...]


def find_leaks(images: Images, pool: Pool | None, *, normal_class: int) -> Leaks:
    """The test images of `images` that are trained on, pixel by pixel at the size they are stored
    at; of `Ragged` training images the centre of that size counts."""
    if images.train_anomalous is None:
        nominal = np.flatnonzero(images.train_classes == normal_class)
    else:
        nominal = np.flatnonzero(~images.train_anomalous.astype(bool))
    test = images.test
    places: dict[int, list[int]] = {}
    for place, content in enumerate(_contents(test, np.arange(len(test)), test.shape[2:])):
        places.setdefault(hash(content), []).append(place)
    in_train = _equal(test, places, images.train, nominal)
    if pool is None or isinstance(pool.images, Streamed):
        return Leaks(in_train, ())
    return Leaks(in_train, _equal(test, places, pool.images, np.arange(len(pool.images))))


def refuse_leaks(images: Images, pool: Pool | None, *, run: Run) -> Leaks:
    """The leaks of `run`'s data, to be counted. Those of published data sets are part of them.

    Raises ValueError, naming the first images, if the user's own data have a test image that is
    also a nominal training image, or the user's own pool has one.
    """
    leaks = find_leaks(images, pool, normal_class=run.data.normal_class)
    if leaks.train and run.data.name in OWN_CLASSES:
        raise ValueError(
            f"{_shown(images, leaks.train)} also among the nominal training images of class "
            f"{run.data.class_name!r}: results would be too good; `fcdd data check` names the files"
        )
    if leaks.pool and run.outliers.source == "folder":
        raise ValueError(
            f"{_shown(images, leaks.pool)} also in the pool, where training learns to call them "
            "anomalous; `fcdd data check DATA --pool POOL` names the files to take out of the pool"
        )
    return leaks


def _equal(
    test: np.ndarray,
    places: dict[int, list[int]],
    others: np.ndarray | Ragged,
    chosen: np.ndarray,
) -> tuple[tuple[int, int], ...]:
    """(test place, other place) for each test image that equals one of the `chosen` others."""
    first: dict[int, int] = {}
    for other, content in zip(
        chosen.tolist(), _contents(others, chosen, test.shape[2:]), strict=True
    ):
        for place in places.get(hash(content), ()):
            if place not in first and test[place].tobytes() == content:
                first[place] = other
    return tuple(sorted(first.items()))


def _contents(
    images: np.ndarray | Ragged, chosen: np.ndarray, size: tuple[int, ...]
) -> Iterator[bytes]:
    """The bytes of each of the `chosen` images, of `Ragged` ones those of the centre of `size`."""
    if isinstance(images, Ragged):
        h, w = size
        if len(chosen) == 0 or h > images.smallest[0] or w > images.smallest[1]:
            yield from (b"" for _ in chosen)
            return
        for part in torch.from_numpy(chosen).split(_CHUNK):
            yield from (crop.tobytes() for crop in images.centre_crops(part, (h, w)).numpy())
        return
    yield from (images[place].tobytes() for place in chosen.tolist())


def _shown(images: Images, pairs: tuple[tuple[int, int], ...]) -> str:
    names = images.test_files or [f"test image {i}" for i in range(len(images.test))]
    first = ", ".join(names[place] for place, _ in pairs[:_SHOWN])
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return f"{first}{more} {'is' if len(pairs) == 1 else 'are'}"
