"""What there is to choose from: names, and the facts about them that checks need. Imports no torch.

Shapes are (channels, height, width); sizes (height, width) in pixels. Sources: docs/method.md.
"""

from typing import Literal

DataName = Literal[
    "digits",
    "fmnist",
    "cifar10",
    "imagenet30",
    "mvtec",
    "pascal_voc",
    "textures",
    "mvtec_layout",  # any folder in the layout of MVTec-AD
    "custom",  # train/<class>/..., test/<class>/...
]
Preprocessing = Literal[
    "none", "lcn", "aug1", "lcnaug1", "aug1_blackcenter", "aug1_blackcenter_inverted"
]
PoolName = Literal[
    "none",
    "photographs",
    "cifar100",
    "emnist",
    "mnist",
    "imagenet1k",
    "imagenet22k",
    "folder",
]
NoiseName = Literal["gaussian", "uniform", "solid", "blob", "mixed_blob", "confetti"]
SupervisionMode = Literal[
    "unsupervised",
    "outlier_exposure",
    "noise",
    "malformed_nominal",
    "malformed_nominal_maps",
    "true_anomalies",
    "few_maps",
]
Protocol = Literal["mended", "published"]
FCDDNetName = Literal[
    "FCDD_CNN28",
    "FCDD_CNN28_W",
    "FCDD_CNN32",
    "FCDD_CNN32_S",
    "FCDD_CNN32_LW3K",
    "FCDD_CNN32_3K",
    "FCDD_CNN32_5K",
    "FCDD_CNN32_7K",
    "FCDD_CNN32_9K",
    "FCDD_CNN32_11K",
    "FCDD_CNN32_13K",
    "FCDD_CNN32_15K",
    "FCDD_CNN32_17K",
    "FCDD_CNN224",
    "FCDD_CNN224_W",
    "FCDD_CNN224_3K",
    "FCDD_CNN224_5K",
    "FCDD_CNN224_7K",
    "FCDD_CNN224_9K",
    "FCDD_CNN224_11K",
    "FCDD_CNN224_13K",
    "FCDD_CNN224_VGG",
    "FCDD_CNN224_VGG_F",
    "FCDD_CNN224_VGG_NOPT",
    "FCDD_TRUNK",  # any torchvision classification net, cut at a layer: net.trunk
]
HSCNetName = Literal[
    "CNN28",
    "CNN28_W",
    "CNN32",
    "CNN32_LW3K",
    "CNN224",
    "CNN224_VGG",
    "CNN224_VGG_F",
    "CNN224_VGG_NOPT",
    "CNN224_VGG_NOPT_1000",
]
AENetName = Literal[
    "AE28",
    "AE28_W",
    "AE32",
    "AE32_LW3K",
    "AE224",
    "AE224_VGG",
    "AE224_VGG_F",
    "AE224_VGG_NOPT",
]
NetName = Literal[FCDDNetName, HSCNetName, AENetName]
ObjectiveName = Literal["fcdd", "hsc", "ae"]

# Data sets whose images come in one size, which is also the network's input.
FIXED_SHAPES: dict[DataName, tuple[int, int, int]] = {
    "digits": (1, 28, 28),
    "fmnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
}
# Data sets of files, brought to data.size: (default side of the network input, side that images
# are resized to before the crop at that default). Published: 224 of 240 (MVTec-AD), of 256
# (ImageNet), of 248 (custom); Pascal VOC without a crop. textures are ours, to run on a laptop.
SIDES: dict[DataName, tuple[int, int]] = {
    "imagenet30": (224, 256),
    "mvtec": (224, 240),
    "mvtec_layout": (224, 240),
    "pascal_voc": (224, 224),
    "textures": (64, 68),
    "custom": (224, 248),
}
# Data sets whose defective test images come with a mask and the name of a defect type.
WITH_DEFECTS: tuple[DataName, ...] = ("mvtec", "mvtec_layout", "textures")
# Data sets whose classes the user names in data.classes.
OWN_CLASSES: tuple[DataName, ...] = ("mvtec_layout", "custom")

# Input shape of nets with a fully connected part; all others take any size that leaves a cell.
NET_SHAPES: dict[str, tuple[int, int, int]] = {
    **{name: (1, 28, 28) for name in ("CNN28", "CNN28_W", "AE28", "AE28_W")},
    **{name: (3, 32, 32) for name in ("CNN32", "CNN32_LW3K", "AE32", "AE32_LW3K")},
    **{
        name: (3, 224, 224)
        for name in (
            *("CNN224", "CNN224_VGG", "CNN224_VGG_F", "CNN224_VGG_NOPT", "CNN224_VGG_NOPT_1000"),
            *("AE224", "AE224_VGG", "AE224_VGG_F", "AE224_VGG_NOPT"),
        )
    },
}
GRAY_NETS = ("FCDD_CNN28", "FCDD_CNN28_W", "CNN28", "CNN28_W", "AE28", "AE28_W")
FROZEN_NETS = ("FCDD_CNN224_VGG_F", "CNN224_VGG_F", "AE224_VGG_F")
PRETRAINED_NETS = (
    *("FCDD_CNN224_VGG", "CNN224_VGG", "AE224_VGG"),
    *FROZEN_NETS,
)

TEXTURE_NAMES = ("checker", "stripes", "grain", "weave", "pebbles")
CLASS_NAMES: dict[DataName, tuple[str, ...]] = {
    "digits": tuple("0123456789"),
    "fmnist": (
        *("t-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
    "imagenet30": (
        *("acorn", "airliner", "ambulance", "american alligator", "banjo", "barn"),
        *("bikini", "digital clock", "dragonfly", "dumbbell", "forklift", "goblet"),
        *("grand piano", "hotdog", "hourglass", "manhole cover", "mosque", "nail"),
        *("parking meter", "pillow", "revolver", "dial telephone", "schooner", "snowmobile"),
        *("soccer ball", "stingray", "strawberry", "tank", "toaster", "volcano"),
    ),
    "mvtec": (
        *("bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut"),
        *("pill", "screw", "tile", "toothbrush", "transistor", "wood", "zipper"),
    ),
    "pascal_voc": ("horse",),
    "textures": TEXTURE_NAMES,
}
_MVTEC: tuple[Preprocessing, ...] = ("none", "lcn", "aug1", "lcnaug1")
PREPROCESSINGS: dict[DataName, tuple[Preprocessing, ...]] = {
    "digits": ("none", "lcn", "aug1", "lcnaug1"),
    "fmnist": ("none", "lcn", "aug1", "lcnaug1"),
    "cifar10": ("none", "lcn", "aug1", "aug1_blackcenter", "aug1_blackcenter_inverted"),
    "imagenet30": ("none", "aug1"),
    "mvtec": _MVTEC,
    "mvtec_layout": _MVTEC,
    "textures": _MVTEC,
    "pascal_voc": ("none", "aug1"),
    "custom": ("none", "aug1"),
}
