"""The nouns of data: labelled images, a pool of outliers, and the task of one run."""

import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.constants import Normalisation, normalisation


@dataclass(frozen=True)
class Images:
    """A whole data set: uint8 images [n, c, h, w] with class numbers [n] for train and test.

    `fingerprint` names the content (SHA-256 of pixels and classes), never the place.
    """

    train: np.ndarray
    train_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray
    fingerprint: str


@dataclass(frozen=True)
class Pool:
    """Images for outlier exposure: uint8 [n, c, h, w]; `unreadable` names files left out."""

    images: np.ndarray
    fingerprint: str
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """The data of one run, on one device. Labels: 0 nominal, 1 anomalous. Masks: none here."""

    train_images: Tensor  # uint8 [n, c, h, w], nominal
    outliers: Tensor | None  # uint8 [m, c, h, w], anomalous
    test_images: Tensor  # uint8 [n, c, h, w]
    test_labels: Tensor  # uint8 [n]
    test_classes: Tensor  # int64 [n]
    normalisation: Normalisation


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
