"""Receptive fields of traced nets against the pixels that a cell's gradient reaches."""

import pytest
import torch
from torch import fx, nn

from fcdd.catalog import NetName
from fcdd.config import Net
from fcdd.nets.build import architecture, receptive_field
from fcdd.nets.graph import graph_field
from fcdd.nets.trunk import FCDD_TRUNK
from fcdd.receptive import Axis


def _without_cancellation(net: nn.Module) -> nn.Module:
    """`net` in float64 with positive weights, average for max pooling and saturated gates, so that
    the gradient of a cell is above zero exactly at the pixels that the cell sees."""
    net = net.double().eval()
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.MaxPool2d):
                pool = nn.AvgPool2d(
                    child.kernel_size, child.stride, child.padding, ceil_mode=child.ceil_mode
                )
                parent.add_module(name, pool)
    for name, parameter in net.named_parameters():
        if parameter.dim() == 4:
            nn.init.constant_(parameter, 1 / parameter[0].numel())
        elif name.endswith("fc2.bias"):  # the last of squeeze-and-excitation: its gate becomes 1
            nn.init.constant_(parameter, 100)
        elif name.endswith("weight"):
            nn.init.ones_(parameter)
        else:
            nn.init.zeros_(parameter)
    return net


def _reached(
    net: nn.Module, size: tuple[int, int], cell: tuple[int, int], *, channels: int = 3
) -> list[list[int]]:
    images = torch.ones(1, channels, *size, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(images)[0, 0, cell[0], cell[1]], images)
    seen = gradient[0].sum(dim=0) > 0
    return [seen.any(dim=other).nonzero()[:, 0].tolist() for other in (1, 0)]


def _expected(axis: Axis, cell: int, size: int) -> list[int]:
    first = axis.shift + cell * axis.jump - (axis.extent - 1) / 2
    assert first == int(first)
    return [p for p in range(int(first), int(first) + axis.extent) if 0 <= p < size]


# Extents by hand: resnet18 has 11 pixels after its stem (7, then pooling 3, jump 4), +2 jumps per
# 3 x 3 convolution; the shortcuts see less.
TRUNKS = [
    ("resnet18", "layer1", 4, 11 + 4 * 2 * 4),
    ("resnet18", "layer2", 8, 43 + 2 * 4 + 3 * 2 * 8),
    ("resnet18", "layer3", 16, 99 + 2 * 8 + 3 * 2 * 16),
    ("resnet18", "layer2.0.downsample.0", 8, 43),
    # stem 3 (jump 2), 3 depthwise (4), 3 depthwise (8), 3 depthwise; 1 x 1 convolutions between
    ("mobilenet_v3_small", "features.3", 8, 3 + 2 * 2 + 2 * 4 + 2 * 8),
    # the stem of resnet18, then six layers with one 3 x 3 convolution each
    ("densenet121", "features.denseblock1", 4, 11 + 6 * 2 * 4),
    ("squeezenet1_1", "features.4", 4, None),
    ("shufflenet_v2_x0_5", "stage2", 8, None),
    ("googlenet", "inception3a", 8, None),
    ("efficientnet_b0", "features.3", 8, None),
    ("regnet_y_400mf", "trunk_output.block1", 4, None),
]


