"""Images of the user's own in class folders, with and without maps (docs/method.md section 4)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from fcdd.config import Data
from fcdd.data.archive import Files
from fcdd.data.custom_folders import Split, find, split_of
from fcdd.data.decoding import Decoded, Fit, check_masks, decode_files, refuse_shared
from fcdd.data.files import data_root, fingerprint
from fcdd.data.ragged import Ragged
from fcdd.data.task import Images


def shared(data: Data) -> bool:
    """Whether the `Images` of `data` serve every nominal class: they do where each class is tested
    against the others, but for the maps, which only anomalous images have."""
    return data.layout == "one_vs_rest" and not data.maps


def fit_of(data: Data) -> Fit:
    """How training images come to `data.raw_size`: squashed where maps follow or nothing is cropped
    later; else they cover it, for random crops along the longer side."""
    if data.maps:
        return "squash" if data.resizing == "mended" else "squash_nearest"
    return "squash" if data.preprocessing == "none" else "cover"


def load(data: Data, root: Path | None, *, cache: Path | None = None) -> Images:
    """The images of `data` ("custom") below `root`, uint8 RGB; test images at `data.raw_size`.

    Training images are `Ragged` where `fit_of` says "cover"; test images are then cut to their
    centre. Order: `data.classes`, sorted names. Masks have their native size. Raises ValueError,
    naming folder or file, for folders that do not fit `data` (`custom_folders`), images and maps
    that cannot be read, a map that does not fit its image or its place, and a test image that also
    stands in the training set.
    """
    files = find(data_root(root, data.name), data)
    train_files, test_files = split_of(files, data, "train"), split_of(files, data, "test")
    fit = fit_of(data)
    train = _decode(files, data, train_files, fit=fit, cache=cache)
    test = _decode(
        files, data, test_files, fit="cover_centre" if fit == "cover" else fit, cache=cache
    )
    refuse_shared(train, test, files)
    by_folder = data.layout == "nominal_anomalous"
    images = Images(
        train.images,
        train_files.classes,
        test.array,
        test_files.classes,
        fingerprint="",
        train_anomalous=train_files.anomalous if by_folder else None,
        test_anomalous=test_files.anomalous if by_folder else None,
        train_masks=None if train_files.maps is None else train.masks,
        test_masks=None if test_files.maps is None else test.masks,
        test_files=test.names,
    )
    return replace(images, fingerprint=fingerprint(*_content(images)))


def _decode(files: Files, data: Data, split: Split, *, fit: Fit, cache: Path | None) -> Decoded:
    # Images of all classes are one file for every nominal class, unless maps tell them apart.
    label = f"custom {data.layout} {'all' if shared(data) else data.class_name} {split.part}"
    maps = split.maps or {}
    decoded = decode_files(
        files, split.names, masks=maps, size=data.raw_size, fit=fit, cache=cache, label=label
    )
    if split.maps is not None:
        check_masks(decoded, split.anomalous.tolist(), maps, files)
    return decoded


def _content(images: Images) -> Iterator[np.ndarray]:
    """What the fingerprint names: pixels, classes, labels and masks."""
    if isinstance(images.train, Ragged):
        yield from (np.asarray(images.train.pixels), np.asarray(images.train.sizes))
    else:
        yield images.train
    yield from (images.train_classes, images.test, images.test_classes)
    for labels in (images.train_anomalous, images.test_anomalous):
        if labels is not None:
            yield labels
    for masks in (images.train_masks, images.test_masks):
        if masks is not None:
            yield from masks.arrays()
