"""Sizes, outputs and state-dict names of all nets against docs/method.md section 2.

Nets are built on the meta device: the largest has 240 million parameters.
"""

from typing import NamedTuple, get_args

import pytest
import torch
from torch import nn

from fcdd.catalog import NET_SHAPES, PRETRAINED_NETS, NetName
from fcdd.config import Net
from fcdd.nets.build import architecture, receptive_field
from fcdd.receptive import Axis


class Published(NamedTuple):
    parameters: int
    output: tuple[int, ...]
    # modules with parameters in order; a star marks batch normalisation
    modules: str


_TRUNK = "features.0 features.1* features.4 features.5* features.8 features.9* features.11 \
features.12* features.15 features.16* features.18 features.19*"
_TAIL = " features.22 features.23* features.25 features.26*"
_VGG = f"{_TRUNK}{_TAIL} classifier.0 classifier.3"
_CNN28 = "conv1 bn1* conv2 bn2* fc_final"
_CNN32 = "conv1 bn2d1* conv2 bn2d2* conv3 bn2d3* fc1 bn1d1* fc_final"
_CNN32_LW3K = "conv1 bn2d1* conv2 bn2d2* conv25 bn2d25* conv3 bn2d3* fc1 bn1d1* fc_final"
_CNN224 = "conv1 bn2d1* conv2 bn2d2* conv3 bn2d3* conv4 bn2d4* conv5 bn2d5* conv6 bn2d6* fc1 \
bn1d1* fc_final"
_DEFEATURES = "1 2* 4 5* 8 9* 11 12* 15 16* 18 19* 22 23* 26"
_FIVE = "conv1 bn2d1* conv2 bn2d2* conv3 bn2d3* conv4 bn2d4* conv5 conv_final"
_THREE = "conv1 bn2d1* conv2 bn2d2* conv3 conv_final"


def _prefixed(prefix: str, modules: str) -> str:
    return " ".join(f"{prefix}.{module}" for module in modules.split())


def _ae_vgg() -> str:
    decoder = f"bn1d* declassifier.0 declassifier.1* {_prefixed('defeatures', _DEFEATURES)}"
    return f"{_prefixed('encoder.vgg', _VGG)} {decoder}"


