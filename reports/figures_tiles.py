"""Lines of pictures below each other, named on the left, in named groups: the layout of panels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from reports import panels, plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEFT = 0.86  # inches for the names of the lines
_GAP, _GROUP_GAP = 0.03, 0.16  # share of a tile: between tiles, and between groups
_SMALLEST = 32  # pixels of a tile, so that gaps are seen


@dataclass(frozen=True)
class Line:
    """One line of pictures, uint8 [k, h, w, 3], and its name."""

    name: str
    tiles: np.ndarray


@dataclass(frozen=True)
class Composed:
    """One picture of all lines, uint8 [h, w, 3]; the centre of each line as a share of its height,
    and left and right end of each group as shares of its width."""

    pixels: np.ndarray
    centres: tuple[float, ...]
    spans: tuple[tuple[float, float], ...]


def compose(lines: Sequence[Line], *, sizes: Sequence[int]) -> Composed:
    """`lines` below each other, all tiles as high as the highest; `sizes` are the numbers of tiles
    of the groups."""
    side = max(max(line.tiles.shape[1] for line in lines), _SMALLEST)
    gap, group_gap = max(1, round(_GAP * side)), max(2, round(_GROUP_GAP * side))
    starts = [0, *accumulate(sizes)]
    resized = [panels.resize(line.tiles, side) for line in lines]
    strips = [
        panels.strip(tiles, gap=gap, groups=starts[1:], group_gap=group_gap) for tiles in resized
    ]
    height = len(strips) * side + (len(strips) - 1) * gap
    pixels = np.full((height, strips[0].shape[1], 3), 255, np.uint8)
    centres = []
    for place, one in enumerate(strips):
        top = place * (side + gap)
        pixels[top : top + side] = one
        centres.append((top + side / 2) / height)
    step, width = resized[0].shape[2] + gap, pixels.shape[1]
    spans = []
    left = 0
    for size in sizes:
        right = left + size * step - gap
        spans.append((left / width, right / width))
        left = right + group_gap
    return Composed(pixels, tuple(centres), tuple(spans))


def draw(lines: Sequence[Line], *, groups: Sequence[tuple[str, int]]) -> "Figure":
    """The lines below each other, named on the left; `groups` are headings and numbers of tiles."""
    composed = compose(lines, sizes=[size for _, size in groups])
    width = plots.TEXT_WIDTH - _LEFT
    height = width * composed.pixels.shape[0] / composed.pixels.shape[1]
    total = height + 0.2
    figure = plots.blank(plots.TEXT_WIDTH, total)
    ax = figure.add_axes((_LEFT / plots.TEXT_WIDTH, 0, width / plots.TEXT_WIDTH, height / total))
    ax.imshow(composed.pixels, aspect="auto")
    ax.set_axis_off()
    for line, centre in zip(lines, composed.centres, strict=True):
        figure.text(
            (_LEFT - 0.06) / plots.TEXT_WIDTH,
            (1 - centre) * height / total,
            line.name.replace(", ", "\n"),
            ha="right",
            va="center",
            linespacing=0.95,
        )
    for (name, _), (left, right) in zip(groups, composed.spans, strict=True):
        x = (_LEFT + (left + right) / 2 * width) / plots.TEXT_WIDTH
        room = (right - left) * width
        short = name if 0.06 * len(name) < room else name.partition(":")[0]
        figure.text(x, (height + 0.05) / total, short, ha="center", va="bottom")
    return figure
