"""Which test images few-map supervision labels, and which it keeps out of the test set
(docs/method.md section 5)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fcdd.config import Run
from fcdd.data.masks import Masks
from fcdd.data.randomness import generator


@dataclass(frozen=True)
class Choice:
    """Places in the whole test set, ascending: images to train on, and images not to be tested."""

    labelled: tuple[int, ...]
    reserved: tuple[int, ...]


def choose(run: Run, defects: Sequence[str], *, anomalous: np.ndarray) -> Choice:
    """The choice of `run` among test images with these defect types, of which `anomalous` (bool
    [n]) are defective.

    Each defect type has an order that follows from seed, class and type: the first
    `reserved_maps` images leave the test set, whatever `maps_per_defect` = k is, and the first k
    are labelled. So the test set is the same for all k, and the choice for a larger k contains that
    for a smaller. `labelled_in_test="published"`: nothing is reserved, and a type with fewer than k
    images gives all it has, as published.

    Raises ValueError for a defect type without an image left to test.
    """
    supervision = run.supervision
    k, reserved_maps = supervision.maps_per_defect or 0, supervision.reserved_maps
    labelled: list[int] = []
    reserved: list[int] = []
    for defect in sorted({d for d, a in zip(defects, anomalous, strict=True) if a}):
        places = [i for i, d in enumerate(defects) if d == defect and anomalous[i]]
        if reserved_maps and len(places) <= reserved_maps:
            raise ValueError(
                f"defect type {defect!r} of {run.data.class_name!r} has {len(places)} images, too "
                f"few for supervision.reserved_maps {reserved_maps} and one left to test; "
                f"lower it to at most {len(places) - 1}, or leave this class out"
            )
        stream = generator(run.seed, f"few_maps/{run.data.class_name}/{defect}")
        order = [places[i] for i in torch.randperm(len(places), generator=stream).tolist()]
        labelled += order[:k]
        reserved += order[:reserved_maps]
    return Choice(tuple(sorted(labelled)), tuple(sorted(reserved)))


def labelled_maps(
    masks: Masks, places: Sequence[int], size: tuple[int, int], *, run: Run, names: Sequence[str]
) -> np.ndarray:
    """uint8 [m, 1, H, W], 0 or 1: the maps of the test images `places` at `size`.

    Raises ValueError, naming the image, for a map without an anomalous pixel at that size: it would
    teach that the defect is nominal.
    """
    maps = np.zeros((len(places), 1, *size), np.uint8)
    for number, (place, name) in enumerate(zip(places, names, strict=True)):
        maps[number, 0] = masks.resized(place, size, how=run.data.resizing)
        if not maps[number].any():
            raise ValueError(
                f"the map of {name} has no anomalous pixel at {size[0]}x{size[1]}, so it cannot be "
                "a labelled anomaly; correct its mask (`fcdd data check` lists such), raise "
                "data.size, or leave the image out"
            )
    return maps


def refuse_copies(
    images: np.ndarray, labelled: Sequence[int], tested: Sequence[int], *, names: Sequence[str]
) -> None:
    """Raises ValueError if one of the labelled test images is among the tested ones, by place or by
    content: what was trained on must not be tested."""
    trained = {_digest(images[place]): names[place] for place in labelled}
    for place in tested:
        if name := trained.get(_digest(images[place])):
            raise ValueError(
                f"labelled image {name} is also tested, as {names[place]}; delete the copy, or use "
                "supervision.labelled_in_test='published' to reproduce the published leak"
            )


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
