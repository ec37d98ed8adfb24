"""From anomaly maps to heatmaps: Gaussian upsampling, blur, and the scales of pictures.

Liznerski et al. 2021, section 3 and Algorithm 1; docs/method.md sections 3 and 7. The published
transposed convolution with a separable Gaussian, cropped to the image, is written as two matrix
products `rows @ A @ columns.T`: the same numbers, for any image size and without output padding.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

from fcdd.catalog import Protocol
from fcdd.receptive import Axis, default_gauss_std


@dataclass(frozen=True)
class Spread:
    """A linear map of [b, 1, u, v] to [b, 1, h, w], one matrix per axis. Differentiable.

    Built once for many batches: it stays on its device.
    """

    rows: Tensor  # [h, u]
    columns: Tensor  # [w, v]
    gain: Tensor | None = None  # [h, w], what a map of ones gives; divided by

    def __call__(self, maps: Tensor) -> Tensor:
        """`maps` [b, 1, u, v] spread to [b, 1, h, w]."""
        spread = self.rows @ maps @ self.columns.T
        return spread if self.gain is None else spread / self.gain


def gaussian_kernel(extent: int, std: float) -> Tensor:
    """The published kernel along one axis, float64 [extent], not normalised: peak 1 for an odd
    extent; for an even one the peak stands twice and all is halved."""
    odd = extent if extent % 2 else extent - 1
    offsets = torch.arange(odd, dtype=torch.float64) - odd // 2
    kernel = torch.exp(-offsets.square() / (2 * std**2))
    if extent % 2:
        return kernel
    centre = odd // 2
    return torch.cat([kernel[: centre + 1], kernel[centre:]]) / 2


def upsampling_matrix(axis: Axis, size: int, std: float | None) -> Tensor:
    """float64 [size, num_cells]: column i holds the Gaussian of cell i, whose peak lies on pixel
    i * jump + int(shift) (and the next one, for an even extent)."""
    kernel = gaussian_kernel(axis.extent, std or default_gauss_std(axis.extent))
    first = torch.arange(axis.num_cells) * axis.jump + int(axis.shift) - (axis.extent - 1) // 2
    tap = torch.arange(size)[:, None] - first[None, :]  # [size, num_cells]
    inside = (tap >= 0) & (tap < axis.extent)
    return torch.where(inside, kernel[tap.clamp(0, axis.extent - 1)], 0.0)


def gaussian_upsampling(
    axes: tuple[Axis, Axis],
    *,
    size: tuple[int, int],
    std: float | None,
    upsampling: Protocol,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Spread:
    """The upsampling of anomaly maps to heatmaps of `size`. `axes` and `size` are (height, width).

    "published": a plain sum of Gaussians, which scales a constant map by about (kernel sum /
    jump^2) and dims the borders. "mended": divided by what a map of ones would give, so a constant
    map stays what it is up to the border. `std` None follows the receptive field.
    """
    rows, columns = (
        upsampling_matrix(axis, pixels, std).to(device, dtype)
        for axis, pixels in zip(axes, size, strict=True)
    )
    gain = rows.sum(1)[:, None] * columns.sum(1)[None, :] if upsampling == "mended" else None
    return Spread(rows, columns, gain)


def upsample(
    maps: Tensor,
    axes: tuple[Axis, Axis],
    *,
    size: tuple[int, int],
    std: float | None,
    upsampling: Protocol = "mended",
) -> Tensor:
    """Heatmaps [b, 1, h, w] of anomaly maps [b, 1, u, v]; see `gaussian_upsampling`."""
    return gaussian_upsampling(
        axes, size=size, std=std, upsampling=upsampling, device=maps.device, dtype=maps.dtype
    )(maps)


def blur_matrix(extent: int, size: int, std: float) -> Tensor:
    """float64 [size, size]: the normalised Gaussian of `extent` pixels (less 1 where even), with
    the image reflected at its border without repeating the border pixel.

    Raises ValueError for an image too small to be reflected by half the kernel.
    """
    half = (extent - 1) // 2  # of 2 * half + 1 pixels
    if half >= size:
        raise ValueError(
            f"a blur of {2 * half + 1} pixels does not fit an image of {size}; "
            "use heatmaps.blur='none'"
        )
    kernel = gaussian_kernel(2 * half + 1, std)
    source = (torch.arange(size)[:, None] + torch.arange(-half, half + 1)[None, :]).abs()
    source = torch.where(source >= size, 2 * (size - 1) - source, source)  # [size, extent]
    taps = (kernel / kernel.sum()).expand(size, -1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add(1, source, taps)


def gaussian_blur(
    axes: tuple[Axis, Axis],
    *,
    size: tuple[int, int],
    std: float | None,
    device: torch.device | str = "cpu",
) -> Spread:
    """The smoothing of heatmaps that already have the image's `size`, by the Gaussian of the
    receptive field `axes` (height, width); docs/method.md section 3, "Baselines"."""
    rows, columns = (
        blur_matrix(axis.extent, pixels, std or default_gauss_std(axis.extent))
        for axis, pixels in zip(axes, size, strict=True)
    )
    return Spread(rows.to(device, torch.float32), columns.to(device, torch.float32))


def normalise(
    maps: Tensor,
    *,
    how: Literal["local", "global", "semi_global"],
    quantile: float,
    reference: Tensor | None = None,
) -> Tensor:
    """`maps` [k, ...] scaled to [0, 1] for pictures: (map - low) / (high - low), clamped.

    `low` is the smallest and `high` the k-th smallest value, k = int(quantile * number) as
    published (docs/method.md section 7), of each map ("local"), of all `maps` ("semi_global") or
    of `reference`, all test heatmaps at the resolution of `maps` ("global"). Where high = low,
    values above become 1 and all others 0, so a constant map becomes 0. Raises ValueError for a
    reference that is missing or would not be used.
    """
    if (how == "global") != (reference is not None):
        raise ValueError(
            f"normalisation {how!r} {'needs' if how == 'global' else 'takes no'} reference: only "
            "'global' goes by all test heatmaps"
        )
    match how:
        case "local":
            values = maps.flatten(1)
        case "semi_global" | "global":
            values = (maps if reference is None else reference).reshape(1, -1)
        case unknown:
            assert_never(unknown)
    shape = (-1,) + (1,) * (maps.dim() - 1)
    low = values.amin(1).view(shape)
    span = kth_smallest(values, quantile).view(shape) - low
    above = maps - low
    scaled = above / torch.where(span > 0, span, torch.ones_like(span))
    return torch.where(span > 0, scaled, (above > 0).to(maps.dtype)).clamp(0, 1)


def kth_smallest(values: Tensor, quantile: float) -> Tensor:
    """Of each row of `values` [k, n], the int(quantile * n)-th smallest, and at least the first.

    Raises ValueError for a quantile outside of (0, 1].
    """
    return values.kthvalue(kth(quantile, values.shape[1]), dim=1).values


def kth(quantile: float, num: int) -> int:
    """Which of `num` values in rising order, counted from 1, stands for `quantile`.

    Raises ValueError for a quantile outside of (0, 1].
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile {quantile} must lie above 0 and at most at 1, such as 0.97")
    return max(int(quantile * num), 1)
