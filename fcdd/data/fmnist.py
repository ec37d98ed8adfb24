"""Fashion-MNIST: 60,000 train and 10,000 test images of clothes in 10 classes, 1x28x28."""

from pathlib import Path

from fcdd.data.files import fingerprint, idx_files, images_and_classes
from fcdd.data.task import Images

FILES = (
    "FashionMNIST/raw/train-images-idx3-ubyte",
    "FashionMNIST/raw/train-labels-idx1-ubyte",
    "FashionMNIST/raw/t10k-images-idx3-ubyte",
    "FashionMNIST/raw/t10k-labels-idx1-ubyte",
)


def load(root: Path | None) -> Images:
    """Fashion-MNIST as [n, 1, 28, 28] from the idx files below `root`, gzipped or not.

    Raises ValueError if there is no root, or a file is missing or damaged.
    """
    train, train_classes, test, test_classes = idx_files(root, "fmnist", FILES)
    parts = (
        *images_and_classes(train, train_classes, source="fmnist train"),
        *images_and_classes(test, test_classes, source="fmnist test"),
    )
    return Images(*parts, fingerprint=fingerprint(*parts))