PUBLISHED: dict[NetName, Published] = {
    "FCDD_CNN28": Published(3_457, (1, 7, 7), "conv1 bn2d1* conv2 conv_final"),
    "FCDD_CNN28_W": Published(413_441, (1, 7, 7), "conv1 bn2d1* conv2 conv_final"),
    "FCDD_CNN32": Published(
        259_201, (1, 8, 8), "conv1 bn2d1* conv2 bn2d2* conv3 bn2d3* conv_final"
    ),
    "FCDD_CNN32_S": Published(93_569, (1, 8, 8), _THREE),
    "FCDD_CNN32_LW3K": Published(
        1_185_537,
        (1, 8, 8),
        "conv1 bn2d1* conv2 bn2d2* conv25 bn2d25* conv3 bn2d3* conv_final",
    ),
    "FCDD_CNN224": Published(247_569, (1, 28, 28), _FIVE),
    "FCDD_CNN224_W": Published(1_286_721, (1, 28, 28), _FIVE),
    **{
        name: Published(4_504_833, (1, 28, 28), f"{_TRUNK} conv_final")
        for name in ("FCDD_CNN224_VGG", "FCDD_CNN224_VGG_F", "FCDD_CNN224_VGG_NOPT")
    },
    "CNN28": Published(10_492, (48,), _CNN28),
    "CNN28_W": Published(359_152, (48,), _CNN28),
    "CNN32": Published(1_342_016, (64,), _CNN32),
    "CNN32_LW3K": Published(2_268_352, (64,), _CNN32_LW3K),
    "CNN224": Published(6_348_128, (784,), _CNN224),
    **{
        name: Published(128_771_840, (4096,), _prefixed("vgg", _VGG))
        for name in ("CNN224_VGG", "CNN224_VGG_F", "CNN224_VGG_NOPT")
    },
    "CNN224_VGG_NOPT_1000": Published(
        132_868_840, (1000,), _prefixed("vgg", f"{_VGG} classifier.6")
    ),
    "AE28": Published(
        11_829,
        (1, 28, 28),
        f"{_prefixed('encoder', _CNN28)} deconv1 bn3* deconv2 bn4* deconv3",
    ),
    "AE28_W": Published(
        572_529,
        (1, 28, 28),
        f"{_prefixed('encoder', _CNN28)} deconv1 bn3* deconv2 bn4* deconv3",
    ),
    "AE32": Published(
        1_614_019,
        (3, 32, 32),
        f"{_prefixed('encoder', _CNN32)} bn1d* deconv1 bn2d4* deconv2 bn2d5* deconv3 bn2d6* "
        "deconv4",
    ),
    "AE32_LW3K": Published(
        3_458_499,
        (3, 32, 32),
        f"{_prefixed('encoder', _CNN32_LW3K)} bn1d* deconv1 bn2d4* deconv2 bn2d5* deconv25 "
        "bn2d55* deconv3 bn2d6* deconv4",
    ),
    "AE224": Published(
        6_680_531,
        (3, 224, 224),
        f"{_prefixed('encoder', _CNN224)} bn1d* deconv1 bn2dd1* deconv2 bn2dd2* deconv3 bn2dd3* "
        "deconv4 bn2dd4* deconv5 bn2dd5* deconv6 bn2dd6* deconv7",
    ),
    **{
        name: Published(240_840_195, (3, 224, 224), _ae_vgg())
        for name in ("AE224_VGG", "AE224_VGG_F", "AE224_VGG_NOPT")
    },
}
# Number of keys of the published state dicts.
NUM_KEYS = {
    **dict.fromkeys(("FCDD_CNN28", "FCDD_CNN28_W"), 11),
    "FCDD_CNN32": 23,
    "FCDD_CNN32_S": 18,
    "FCDD_CNN32_LW3K": 30,
    **dict.fromkeys(("FCDD_CNN224", "FCDD_CNN224_W"), 32),
    **dict.fromkeys(("FCDD_CNN224_VGG", "FCDD_CNN224_VGG_F", "FCDD_CNN224_VGG_NOPT"), 44),
    **dict.fromkeys(("CNN28", "CNN28_W"), 16),
    "CNN32": 30,
    "CNN32_LW3K": 37,
    "CNN224": 51,
    **dict.fromkeys(("CNN224_VGG", "CNN224_VGG_F", "CNN224_VGG_NOPT"), 60),
    "CNN224_VGG_NOPT_1000": 62,
    **dict.fromkeys(("AE28", "AE28_W"), 32),
    "AE32": 58,
    "AE32_LW3K": 72,
    "AE224": 100,
    **dict.fromkeys(("AE224_VGG", "AE224_VGG_F", "AE224_VGG_NOPT"), 123),
}
# (n, j, r, s) of docs/method.md section 2.
FIELDS: dict[NetName, Axis] = {
    **dict.fromkeys(("FCDD_CNN28", "FCDD_CNN28_W"), Axis(7, 4, 16, 1.5)),
    "FCDD_CNN32": Axis(8, 4, 32, 1.5),
    "FCDD_CNN32_S": Axis(8, 4, 18, 1.5),
    "FCDD_CNN32_LW3K": Axis(8, 4, 22, 1.5),
    **dict.fromkeys(("FCDD_CNN224", "FCDD_CNN224_W"), Axis(28, 8, 59, 0.0)),
    **dict.fromkeys(
        ("FCDD_CNN224_VGG", "FCDD_CNN224_VGG_F", "FCDD_CNN224_VGG_NOPT"), Axis(28, 8, 62, 3.5)
    ),
    "FCDD_CNN224_3K": Axis(28, 8, 53, 0.0),
    "FCDD_CNN224_5K": Axis(28, 8, 91, 0.0),
    "FCDD_CNN224_7K": Axis(28, 8, 129, 0.0),
    "FCDD_CNN224_9K": Axis(28, 8, 167, 0.0),
    "FCDD_CNN224_11K": Axis(28, 8, 205, 0.0),
    "FCDD_CNN224_13K": Axis(28, 8, 243, 0.0),
    "FCDD_CNN32_3K": Axis(8, 4, 18, 1.5),
    "FCDD_CNN32_5K": Axis(8, 4, 20, 1.5),
    "FCDD_CNN32_7K": Axis(8, 4, 22, 1.5),
    "FCDD_CNN32_9K": Axis(8, 4, 24, 1.5),
    "FCDD_CNN32_11K": Axis(8, 4, 26, 1.5),
    "FCDD_CNN32_13K": Axis(8, 4, 28, 1.5),
    "FCDD_CNN32_15K": Axis(8, 4, 30, 1.5),
    "FCDD_CNN32_17K": Axis(8, 4, 32, 1.5),
}


def shape_of(name: str) -> tuple[int, int, int]:
    if name in NET_SHAPES:
        return NET_SHAPES[name]
    return (1, 28, 28) if "28" in name else (3, 32, 32) if "CNN32" in name else (3, 224, 224)


def on_meta(name: NetName, *, bias: bool = True) -> nn.Module:
    with torch.device("meta"):
        return architecture(Net(name=name, bias=bias))


def test_every_net_of_the_catalog_stands_in_a_table_here() -> None:
    names = {name for literal in get_args(NetName) for name in get_args(literal) or (literal,)}
    assert names == PUBLISHED.keys() | FIELDS.keys() | {"FCDD_TRUNK"}
    assert PUBLISHED.keys() == NUM_KEYS.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_net_has_the_published_size_and_output(name: NetName) -> None:
    net = on_meta(name).eval()
    assert sum(parameter.numel() for parameter in net.parameters()) == PUBLISHED[name].parameters
    outputs = net(torch.empty(2, *shape_of(name), device="meta"))
    assert tuple(outputs.shape) == (2, *PUBLISHED[name].output)


