"""CIFAR-10 as a data set and CIFAR-100 as a pool of outliers, 3x32x32."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fcdd.data.files import cifar_batches, fingerprint, images_and_classes
from fcdd.data.task import Images

# MD5s as published with the data and checked by torchvision.datasets.cifar.
TRAIN = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {"test_batch": "40351d587109b95175f43aff81a1287e"}
TRAIN_100 = {"train": "16019d7e3df5f24257cddd939b257f8d"}


def load(root: Path | None) -> Images:
    """CIFAR-10 as [n, 3, 32, 32] from `<root>/cifar-10-batches-py/` or its .tar.gz.

    Raises ValueError if there is no root, or a file is missing, damaged or altered.
    """
    batches = cifar_batches(
        root,
        name="cifar10",
        archive="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        members=TRAIN | TEST,
    )
    pairs = [_images(batch, source="cifar10") for batch in batches]
    train = [np.concatenate(arrays) for arrays in zip(*pairs[: len(TRAIN)], strict=True)]
    test = [np.concatenate(arrays) for arrays in zip(*pairs[len(TRAIN) :], strict=True)]
    parts = (*train, *test)
    return Images(*parts, fingerprint=fingerprint(*parts))


def load_cifar100(root: Path | None) -> np.ndarray:
    """The training images of CIFAR-100, uint8 [n, 3, 32, 32], from its folder or its .tar.gz.

    Raises ValueError if there is no root, or a file is missing, damaged or altered.
    """
    batches = cifar_batches(
        root,
        name="cifar100",
        archive="cifar-100-python.tar.gz",
        folder="cifar-100-python",
        members=TRAIN_100,
    )
    return np.concatenate([_images(batch, source="cifar100")[0] for batch in batches])


def _images(batch: Mapping[str, Any], *, source: str) -> tuple[np.ndarray, np.ndarray]:
    data = batch.get("data")
    classes = batch.get("labels", batch.get("fine_labels"))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        raise ValueError(f"{source}: a batch holds no uint8 images [n, 3072]; fetch it again")
    images = data.reshape(-1, 3, 32, 32)  # n c h w
    return images_and_classes(images, np.array(classes), source=source)
