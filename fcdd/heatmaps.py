"""Upsampling of anomaly maps to heatmaps with a Gaussian per receptive field.

Liznerski et al. 2021, section 3 and Algorithm 1; docs/method.md section 3. The published transposed
convolution with a separable Gaussian, cropped to the image, is written as two matrix products
`rows @ A @ columns.T`: the same numbers, for any image size and without output padding.
"""

import torch
from torch import Tensor

from fcdd.catalog import Protocol
from fcdd.receptive import Axis, default_gauss_std


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


def upsample(
    maps: Tensor,
    axes: tuple[Axis, Axis],
    *,
    size: tuple[int, int],
    std: float | None,
    upsampling: Protocol = "mended",
) -> Tensor:
    """Heatmaps [b, 1, h, w] of anomaly maps [b, 1, u, v], differentiable, on their device.

    `axes` and `size` are (height, width). "published": a plain sum of Gaussians, which scales a
    constant map by about (kernel sum / jump^2) and dims the borders. "mended": divided by what a
    map of ones would give, so a constant map stays what it is up to the border.
    """
    rows, columns = (
        upsampling_matrix(axis, pixels, std).to(maps)
        for axis, pixels in zip(axes, size, strict=True)
    )
    heatmaps = rows @ maps @ columns.T
    if upsampling == "mended":
        heatmaps = heatmaps / (rows.sum(1)[:, None] * columns.sum(1)[None, :])
    return heatmaps
