"""From the name of a data set to its images."""

from pathlib import Path
from typing import Literal, assert_never

from fcdd import vision
from fcdd.config import DataName
from fcdd.data import cifar, digits, fmnist
from fcdd.data.files import data_root
from fcdd.data.task import Images

Downloadable = Literal["fmnist", "cifar10", "cifar100", "emnist", "mnist"]


def load(name: DataName, root: Path | None, *, download: bool = False) -> Images:
    """The data set `name` from the files below `root` ("digits" needs none).

    With `download` they are fetched first, unless they are there already.

    Raises ValueError if there is no root, or the files are missing, damaged or cannot be fetched.
    """
    if download and name != "digits":
        fetch(name, root)
    match name:
        case "digits":
            return digits.load(root)
        case "fmnist":
            return fmnist.load(root)
        case "cifar10":
            return cifar.load(root)
        case _:
            assert_never(name)


def fetch(name: Downloadable, root: Path | None) -> None:
    """Downloads the training and test files of `name` to `root`, unless they are there already.

    Raises ValueError if there is no root, it cannot be written or the download fails.
    """
    place = str(data_root(root, name))
    datasets = vision.torchvision().datasets
    try:
        match name:
            case "fmnist":
                datasets.FashionMNIST(place, download=True)
            case "cifar10":
                datasets.CIFAR10(place, download=True)
            case "cifar100":
                datasets.CIFAR100(place, download=True)
            case "emnist":
                datasets.EMNIST(place, split="letters", download=True)
            case "mnist":
                datasets.MNIST(place, download=True)
            case _:
                assert_never(name)
    # torchvision reports a refused connection and a wrong checksum as RuntimeError.
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{name!r} could not be downloaded to {place}: {error}; if its files are there "
            "already, leave out --download"
        ) from error
