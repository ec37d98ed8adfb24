"""The nouns of data: labelled images, a pool of outliers, and the task of one run."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data import few_maps
from fcdd.data.constants import Normalisation, normalisation
from fcdd.data.geometry import fit_test
from fcdd.data.masks import Masks
from fcdd.data.ragged import Ragged
from fcdd.data.randomness import generator as generator
from fcdd.data.streamed import Streamed

_CHUNK_IMAGES = 64  # stretched at once, which bounds memory


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
    """The data of one run, on one device. Labels: 0 nominal, 1 anomalous; with `data.inverted` the
    nominal class has 1 and all else 0, outliers too.

    `outliers` replace nominal training images: the pool of outlier exposure, or true anomalies,
    then with `outlier_maps` where the data have maps and the objective uses them. `test_ids` are
    the places of the test images in the whole test set: images that few-map supervision reserves
    are missing, so they need not be 0, 1, 2, ...
    """

    train_images: Tensor | Ragged  # uint8 [n, c, H, W], nominal
    outliers: Tensor | Ragged | Streamed | None  # uint8 [m, c, H, W], anomalous
    test_images: Tensor  # uint8 [n, c, h, w]
    test_labels: Tensor  # uint8 [n]
    test_classes: Tensor  # int64 [n]
    normalisation: Normalisation
    test_ids: Tensor  # int64 [n]
    # With outliers.limit: places in the pool, or among the anomalous training images.
    outliers_chosen: tuple[int, ...] | None = None
    labelled: Labelled | None = None
    labelled_files: tuple[str, ...] = ()
    test_masks: Masks | None = None
    test_defects: tuple[str, ...] | None = None
    outlier_maps: Tensor | None = None  # uint8 [m, 1, H, W], 0 or 1

    @property
    def device(self) -> torch.device:
        """Where images, and what is made of them, live."""
        return self.test_images.device


def make_task(run: Run, images: Images, pool: Pool | None, *, device: torch.device) -> Task:
    """The task of `run`: its nominal class in train and test, and what training replaces it with.

    `outliers.limit` = k takes the first k of a permutation seeded by `run.seed`: the k = 8 choice
    contains the k = 4 choice. Labelled and reserved images: `fcdd.data.few_maps`. Test images are
    brought to the network's size. `data.contrast_stretch="published"` stretches the nominal
    training images alone.

    Raises ValueError for a class without nominal training images, a limit above the pool, true
    anomalies or labelled images where there are none, and what `fcdd.data.few_maps` refuses.
    """
    train_images = _nominal(run, images, device)
    outliers, chosen, outlier_maps = _outliers(run, images, pool, device)
    anomalous = _anomalous(run, images.test_classes, images.test_anomalous)
    choice = _choice(run, images, anomalous)
    labelled, labelled_files = _labelled(run, images, choice.labelled, device)
    test_ids = np.setdiff1d(np.arange(len(images.test)), choice.reserved)
    if choice.labelled and run.supervision.labelled_in_test == "mended":
        names = _names(images)
        few_maps.refuse_copies(images.test, choice.labelled, test_ids.tolist(), names=names)
    tested = images.test if not choice.reserved else images.test[test_ids]
    masks, defects = images.test_masks, images.test_defects
    return Task(
        train_images=train_images,
        outliers=outliers,
        test_images=fit_test(_shared(tested, device), run.data),
        test_labels=torch.tensor(anomalous[test_ids] != run.data.inverted, dtype=torch.uint8),
        test_classes=torch.tensor(images.test_classes[test_ids], dtype=torch.int64),
        normalisation=normalisation(run, train_images),
        test_ids=torch.from_numpy(test_ids),
        outliers_chosen=chosen,
        labelled=labelled,
        labelled_files=labelled_files,
        test_masks=None if masks is None else masks.select(test_ids),
        test_defects=None if defects is None else tuple(defects[i] for i in test_ids),
        outlier_maps=outlier_maps,
    )


def _anomalous(run: Run, classes: np.ndarray, anomalous: np.ndarray | None) -> np.ndarray:
    return classes != run.data.normal_class if anomalous is None else anomalous.astype(bool)


def _nominal(run: Run, images: Images, device: torch.device) -> Tensor | Ragged:
    nominal = ~_anomalous(run, images.train_classes, images.train_anomalous)
    if not nominal.any():
        raise ValueError(
            f"class {run.data.normal_class} ({run.data.class_name!r}) of {run.data.name!r} has no "
            "training images; check the files under the data root"
        )
    chosen = _on(_taken(images.train, np.flatnonzero(nominal)), device)
    if run.data.contrast_stretch == "published" and isinstance(chosen, Tensor):
        return torch.cat([stretch(part) for part in chosen.split(_CHUNK_IMAGES)])
    return chosen


def stretch(images: Tensor) -> Tensor:
    """uint8 images [b, c, h, w], the lowest value of each brought to 0 and the highest to 255, over
    all channels, rounded down; a flat image stays."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    span = torch.where(high > low, high - low, 255).float()
    stretched = (images - low).float() / span * 255
    return torch.where(high > low, stretched.to(torch.uint8), images)


