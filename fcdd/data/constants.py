"""How a class's images are scaled: published constants, or computed from its nominal images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.mvtec_constants import MVTEC
from fcdd.data.ragged import Ragged

# Per nominal class: (LCN minimum, LCN maximum, mean, standard deviation); docs/method.md section 4.
_FMNIST = (
    (-2.68123913, 24.8543091, (0.325605601,), (0.350739181,)),  # t-shirt/top
    (-2.57785845, 11.169796, (0.222904563,), (0.343530476,)),  # trouser
    (-2.80817151, 19.1335487, (0.376699835,), (0.358680308,)),  # pullover
    (-1.95336533, 18.6567307, (0.258895963,), (0.354219645,)),  # dress
    (-2.61038566, 19.1666851, (0.385323226,), (0.376311898,)),  # coat
    (-1.23585224, 28.4630928, (0.136734948,), (0.263108134,)),  # sandal
    (-3.25160599, 24.1968231, (0.331783682,), (0.339278668,)),  # shirt
    (-1.08144403, 16.8788128, (0.167693913,), (0.294786602,)),  # sneaker
    (-3.65609646, 11.3502836, (0.353554994,), (0.365271211,)),  # bag
    (-1.38592911, 11.42665, (0.301194519,), (0.37053293,)),  # ankle boot
)
_CIFAR10 = (
    # airplane
    (
        -28.9408345,
        13.8029618,
        (0.525651693, 0.560328186, 0.588872373),
        (0.250220209, 0.240834862, 0.265973508),
    ),
    # automobile
    (
        -6.68177023,
        9.15806771,
        (0.471132278, 0.45446229, 0.447121233),
        (0.268063575, 0.265827417, 0.274945945),
    ),
    # bird
    (
        -34.9244636,
        14.4192982,
        (0.489239067, 0.491463661, 0.423904687),
        (0.227054805, 0.220944598, 0.24337928),
    ),
    # cat
    (
        -10.5991729,
        11.0931878,
        (0.495478511, 0.456361145, 0.415406972),
        (0.25684315, 0.252270818, 0.257993758),
    ),
    # deer
    (
        -11.945023,
        10.6280454,
        (0.471553355, 0.465152234, 0.377972484),
        (0.217327371, 0.206527025, 0.211823359),
    ),
    # dog
    (
        -9.69196949,
        8.94832678,
        (0.499920934, 0.464605659, 0.416428626),
        (0.250425339, 0.243748784, 0.248946384),
    ),
    # frog
    (
        -9.17494001,
        13.8470147,
        (0.470018297, 0.438292146, 0.345003963),
        (0.228883415, 0.218561724, 0.220419958),
    ),
    # horse
    (
        -6.87668201,
        12.2823714,
        (0.501953185, 0.479836524, 0.416713923),
        (0.243049011, 0.243973047, 0.25171563),
    ),
    # ship
    (
        -15.6035071,
        15.2464924,
        (0.490214318, 0.525394797, 0.554680407),
        (0.249624729, 0.240688846, 0.251497626),
    ),
    # truck
    (
        -6.13288297,
        8.04609817,
        (0.498641759, 0.485296547, 0.478009194),
        (0.268052548, 0.269107997, 0.281016558),
    ),
)


# ImageNet-1k, for ImageNet-30; Pascal VOC 2007. No LCN is defined for them.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PASCAL_VOC = ((0.4469, 0.4227, 0.3906), (0.2691, 0.2659, 0.2789))

_CHUNK_VALUES = 1 << 22  # of images in float64 at once: 34 MB


@dataclass(frozen=True)
class Normalisation:
    """Constants of the nominal class per channel [c]; images in [0, 1] for mean and std. 0 and 1
    are the LCN extremes of data sets that have no LCN."""

    lcn_min: tuple[float, ...]
    lcn_max: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def normalisation(run: Run, nominal: Tensor | Ragged) -> Normalisation:
    """The constants of the run's nominal class: the published ones where there are any, else
    (digits, textures, the layout of MVTec-AD, custom) computed from `nominal`, the training images
    as they are stored. The published code computes those of custom data from images squashed to
    the network's size. Raises ValueError for images without contrast."""
    number = run.data.normal_class
    match run.data.name:
        case "fmnist":
            return _published(_FMNIST[number])
        case "cifar10":
            return _published(_CIFAR10[number])
        case "mvtec":
            return Normalisation(*MVTEC[number])
        case "imagenet30":
            return Normalisation((0.0,) * 3, (1.0,) * 3, *_IMAGENET)
        case "pascal_voc":
            return Normalisation((0.0,) * 3, (1.0,) * 3, *_PASCAL_VOC)
        case "digits" | "textures" | "mvtec_layout" | "custom":
            return compute_normalisation(nominal)
        case unknown:
            assert_never(unknown)


