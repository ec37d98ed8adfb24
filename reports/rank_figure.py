"""The critical-difference diagram (Demšar 2006, Figure 1): methods on an axis of average ranks,
joined where the data do not tell them apart."""

from pathlib import Path
from typing import TYPE_CHECKING

from reports import plots
from reports.plots import Drawn
from reports.ranks import Ranks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE = 0.16  # inches between names
_BAR = 0.07  # inches between bars


def write(ranks: Ranks, stem: Path, *, caption: str) -> Drawn:
    """Draws STEM.pdf and STEM.png; call inside `plots.style()`."""
    return plots.save(draw(ranks), stem, caption=caption)


def draw(ranks: Ranks) -> "Figure":
    """Best methods on the left, their names on both sides; the bar at the top left is the critical
    difference, bars below the axis join methods within it."""
    k = len(ranks.methods)
    half = (k + 1) // 2
    bars = 0.12 + _BAR * len(ranks.groups)
    height = 0.5 + bars + _LINE * half + 0.08
    figure = plots.blank(plots.TEXT_WIDTH, height)
    names = [f"{plots.shortened(name, 30)} {rank:.2f}" for name, rank in _ranked(ranks)]
    margin = 0.055 * max(map(len, names)) + 0.2
    left, right = margin, plots.TEXT_WIDTH - margin
    axis = height - 0.5
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, plots.TEXT_WIDTH), ylim=(0, height))
    ax.axis("off")

    def x(rank: float) -> float:
        return left + (rank - 1) / (k - 1) * (right - left)

    ax.plot([left, right], [axis, axis], color="black", linewidth=0.8)
    for rank in range(1, k + 1):
        ax.plot([x(rank)] * 2, [axis, axis + 0.06], color="black", linewidth=0.8)
        ax.text(x(rank), axis + 0.09, str(rank), ha="center", va="bottom", fontsize=7)
    width = min(x(1 + ranks.critical_difference) - left, right - left)
    top = height - 0.12
    ax.plot([left, left + width], [top, top], color="black", linewidth=0.8)
    for end in (left, left + width):
        ax.plot([end, end], [top - 0.03, top + 0.03], color="black", linewidth=0.8)
    label = f"CD = {ranks.critical_difference:.2f}"
    ax.text(left + width + 0.06, top, label, ha="left", va="center", fontsize=7)
    for number, group in enumerate(ranks.groups):
        ends = [x(ranks.ranks[ranks.methods.index(name)]) for name in (group[0], group[-1])]
        level = axis - 0.1 - _BAR * number
        ax.plot([ends[0] - 0.03, ends[1] + 0.03], [level, level], color="black", linewidth=2.4)
    for place, (_, rank) in enumerate(_ranked(ranks)):
        on_left = place < half
        row = place if on_left else k - 1 - place
        level = axis - bars - _LINE * (row + 0.5)
        end = left - 0.08 if on_left else right + 0.08
        ax.plot([x(rank), x(rank), end], [axis, level, level], color="#666666", linewidth=0.6)
        side = "right" if on_left else "left"
        at = end + (-0.04 if on_left else 0.04)
        ax.text(at, level, names[place], ha=side, va="center", fontsize=7)
    return figure


def _ranked(ranks: Ranks) -> list[tuple[str, float]]:
    return list(zip(ranks.methods, ranks.ranks, strict=True))
