"""The list of all nets, and the receptive field of a built one."""

from pathlib import Path

import torch
from torch import nn

from fcdd.config import Run
from fcdd.data.task import generator
from fcdd.nets.small import (
    FCDD_CNN28,
    FCDD_CNN28_W,
    FCDD_CNN32,
    FCDD_CNN32_LW3K,
    FCDD_CNN32_S,
    SmallFCDD,
)
from fcdd.receptive import Axis, Layer, receptive_axis


def build(run: Run, *, weights: Path | None = None) -> SmallFCDD:
    """The run's net with PyTorch's default initialisation drawn from `run.seed`, on the CPU.

    `weights` is the file of pretrained weights for nets that start from them."""
    seed = generator(run.seed, "initialisation").initial_seed()
    with torch.random.fork_rng(devices=[]):  # PyTorch initialises from its global generator only
        torch.manual_seed(seed)
        return _build(run)


def _build(run: Run) -> SmallFCDD:
    bias = run.net.bias
    match run.net.name:
        case "FCDD_CNN28":
            return FCDD_CNN28(bias=bias)
        case "FCDD_CNN28_W":
            return FCDD_CNN28_W(bias=bias)
        case "FCDD_CNN32":
            return FCDD_CNN32(bias=bias)
        case "FCDD_CNN32_S":
            return FCDD_CNN32_S(bias=bias)
        case "FCDD_CNN32_LW3K":
            return FCDD_CNN32_LW3K(bias=bias)
        case _:
            raise ValueError(f"net {run.net.name!r} is not built yet")


def receptive_field(net: SmallFCDD, size: tuple[int, int]) -> tuple[Axis, Axis]:
    """The receptive field of `net` along (height, width) for images of `size`."""
    layers = [m for m in net.path() if isinstance(m, nn.Conv2d | nn.MaxPool2d)]
    height, width = ([_layer(module, axis) for module in layers] for axis in (0, 1))
    return receptive_axis(size[0], height), receptive_axis(size[1], width)


def _layer(module: nn.Conv2d | nn.MaxPool2d, axis: int) -> Layer:
    def along(value: int | tuple[int, ...] | str) -> int:
        return value[axis] if isinstance(value, tuple) else int(value)

    return Layer(along(module.kernel_size), along(module.stride), along(module.padding))
