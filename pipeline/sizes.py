"""How many images the published data sets have, to plan before their files are there. No torch."""

from dataclasses import dataclass
from typing import assert_never

from fcdd.config import Data, Run


@dataclass(frozen=True)
class Size:
    """Images of one run: nominal training images, test images, and all images that its data set
    loads, other classes included."""

    num_train: int
    num_test: int
    num_loaded: int


# Bergmann et al. 2019, Table 1: training images, defect-free test images, defective test images.
_MVTEC = {
    "bottle": (209, 20, 63),
    "cable": (224, 58, 92),
    "capsule": (219, 23, 109),
    "carpet": (280, 28, 89),
    "grid": (264, 21, 57),
    "hazelnut": (391, 40, 70),
    "leather": (245, 32, 92),
    "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141),
    "screw": (320, 41, 119),
    "tile": (230, 33, 84),
    "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40),
    "wood": (247, 19, 60),
    "zipper": (240, 32, 119),
}
# Images held in memory; pools that are not here stream from disk or are the user's own.
_POOLS = {
    "photographs": 4_000,  # fcdd/data/outliers.py
    "cifar100": 50_000,  # Krizhevsky 2009
    "emnist": 124_800,  # Cohen et al. 2017, letters
    "mnist": 60_000,  # LeCun et al. 1998
}


def published_size(data: Data) -> Size | None:
    """The published counts of the data of a run; None for data that come with the package
    ("digits", "textures") and for the user's own, which are counted by loading them."""
    match data.name:
        case "fmnist":  # Xiao et al. 2017
            return Size(6_000, 10_000, 70_000)
        case "cifar10":  # Krizhevsky 2009
            return Size(5_000, 10_000, 60_000)
        case "imagenet30":  # Russakovsky et al. 2015: at most 1,300 per class; 50 in validation
            return Size(1_300, 1_500, 2_800)
        case "mvtec":
            num_train, *tested = _MVTEC[data.class_name]
            return Size(num_train, sum(tested), num_train + sum(tested))
        case "pascal_voc":  # Everingham et al. 2010, VOC 2007: horses in train; all of val
            return Size(139, 2_510, 2_649)
        case "digits" | "textures" | "mvtec_layout" | "custom":
            return None
        case unknown:
            assert_never(unknown)


def pool_images(run: Run) -> int:
    """Images of the run's outlier pool that stay in memory; 0 for pools on disk and for folders,
    whose number is known only when they are read."""
    return _POOLS.get(run.outliers.source, 0)
