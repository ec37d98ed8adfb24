"""Receptive-field arithmetic (docs/method.md section 2)."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import log10


@dataclass(frozen=True)
class Layer:
    """A convolution or pooling along one axis."""

    kernel: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Axis:
    """What the cells of a feature map see along one image axis, in pixels.

    `num_cells` cells, `jump` apart, each seeing `extent`; the first is centred at `shift` (from 0).
    """

    num_cells: int
    jump: int
    extent: int
    shift: float


def receptive_axis(size: int, layers: Iterable[Layer]) -> Axis:
    """The receptive field of the last of `layers`, applied in order to `size` pixels.

    Raises ValueError when a layer leaves no cell.
    """
    cells, jump, extent, shift = size, 1, 1, 0.0
    for layer in layers:
        cells = (cells + 2 * layer.padding - layer.kernel) // layer.stride + 1
        extent += (layer.kernel - 1) * jump
        shift += ((layer.kernel - 1) / 2 - layer.padding) * jump
        jump *= layer.stride
        if cells < 1:
            raise ValueError(f"{size} pixels are too few for this net: {layer} leaves no cell")
    return Axis(cells, jump, extent, shift)


def default_gauss_std(extent: int) -> float:
    """The published standard deviation in pixels for a receptive field of `extent` pixels."""
    return log10(0.45 * extent + 1) + 0.25 if extent < 32 else 10.0
