"""From the name of a data set to its images."""

from pathlib import Path
from typing import Literal, assert_never

from fcdd import vision
from fcdd.catalog import FIXED_SHAPES
from fcdd.config import Data
from fcdd.data import cifar, custom, digits, fmnist, imagenet, mvtec, pascal_voc, textures
from fcdd.data.files import data_root
from fcdd.data.task import Images

Downloadable = Literal["fmnist", "cifar10", "cifar100", "emnist", "mnist"]


def images_name(data: Data) -> str:
    """Names the `Images` that `data` needs: runs of one name share them."""
    if data.name in FIXED_SHAPES:
        return data.name
    h, w = data.raw_size
    stored = f"{data.name} {h}x{w} {data.resizing}"
    if data.name == "imagenet30":  # "none" squashes, "aug1" crops
        stored = f"{stored} {data.preprocessing}"
    if data.name == "custom":
        maps = "with maps" if data.maps else "without maps"
        stored = f"{stored} {data.layout} {maps} {custom.fit_of(data)} {data.classes}"
        if custom.shared(data):
            return stored
    return f"{stored} {data.normal_class} {data.class_name}"


def load(
    data: Data, root: Path | None, *, download: bool = False, cache: Path | None = None
) -> Images:
    """The images of `data` from the files below `root` ("digits" and "textures" need none).

    With `download` they are fetched first, unless they are there already. Decoded images of data
    sets of files are kept below `cache` where one is given.

    Raises ValueError if there is no root, or the files are missing, damaged or cannot be fetched.
    """
    name = data.name
    match name:
        case "digits":
            return digits.load(root)
        case "fmnist" | "cifar10":
            if download:
                fetch(name, root)
            return fmnist.load(root) if name == "fmnist" else cifar.load(root)
        case "mvtec" | "mvtec_layout":
            return mvtec.load(data, root, cache=cache)
        case "imagenet30":
            return imagenet.load(data, root, cache=cache)
        case "pascal_voc":
            return pascal_voc.load(data, root, cache=cache)
        case "textures":
            return textures.load(data)
        case "custom":
            return custom.load(data, root, cache=cache)
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