@pytest.mark.parametrize(("trunk", "layer", "jump", "extent"), TRUNKS)
def test_trunk_sees_exactly_the_pixels_that_the_gradient_reaches(
    trunk: str, layer: str, jump: int, extent: int | None
) -> None:
    size = (256, 224) if extent and extent > 150 else (128, 96)
    net = FCDD_TRUNK(trunk, layer, size=size)
    height, width = receptive_field(net, size)
    assert height.jump == width.jump == jump
    assert extent in (None, height.extent)
    net = _without_cancellation(net)
    outputs = net(torch.ones(1, 3, *size, dtype=torch.float64))
    assert tuple(outputs.shape) == (1, 1, height.num_cells, width.num_cells)
    for cell in ((height.num_cells // 2, width.num_cells // 2), (0, 1)):
        rows, columns = _reached(net, size, cell)
        assert rows == _expected(height, cell[0], size[0])
        assert columns == _expected(width, cell[1], size[1])


@pytest.mark.parametrize(
    "name",
    [
        *("FCDD_CNN28", "FCDD_CNN32", "FCDD_CNN32_S", "FCDD_CNN32_LW3K", "FCDD_CNN32_9K"),
        *("FCDD_CNN224", "FCDD_CNN224_VGG"),
    ],
)
def test_fcdd_net_sees_exactly_the_pixels_that_the_gradient_reaches(name: NetName) -> None:
    net = _without_cancellation(architecture(Net(name=name)))
    channels, size = (1 if "28" in name else 3), (96, 72)
    height, width = receptive_field(net, size)
    for cell in ((height.num_cells // 2, width.num_cells // 2), (0, 1)):
        rows, columns = _reached(net, size, cell, channels=channels)
        assert rows == _expected(height, cell[0], size[0])
        assert columns == _expected(width, cell[1], size[1])


class _Branches(nn.Module):
    """Two branches around one image, joined by `join`."""

    def __init__(self, first: nn.Module, second: nn.Module, join: str = "add") -> None:
        super().__init__()
        self.first, self.second, self.join = first, second, join

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        one, two = self.first(images), self.second(images)
        return torch.cat([one, two], 1) if self.join == "cat" else one + two


def _field(net: nn.Module, size: tuple[int, int] = (20, 20)) -> tuple[Axis, Axis]:
    return graph_field(fx.symbolic_trace(net), size)


@pytest.mark.parametrize("join", ["add", "cat"])
def test_joined_branches_see_what_either_sees(join: str) -> None:
    # rows: -1..1 and 0..0; columns: -3..1 and 0..0, worked by hand
    wide = nn.Conv2d(1, 1, (3, 5), padding=(1, 3))
    narrow = nn.Conv2d(1, 1, 1, padding=(0, 1))
    height, width = _field(_Branches(wide, narrow, join))
    assert height == Axis(20, 1, 3, 0.0)
    assert width == Axis(22, 1, 5, -1.0)


def test_dilation_counts_and_agrees_with_the_gradient() -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 3, padding=2, dilation=2, stride=2))
    height, width = _field(net, (21, 30))
    assert (height, width) == (Axis(11, 2, 5, 0.0), Axis(15, 2, 5, 0.0))
    rows, _ = _reached(_without_cancellation(net), (21, 30), (5, 5))
    assert rows == [8, 10, 12]  # the first, middle and last of 5 rows


def test_branches_of_unlike_grids_are_refused_by_name() -> None:
    net = _Branches(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, stride=2, padding=1))
    with pytest.raises(
        ValueError, match=r"'add': it joins 20 cells of 1 pixels with 10 cells of 2"
    ):
        _field(net)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.AdaptiveAvgPool2d(7)], "'0': pooling to a fixed size of 7"),
        ([nn.Conv2d(1, 1, 3), nn.Flatten()], "'1': Flatten is no operation on places"),
        ([nn.AdaptiveAvgPool2d(1)], "must be one map"),
        ([nn.Upsample(scale_factor=2)], "Upsample is no operation on places"),
        ([nn.Conv2d(1, 1, 3, padding="same")], "padding 'same'"),
        ([nn.Conv2d(1, 1, 30)], "leaves no cell"),
        ([nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 1, 3)], "without a place"),
        ([nn.Linear(20, 4)], "Linear is no operation on places"),
    ],
)
def test_what_has_no_receptive_field_is_refused(layers: list[nn.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _field(nn.Sequential(*layers))


class _Function(nn.Module):
    """One function between two convolutions."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 1, 1)
        self.function = function

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.function(self.first(images)))  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: torch.relu(x), Axis(20, 1, 3, 0.0)),
        (lambda x: nn.functional.max_pool2d(x, 2), Axis(10, 2, 4, 0.5)),
        (
            lambda x: nn.functional.max_pool2d(x, kernel_size=3, stride=3, ceil_mode=True),
            Axis(7, 3, 5, 1.0),
        ),
        (
            lambda x: nn.functional.avg_pool2d(x, 3, stride=2, padding=1),
            Axis(10, 2, 5, 0.0),
        ),
        (lambda x: x * nn.functional.adaptive_avg_pool2d(x, 1), Axis(20, 1, 3, 0.0)),
        (lambda x: x * x.mean((2, 3), keepdim=True), Axis(20, 1, 3, 0.0)),
        (lambda x: torch.cat(x.chunk(2, dim=1), 1), Axis(20, 1, 3, 0.0)),
        (lambda x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2), Axis(20, 1, 3, 0.0)),
        (
            lambda x: torch.cat([x[:, i].unsqueeze(1) for i in range(4)], 1),
            Axis(20, 1, 3, 0.0),
        ),
    ],
)
def test_functions_between_modules_are_followed(function: object, expected: Axis) -> None:
    net = _Function(function)
    assert _field(net) == (expected, expected)
    assert net(torch.rand(1, 3, 20, 20)).shape[-1] == expected.num_cells


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.cat([x, x], 2), "'cat': cat along dimension 2 moves cells"),
        (lambda x: x[:, :, 1:], "may move cells"),
        (lambda x: x[0], "the index 0 may move cells"),
        (lambda x: x.permute(0, 2, 3, 1), "acts on .bhwc."),
        (lambda x: x + x.permute(0, 1, 3, 2), "laid out as .bchw. and .bcwh."),
        (lambda x: x.mean((2, 3)), "the mean leaves no receptive field"),
        (lambda x: x.flatten(1), "flatten is no operation on places"),
        (lambda x: torch.roll(x, 1), "roll is no operation on places"),
    ],
)
def test_functions_that_move_or_lose_cells_are_refused(function: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _field(_Function(function))