def _published(
    constants: tuple[float, float, tuple[float, ...], tuple[float, ...]],
) -> Normalisation:
    low, high, mean, std = constants
    return Normalisation((low,) * len(mean), (high,) * len(mean), mean, std)


def compute_normalisation(nominal: Tensor | Ragged) -> Normalisation:
    """Constants over all pixels of the uint8 images `nominal`: extremes after contrast
    normalisation, mean and unbiased standard deviation in [0, 1]. Sums are of whole numbers, so
    exact; memory does not grow with the number of images."""
    num_channels = nominal.channels if isinstance(nominal, Ragged) else nominal.shape[1]
    count, lows, highs = 0, [], []
    sums = torch.zeros((2, num_channels), dtype=torch.int64)
    for images in _chunks(nominal):
        # float64 holds these sums of at most 2^22 squares of bytes exactly.
        levels = images.double()
        for power in (1, 2):
            sums[power - 1] += levels.pow(power).sum(dim=(0, 2, 3)).long()
        count += images[:, 0].numel()
        local = contrast_normalise(levels.div_(255))
        lows.append(local.amin(dim=(0, 2, 3)))
        highs.append(local.amax(dim=(0, 2, 3)))
    means, stds = zip(*(_moments(count, *pair) for pair in sums.T.tolist()), strict=True)
    if 0 in stds:
        raise ValueError(
            f"the {len(nominal)} nominal training images have a constant channel, so they cannot "
            "be normalised; check the files of this class"
        )
    return Normalisation(
        lcn_min=tuple(torch.stack(lows).amin(0).tolist()),
        lcn_max=tuple(torch.stack(highs).amax(0).tolist()),
        mean=means,
        std=stds,
    )


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    """Mean and unbiased standard deviation in [0, 1] of `count` bytes with these sums."""
    deviation = count * squares - total * total  # exact, of any size
    return total / count / 255, math.sqrt(deviation / (count * max(1, count - 1))) / 255


def _chunks(nominal: Tensor | Ragged) -> Iterator[Tensor]:
    """uint8 [k, c, h, w] on the host, of at most _CHUNK_VALUES; `Ragged` ones one at a time."""
    if isinstance(nominal, Ragged):
        host = nominal.to("cpu")
        for index in range(len(host)):
            yield torch.as_tensor(host[index])[None]
        return
    step = max(1, _CHUNK_VALUES // max(1, nominal[:1].numel()))
    for part in nominal.split(step):
        yield part.cpu()


def contrast_normalise(images: Tensor) -> Tensor:
    """LCN "l1" of each image [b, c, h, w] over all its pixels and channels: minus the mean, divided
    by the mean absolute value of the result (unless that is 0). docs/method.md section 4."""
    centred = images - images.mean(dim=(1, 2, 3), keepdim=True)
    scale = centred.abs().mean(dim=(1, 2, 3), keepdim=True)
    return centred / torch.where(scale == 0, torch.ones_like(scale), scale)
