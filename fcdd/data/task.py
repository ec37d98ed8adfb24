"""The nouns of data: labelled images, a pool of outliers, and the task of one run."""

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.constants import Normalisation, normalisation
from fcdd.data.masks import Masks
from fcdd.data.ragged import Ragged
from fcdd.data.streamed import Streamed


@dataclass(frozen=True)
class Images:
    """A data set: uint8 images [n, c, H, W] at `data.raw_size`, with class numbers [n].

    `fingerprint` names the content (SHA-256 of pixels, classes, labels and masks), never the place.
    Without `train_anomalous` / `test_anomalous` (bool [n]) every image of another class than the
    nominal one is anomalous. `train` of data sets whose sizes differ are `Ragged`. Masks
    are at their native size; `test_defects` names the defect type of each test image ("good" for
    nominal ones), `test_files` each test image, relative to the data root.
    """

    train: np.ndarray | Ragged
    train_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray
    fingerprint: str
    train_anomalous: np.ndarray | None = None
    test_anomalous: np.ndarray | None = None
    train_masks: Masks | None = None
    test_masks: Masks | None = None
    test_defects: tuple[str, ...] | None = None
    test_files: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Pool:
    """Images for outlier exposure: uint8 [n, c, H, W], or on disk; `unreadable` names files left
    out. A `Streamed` pool names those that it met itself."""

    images: np.ndarray | Ragged | Streamed
    fingerprint: str
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Labelled:
    """Anomalies with maps to train on: uint8 images [m, c, H, W] and maps [m, 1, H, W], 0 or 1."""

    images: Tensor
    maps: Tensor


@dataclass(frozen=True)
class Task:
    """The data of one run, on one device. Labels: 0 nominal, 1 anomalous.

    `test_ids` are the places of the test images in the whole test set: images that few-map
    supervision reserves are missing, so they need not be 0, 1, 2, ...
    """

    train_images: Tensor  # uint8 [n, c, H, W], nominal
    outliers: Tensor | None  # uint8 [m, c, H, W], anomalous
    test_images: Tensor  # uint8 [n, c, h, w]
    test_labels: Tensor  # uint8 [n]
    test_classes: Tensor  # int64 [n]
    normalisation: Normalisation
    test_ids: Tensor  # int64 [n]
    outliers_chosen: tuple[int, ...] | None = None  # with outliers.limit: places in the pool
    labelled: Labelled | None = None
    labelled_files: tuple[str, ...] = ()
    test_masks: Masks | None = None
    test_defects: tuple[str, ...] | None = None


def make_task(run: Run, images: Images, pool: Pool | None, *, device: torch.device) -> Task:
    """The one-vs-rest task of `run`: its class is nominal in train and test, the rest anomalous.

    `outliers.limit` = k takes the first k of a permutation seeded by `run.seed`: the k = 8 choice
    contains the k = 4 choice. Raises ValueError for a limit above the pool, an empty class.
    """
    nominal = images.train[images.train_classes == run.data.normal_class]
    if len(nominal) == 0:
        raise ValueError(
            f"class {run.data.normal_class} ({run.data.class_name!r}) of {run.data.name!r} has no "
            "training images; check the files under the data root"
        )
    outliers = None
    if pool is not None:
        outliers = _limited(pool.images, run)
    train_images = torch.tensor(nominal, device=device)
    return Task(
        train_images=train_images,
        outliers=None if outliers is None else _shared(outliers, device),
        test_images=_shared(images.test, device),
        test_labels=torch.tensor(images.test_classes != run.data.normal_class, dtype=torch.uint8),
        test_classes=torch.tensor(images.test_classes, dtype=torch.int64),
        normalisation=normalisation(run, train_images),
        test_ids=torch.arange(len(images.test)),
    )


def _shared(array: np.ndarray, device: torch.device) -> Tensor:
    # Arrays shared between workers are read-only, which torch warns of; a task never writes them,
    # and on the CPU no worker holds a copy of its own.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)


def _limited(images: np.ndarray, run: Run) -> np.ndarray:
    limit = run.outliers.limit
    if limit is None:
        return images
    if limit > len(images):
        raise ValueError(
            f"outliers.limit {limit} exceeds the {len(images)} images of pool "
            f"{run.outliers.source!r}; lower it or leave it out to use all"
        )
    order = torch.randperm(len(images), generator=generator(run.seed, "outliers.limit"))
    return images[order[:limit].numpy()]


def generator(seed: int, purpose: str, *, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose of one seed; purposes are independent streams."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    stream = torch.Generator(device=device)
    stream.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return stream
