"""The 1,797 handwritten digits that scikit-learn bundles: a data set without a download."""

from pathlib import Path

import numpy as np
from PIL import Image

from fcdd.data.files import fingerprint
from fcdd.data.task import Images

_SIDE_PX = 28  # the input of FCDD_CNN28
_TEST_EVERY = 3  # ours: every third image of a class is test, 1,201 train and 596 test


def load(root: Path | None = None) -> Images:
    """The digits as [n, 1, 28, 28], enlarged from 8x8; `root` is not used.

    The split is fixed and stratified: images 2, 5, 8, ... of every class, in bundled order, are
    test.
    """
    from sklearn.datasets import load_digits  # takes a second to import

    pixels, numbers = load_digits(return_X_y=True)
    classes = np.asarray(numbers).astype(np.int64)
    values = np.round(np.asarray(pixels) * 255 / 16).astype(np.uint8)  # 0..16 to 0..255
    images = np.stack([_enlarge(value) for value in values.reshape(-1, 8, 8)])[:, None]  # n 1 28 28
    test = split(classes)
    parts = (images[~test], classes[~test], images[test], classes[test])
    return Images(*parts, fingerprint=fingerprint(*parts))


def split(classes: np.ndarray) -> np.ndarray:
    """bool [n]: True where an image of `classes` [n] belongs to the test set."""
    test = np.zeros(len(classes), dtype=bool)
    for number in np.unique(classes):
        test[np.flatnonzero(classes == number)[_TEST_EVERY - 1 :: _TEST_EVERY]] = True
    return test


def _enlarge(image: np.ndarray) -> np.ndarray:
    resized = Image.fromarray(image).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR)
    return np.asarray(resized)