def _outliers(
    run: Run, images: Images, pool: Pool | None, device: torch.device
) -> tuple[Tensor | Ragged | Streamed | None, tuple[int, ...] | None, Tensor | None]:
    """What replaces nominal images, its places if they are limited, and its maps."""
    if run.supervision.mode == "true_anomalies":
        return _true_anomalies(run, images, device)
    if run.supervision.mode != "outlier_exposure":
        return None, None, None
    if pool is None:
        raise ValueError(
            f"supervision.mode 'outlier_exposure' needs the images of pool {run.outliers.source!r}"
        )
    order = _limited(run, len(pool.images), f"images of pool {run.outliers.source!r}")
    if order is not None:
        return _on(_taken(pool.images, order), device), tuple(order.tolist()), None
    whole = pool.images
    return whole.fresh() if isinstance(whole, Streamed) else _on(whole, device), None, None


def _true_anomalies(
    run: Run, images: Images, device: torch.device
) -> tuple[Tensor | Ragged, tuple[int, ...] | None, Tensor | None]:
    places = np.flatnonzero(_anomalous(run, images.train_classes, images.train_anomalous))
    if len(places) == 0:
        raise ValueError(
            f"supervision.mode 'true_anomalies' needs anomalous training images, but "
            f"{run.data.name!r} has none for class {run.data.class_name!r}; use 'few_maps' where "
            "test images have masks, 'outlier_exposure' or a mode with noise"
        )
    order = _limited(run, len(places), "anomalous training images")
    places = places if order is None else places[order]
    maps = None
    if run.objective.maps and images.train_masks is not None:
        size, how = run.data.raw_size, run.data.resizing
        maps = np.stack([images.train_masks.resized(i, size, how=how) for i in places.tolist()])
        maps = torch.from_numpy(maps[:, None].astype(np.uint8)).to(device)
    outliers = _on(_taken(images.train, places), device)
    return outliers, None if order is None else tuple(order.tolist()), maps


def _limited(run: Run, size: int, noun: str) -> np.ndarray | None:
    """int64 [limit]: places below `size`; None without a limit."""
    limit = run.outliers.limit
    if limit is None:
        return None
    if limit > size:
        raise ValueError(
            f"outliers.limit {limit} exceeds the {size} {noun}; lower it or leave it out to use all"
        )
    return torch.randperm(size, generator=generator(run.seed, "outliers.limit"))[:limit].numpy()


def _choice(run: Run, images: Images, anomalous: np.ndarray) -> few_maps.Choice:
    wanted = run.supervision.maps_per_defect or run.supervision.reserved_maps
    if not wanted:
        return few_maps.Choice((), ())
    if images.test_defects is None or images.test_masks is None:
        raise ValueError(
            f"supervision.maps_per_defect and reserved_maps need test images with defect types and "
            f"masks, but {run.data.name!r} came without; leave them at 0"
        )
    return few_maps.choose(run, images.test_defects, anomalous=anomalous)


def _labelled(
    run: Run, images: Images, places: tuple[int, ...], device: torch.device
) -> tuple[Labelled | None, tuple[str, ...]]:
    if not places or images.test_masks is None:
        return None, ()
    names = tuple(_names(images)[place] for place in places)
    size = run.data.raw_size
    maps = few_maps.labelled_maps(images.test_masks, places, size, run=run, names=names)
    chosen = torch.from_numpy(images.test[list(places)]).to(device)
    return Labelled(chosen, torch.from_numpy(maps).to(device)), names


def _names(images: Images) -> tuple[str, ...]:
    return images.test_files or tuple(f"test image {i}" for i in range(len(images.test)))


def _taken(images: np.ndarray | Ragged | Streamed, places: np.ndarray) -> np.ndarray | Ragged:
    if isinstance(images, Streamed):
        return images.select(places)
    if np.array_equal(places, np.arange(len(images))):
        return images  # shared between workers, not copied
    return images.select(places) if isinstance(images, Ragged) else images[places]


def _on(images: np.ndarray | Ragged, device: torch.device) -> Tensor | Ragged:
    return images.to(device) if isinstance(images, Ragged) else _shared(images, device)


def _shared(array: np.ndarray, device: torch.device) -> Tensor:
    # Arrays shared between workers are read-only, which torch warns of; a task never writes them,
    # and on the CPU no worker holds a copy of its own.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
