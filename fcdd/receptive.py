"""Receptive-field arithmetic along one image axis (docs/method.md section 2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log10


@dataclass(frozen=True)
class Layer:
    """A convolution or pooling along one axis. `ceil`: a last, partial window counts."""

    kernel: int
    stride: int
    padding: int
    dilation: int = 1
    ceil: bool = False


@dataclass(frozen=True)
class Axis:
    """What the cells of a feature map see along one image axis, in pixels.

    `num_cells` cells, `jump` apart, each seeing `extent`; the first is centred at `shift` (from 0).
    """

    num_cells: int
    jump: int
    extent: int
    shift: float


def pixels(size: int) -> Axis:
    """The image itself: `size` cells that see one pixel each."""
    return Axis(num_cells=size, jump=1, extent=1, shift=0.0)


def advance(axis: Axis, layer: Layer) -> Axis:
    """What the cells after `layer` see. The published arithmetic knows no dilation; it is counted
    here: a kernel reaches over dilation * (kernel - 1) + 1 cells.

    Raises ValueError when the layer leaves no cell.
    """
    reach = layer.dilation * (layer.kernel - 1)
    last = axis.num_cells + 2 * layer.padding - reach - 1  # where the last window may start
    cells = last // layer.stride + 1
    # PyTorch: a partial window counts only when it starts inside the map or its left padding
    if layer.ceil and last % layer.stride and cells * layer.stride < axis.num_cells + layer.padding:
        cells += 1
    if cells < 1:
        raise ValueError(
            f"the images are too small for this net: of {axis.num_cells} cells a kernel over "
            f"{reach + 1} leaves no cell; set a larger data.size or take an earlier layer"
        )
    return Axis(
        num_cells=cells,
        jump=axis.jump * layer.stride,
        extent=axis.extent + reach * axis.jump,
        shift=axis.shift + (reach / 2 - layer.padding) * axis.jump,
    )


def join(axes: Sequence[Axis]) -> Axis:
    """What cells see that add or stack cells of several maps: everything that one of them sees.

    Raises ValueError for maps whose cells do not lie on one grid.
    """
    first = axes[0]
    for axis in axes[1:]:
        if (axis.num_cells, axis.jump) != (first.num_cells, first.jump):
            raise ValueError(
                f"it joins {first.num_cells} cells of {first.jump} pixels with {axis.num_cells} "
                f"cells of {axis.jump} pixels, so a cell has no single place in the image"
            )
    start = min(axis.shift - (axis.extent - 1) / 2 for axis in axes)
    stop = max(axis.shift + (axis.extent - 1) / 2 for axis in axes)
    return Axis(first.num_cells, first.jump, round(stop - start) + 1, (start + stop) / 2)


def receptive_axis(size: int, layers: Iterable[Layer]) -> Axis:
    """The receptive field of the last of `layers`, applied in order to `size` pixels.

    Raises ValueError when a layer leaves no cell.
    """
    axis = pixels(size)
    for layer in layers:
        axis = advance(axis, layer)
    return axis


def default_gauss_std(extent: int) -> float:
    """The published standard deviation in pixels for a receptive field of `extent` pixels."""
    return log10(0.45 * extent + 1) + 0.25 if extent < 32 else 10.0
