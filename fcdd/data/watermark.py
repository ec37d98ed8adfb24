"""A mark stamped into a corner of training images, to see whether the net looks at it
(Liznerski et al. 2021, section 4.3; docs/method.md section 10)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from fcdd.data.geometry import Size, size_of
from fcdd.parts import Watermark

# Letters of 7 rows of 5 pixels; "FCDD" stands in two lines.
_LETTERS = {
    "F": ("#####", "#....", "#....", "####.", "#....", "#....", "#...."),
    "C": (".###.", "#...#", "#....", "#....", "#....", "#...#", ".###."),
    "D": ("####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."),
}
_LINES = ("FC", "DD")
_TEXT_PX = (17, 13)  # two lines of two letters, with a pixel around each


def pattern(watermark: Watermark) -> Tensor:
    """bool [side, side], True = white, False = black: a mark that is seen on any ground.

    square: white with a black frame. cross: a white diagonal cross on black. text: "FC" over "DD",
    white on black. Raises ValueError without kind or side, and for text below 17 px.
    """
    side = watermark.side_px
    if side is None:
        raise ValueError("watermark.side_px is not given; set it to the mark's side in pixels")
    places = torch.arange(side)
    match watermark.kind:
        case "square":
            edge = torch.minimum(places, places.flip(0))
            return torch.minimum(edge[:, None], edge[None, :]) >= max(1, side // 8)
        case "cross":
            half_px = max(1, side // 8)
            steps = places[:, None] - places[None, :]
            other = places[:, None] + places[None, :] - (side - 1)
            return torch.minimum(steps.abs(), other.abs()) < half_px
        case "text":
            return _text(side)
        case "none":
            raise ValueError("watermark.kind is 'none'; there is no mark to draw")


def _text(side: int) -> Tensor:
    if side < max(_TEXT_PX):
        raise ValueError(
            f"watermark.side_px {side} is too small for text; use at least {max(_TEXT_PX)}, or a "
            "square or cross"
        )
    lines = [torch.cat([_letter(letter) for letter in line], dim=1) for line in _LINES]
    text = F.pad(torch.cat(lines, dim=0), (0, 1, 0, 1))  # [17, 13]
    scaled = F.interpolate(text[None, None], size=(side, side), mode="nearest-exact")
    return scaled[0, 0] > 0


def _letter(name: str) -> Tensor:
    """float32 [8, 6]: the letter with an empty pixel above and left of it."""
    rows = [[float(pixel == "#") for pixel in row] for row in _LETTERS[name]]
    return F.pad(torch.tensor(rows), (1, 0, 1, 0))


def corner(watermark: Watermark, size: Size) -> tuple[int, int]:
    """Row and column of the mark's upper left pixel in images of `size`: one pixel of every 32 away
    from the border. Raises ValueError for a mark that does not fit."""
    side = watermark.side_px or 0
    top, left = (length // 32 for length in size)
    if side + top > size[0] or side + left > size[1]:
        raise ValueError(
            f"watermark.side_px {side} does not fit into images of {size[0]}x{size[1]}; lower it"
        )
    if watermark.corner.startswith("bottom"):
        top = size[0] - side - top
    if watermark.corner.endswith("right"):
        left = size[1] - side - left
    return top, left


def mark_region(watermark: Watermark, size: Size) -> Tensor:
    """bool [h, w]: the pixels of images of `size` that the mark covers, its black ones included."""
    region = torch.zeros(size, dtype=torch.bool)
    if watermark.kind != "none" and watermark.side_px is not None:
        top, left = corner(watermark, size)
        region[top : top + watermark.side_px, left : left + watermark.side_px] = True
    return region


def stamp(images: Tensor, watermark: Watermark, *, chosen: Tensor) -> Tensor:
    """Images [b, c, h, w] with the mark on the chosen ones (bool [b]), on their device.

    White is 255 in uint8 images, 1 in those of floats.
    """
    white = 1.0 if images.is_floating_point() else 255
    mark = (pattern(watermark).to(images.dtype) * white).to(images.device, non_blocking=True)
    top, left = corner(watermark, size_of(images))
    side = mark.shape[0]
    out = images.clone()
    under = out[:, :, top : top + side, left : left + side]
    under.copy_(torch.where(chosen[:, None, None, None], mark, under))
    return out


@dataclass(frozen=True)
class Mark:
    """A watermark, and which images of a batch carry it (bool [b])."""

    watermark: Watermark
    chosen: Tensor


def marked(images: Tensor, mark: Mark | None) -> Tensor:
    """`images` [b, c, h, w] with the mark on those that carry it; None marks nothing."""
    return images if mark is None else stamp(images, mark.watermark, chosen=mark.chosen)


def carriers(count: int, fraction: float, *, stream: torch.Generator) -> Tensor:
    """bool [count]: which of `count` images carry the mark; a share of `fraction`, at least one."""
    chosen = torch.zeros(count, dtype=torch.bool)
    order = torch.randperm(count, generator=stream)
    chosen[order[: max(1, math.floor(fraction * count + 0.5))]] = True
    return chosen
