"""Lines of pictures below each other, named on the left, in named groups: the layout of panels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reports import panels, plots
from reports.plots import Book, Drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.image import BboxImage

_LEFT = 0.86  # inches for the names of the lines
_ABOVE = 0.2  # inches for the names of the groups
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


@dataclass(frozen=True)
class _Frame:
    """A figure whose picture is exchanged, and its names alone as pixels uint8 [h, w, 3]."""

    figure: "Figure"
    picture: "BboxImage"
    names: np.ndarray


class Frames:
    """Draws panels. Those with the same names share a figure: letters are drawn once, which is two
    thirds of a panel's time."""

    def __init__(self) -> None:
        self._frames: dict[tuple, _Frame] = {}

    def save(
        self,
        lines: Sequence[Line],
        stem: Path,
        *,
        groups: Sequence[tuple[str, int]],
        caption: str,
        book: Book | None = None,
    ) -> Drawn:
        """Writes STEM.png, and STEM.pdf or a page of `book`: the lines below each other, named on
        the left; `groups` are headings and numbers of tiles. Call inside `plots.style()`."""
        composed = compose(lines, sizes=[size for _, size in groups])
        names = tuple(line.name for line in lines)
        key = (names, tuple(groups), composed.pixels.shape)
        if key not in self._frames:
            self._frames[key] = _frame(names, [name for name, _ in groups], composed)
        frame = self._frames[key]
        frame.picture.set_data(composed.pixels)
        png = stem.with_name(f"{stem.name}.png")
        plots.save_pixels(_inserted(frame.names, composed.pixels), png)
        return plots.save_pdf(frame.figure, stem, png, caption=caption, book=book)


def _frame(names: Sequence[str], headings: Sequence[str], composed: Composed) -> _Frame:
    from matplotlib.image import BboxImage
    from matplotlib.transforms import Bbox, TransformedBbox

    width = plots.TEXT_WIDTH - _LEFT
    height = width * composed.pixels.shape[0] / composed.pixels.shape[1]
    total = height + _ABOVE
    figure = plots.blank(plots.TEXT_WIDTH, total)
    for name, centre in zip(names, composed.centres, strict=True):
        figure.text(
            (_LEFT - 0.06) / plots.TEXT_WIDTH,
            (1 - centre) * height / total,
            name.replace(", ", "\n"),
            ha="right",
            va="center",
            linespacing=0.95,
        )
    for name, (left, right) in zip(headings, composed.spans, strict=True):
        x = (_LEFT + (left + right) / 2 * width) / plots.TEXT_WIDTH
        short = name if 0.06 * len(name) < (right - left) * width else name.partition(":")[0]
        figure.text(x, (height + 0.05) / total, short, ha="center", va="bottom")
    drawn = plots.pixels(figure)
    place = Bbox.from_bounds(_LEFT / plots.TEXT_WIDTH, 0, width / plots.TEXT_WIDTH, height / total)
    picture = BboxImage(TransformedBbox(place, figure.transFigure), interpolation="nearest")
    figure.add_artist(picture)
    return _Frame(figure, picture, drawn)


def _inserted(names: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """`names` with `picture` at its place, the lower right corner, by the nearest pixel."""
    left = round(_LEFT * plots.PNG_DPI)
    w = names.shape[1] - left
    h = min(names.shape[0], round(w * picture.shape[0] / picture.shape[1]))
    rows = ((np.arange(h) + 0.5) * picture.shape[0] / h).astype(np.int64)
    columns = ((np.arange(w) + 0.5) * picture.shape[1] / w).astype(np.int64)
    whole = names.copy()
    whole[-h:, left:] = picture[rows][:, columns]
    return whole