@pytest.mark.parametrize("name", PUBLISHED)
def test_state_dict_has_the_published_names_in_the_published_order(name: NetName) -> None:
    batch_norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = [
        f"{module.rstrip('*')}.{key}"
        for module in PUBLISHED[name].modules.split()
        for key in (batch_norm if module.endswith("*") else ("weight", "bias"))
    ]
    assert list(on_meta(name).state_dict()) == expected
    assert len(expected) == NUM_KEYS[name]


@pytest.mark.parametrize("name", [name for name in (*PUBLISHED, *FIELDS) if "VGG" not in name])
def test_without_bias_only_weights_and_statistics_are_left(name: NetName) -> None:
    net = on_meta(name, bias=False)
    assert {key.rpartition(".")[2] for key, _ in net.named_parameters()} == {"weight"}
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.weight is None
            assert module.bias is None
            assert module.running_mean is not None


@pytest.mark.parametrize("name", FIELDS)
def test_fcdd_net_has_the_published_receptive_field_and_one_output_per_cell(name: NetName) -> None:
    c, h, w = shape_of(name)
    net = on_meta(name)
    assert receptive_field(net, (h, w)) == (FIELDS[name], FIELDS[name])
    cells = FIELDS[name].num_cells
    assert net(torch.empty(2, c, h, w, device="meta")).shape == (2, 1, cells, cells)


@pytest.mark.parametrize(
    "name", ["FCDD_CNN28", "FCDD_CNN32_LW3K", "FCDD_CNN224", "FCDD_CNN224_VGG"]
)
def test_rectangular_images_of_other_sizes_track_height_and_width_apart(name: NetName) -> None:
    net, channels = on_meta(name), shape_of(name)[0]
    height, width = receptive_field(net, (104, 83))
    outputs = net(torch.empty(1, channels, 104, 83, device="meta"))
    assert tuple(outputs.shape[2:]) == (height.num_cells, width.num_cells)
    assert height.num_cells != width.num_cells
    assert (height.jump, height.extent, height.shift) == (width.jump, width.extent, width.shift)


@pytest.mark.parametrize("kernel", [3, 5, 7, 9, 11, 13])
def test_kernel_study_224_has_the_size_of_its_kernels(kernel: int) -> None:
    net = on_meta(f"FCDD_CNN224_{kernel}K")  # pyright: ignore[reportArgumentType]
    weights = 3 * 32 + 32 * 128 + 128 * 256 + 256 * 256 + 256 * 128
    biases = 32 + 128 + 256 + 256 + 128
    batch_norm = 2 * (32 + 128 + 256 + 256)
    expected = kernel**2 * weights + biases + batch_norm + 128 + 1
    assert sum(parameter.numel() for parameter in net.parameters()) == expected


def test_kernel_study_32_varies_the_first_kernel_only() -> None:
    smallest, largest = on_meta("FCDD_CNN32_3K"), on_meta("FCDD_CNN32_17K")
    sizes = [sum(p.numel() for p in net.parameters()) for net in (smallest, largest)]
    assert sizes[1] - sizes[0] == (17**2 - 3**2) * 3 * 128
    # conv1, conv2, conv3 with bias, two BatchNorm, the final convolution
    expected = 27 * 128 + 128 + 9 * 128 * 256 + 256 + 9 * 256 * 128 + 128 + 2 * (128 + 256) + 129
    assert sizes[0] == expected


@pytest.mark.parametrize("name", ["FCDD_CNN224_VGG_F", "CNN224_VGG_F", "AE224_VGG_F"])
def test_frozen_nets_learn_all_but_their_first_four_convolutions(name: NetName) -> None:
    net = on_meta(name)
    frozen = [key for key, parameter in net.named_parameters() if not parameter.requires_grad]
    prefix = {"F": "", "C": "vgg.", "A": "encoder.vgg."}[name[0]]
    expected = [
        f"{prefix}features.{index}.{kind}"
        for index in (0, 1, 4, 5, 8, 9, 11, 12)
        for kind in ("weight", "bias")
    ]
    assert frozen == expected
    if name == "FCDD_CNN224_VGG_F":
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 3_542_529


def test_only_nets_named_f_are_frozen() -> None:
    for name in ("FCDD_CNN224_VGG", "FCDD_CNN224_VGG_NOPT", "CNN224_VGG", "AE224_VGG_NOPT"):
        assert all(parameter.requires_grad for parameter in on_meta(name).parameters())
    assert {name for name in PRETRAINED_NETS if name.endswith("_F")} == {
        "FCDD_CNN224_VGG_F",
        "CNN224_VGG_F",
        "AE224_VGG_F",
    }
