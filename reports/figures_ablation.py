"""Figures of ablations: a metric against one field of the Run, and the gain it brings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import plots
from reports.ablation import Curve
from reports.ablation_sheet import grouped
from reports.files import file_name
from reports.methods import DATA_NAMES
from reports.plots import Drawn
from reports.rows import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAPS = "supervision.maps_per_defect"
_COLUMNS = 5
_WIDE = 40  # ratio of the axis's ends from which it is logarithmic


def write(curves: Sequence[Curve], out: Path) -> list[Drawn]:
    """Draws curves of the same data set, field and metric into one figure over all classes and,
    where there are several classes, one with a panel per class."""
    drawn = []
    for members in grouped(curves):
        data, field, metric = members[0].data, members[0].field, members[0].metric
        swept = "receptive_field" if field == "net.name" else field.rpartition(".")[2]
        stem = f"{file_name(data)}_{swept}_{metric}"
        title = DATA_NAMES.get(data, data)
        text = caption(title, members)
        drawn.append(plots.save(draw(members), out / stem, caption=text))
        if len(members[0].per_class) > 1:
            text = (
                f"{METRICS[metric]} on {title} against {members[0].label}, per nominal class: "
                "means over seeds."
            )
            figure = draw_classes(members)
            drawn.append(plots.save(figure, out / f"{stem}_classes", caption=text))
    return drawn


def caption(title: str, curves: Sequence[Curve]) -> str:
    """What the figure of `curves` shows, on the data set called `title`."""
    first = curves[0]
    seeds = sorted({count for curve in curves for count in curve.n})
    counts = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    parts = [
        f"{METRICS[first.metric]} on {title} against {first.label}: mean over classes and "
        f"{plots.counted(counts, 'seed')}; bands are 95 % intervals, thin lines single classes"
    ]
    if _has_gain(curves):
        parts.append(
            f"gain: paired difference to {first.x_names[0]}, the same classes and seeds, in points"
        )
    if first.field == _MAPS and _has_gain(curves):
        parts.append("last: the same divided by the number of added maps per defect type")
    if any(curve.published for curve in curves):
        parts.append("crosses: the paper's values")
    return "; ".join(parts) + "."


def _has_gain(curves: Sequence[Curve]) -> bool:
    return any(value is not None for curve in curves for value in curve.gain)


def draw(curves: Sequence[Curve]) -> "Figure":
    """The metric, the gain over the first point, and for annotated maps the gain per map."""
    gain = _has_gain(curves)
    per_map = gain and curves[0].field == _MAPS
    figure, axes = plots.panels(
        1 + gain + per_map,
        columns=1 + gain + per_map,
        width=plots.TEXT_WIDTH if gain else plots.TEXT_WIDTH / 2,
        panel_height=1.6,
        left=0.5,
        top=plots.top(len(curves), title=False),
        gaps=(0.5, 0.3),
        sharex=False,
        sharey=False,
    )
    for place, curve in enumerate(curves):
        _draw_classes_thinly(axes[0], curve, plots.look(place)["color"])
        bounds = [_numbers(b) for b in (curve.mean, curve.low, curve.high)]
        _draw_line(axes[0], curve, bounds, place, scale=1.0)
        if curve.published:
            xs, ys = zip(*sorted(curve.published.items()), strict=True)
            axes[0].plot(xs, ys, "x", color=plots.look(place)["color"], markersize=5, zorder=4)
    axes[0].set_ylabel(METRICS[curves[0].metric])
    if gain:
        axes[1].axhline(0, color="#999999", linewidth=0.6)
        for place, curve in enumerate(curves):
            bounds = [_numbers(b) for b in (curve.gain, curve.gain_low, curve.gain_high)]
            _draw_line(axes[1], curve, bounds, place, scale=100.0)
            if per_map:
                maps = np.array(curve.x) - curve.x[0]
                each = [b / np.where(maps > 0, maps, np.nan) for b in bounds]
                _draw_line(axes[2], curve, each, place, scale=100.0)
        axes[1].set_ylabel("Gain (points)")
    if per_map:
        axes[2].axhline(0, color="#999999", linewidth=0.6)
        axes[2].set_ylabel("Gain per map (points)")
    for ax in axes:
        _ticks(ax, curves, ax.get_position().width * figure.get_figwidth())
    plots.axis_names(figure, _sentence(curves[0].label), "")
    plots.legend(figure, [(c.name, _line_look(place)) for place, c in enumerate(curves)])
    return figure


def _line_look(place: int) -> dict[str, Any]:
    return plots.look(place) | {"marker": plots.marker(place), "markersize": 3.5}


def _draw_line(
    ax: "Axes", curve: Curve, bounds: Sequence[np.ndarray], place: int, *, scale: float
) -> None:
    """The line of (mean, low, high) in units of 1 / scale, with the band where it is known."""
    mean, low, high = (scale * values for values in bounds)
    known = np.isfinite(mean)
    x = np.array(curve.x)
    look = _line_look(place)
    ax.plot(x[known], mean[known], markeredgewidth=0, zorder=3, **look)
    banded = np.isfinite(low) & np.isfinite(high)
    if banded.any():
        ax.fill_between(
            x, low, high, where=banded.tolist(), color=look["color"], alpha=0.18, linewidth=0
        )


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _draw_classes_thinly(ax: "Axes", curve: Curve, colour: str) -> None:
    """Every class as a thin line, with seaborn, which draws one per unit."""
    import pandas as pd
    import seaborn

    if len(curve.per_class) < 2:
        return
    frame = pd.DataFrame(
        [
            (name, x, value)
            for name, values in curve.per_class.items()
            for x, value in zip(curve.x, values, strict=True)
            if value is not None
        ],
        columns=["class", "x", "value"],
    )
    seaborn.lineplot(
        frame,
        x="x",
        y="value",
        units="class",
        estimator=None,
        color=colour,
        linewidth=0.4,
        alpha=0.45,
        ax=ax,
        legend=False,
    )
    ax.set(xlabel="", ylabel="")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ticks(ax: "Axes", curves: Sequence[Curve], inches: float) -> None:
    """A tick at every value, as it is written; logarithmic where the values span decades; names
    that would overlap are left out."""
    names = {x: name for c in curves for x, name in zip(c.x, c.x_names, strict=True)}
    places = sorted(names)
    wide = places[0] > 0 and places[-1] / places[0] > _WIDE
    if wide:
        ax.set_xscale("log", base=2)
        ax.minorticks_off()
    scaled = np.log(places) if wide else np.array(places)
    span = max(float(scaled[-1] - scaled[0]), 1e-9)
    written: list[str] = []
    reached = -1.0
    for place, name in zip((scaled - scaled[0]) / span, (names[x] for x in places), strict=True):
        half = (0.028 * len(name) + 0.02) / inches
        written.append(name if place - half > reached else "")
        reached = place + half if written[-1] else reached
    ax.set_xticks(places)
    ax.set_xticklabels(written)


def draw_classes(curves: Sequence[Curve]) -> "Figure":
    """A panel per class, a line per method."""
    classes = list(dict.fromkeys(name for curve in curves for name in curve.per_class))
    columns = min(_COLUMNS, -(-len(classes) // -(-len(classes) // _COLUMNS)))
    figure, axes = plots.panels(
        len(classes), columns=columns, top=plots.top(len(curves), title=True), panel_height=0.8
    )
    for name, ax in zip(classes, axes, strict=True):
        for place, curve in enumerate(curves):
            values = _numbers(curve.per_class.get(name, (None,) * len(curve.x)))
            known = np.isfinite(values)
            look = _line_look(place) | {"markersize": 2.5, "markeredgewidth": 0}
            ax.plot(np.array(curve.x)[known], values[known], **look)
        ax.set_title(plots.shortened(name), pad=2.5)
    _ticks(axes[0], curves, axes[0].get_position().width * figure.get_figwidth())
    plots.axis_names(figure, _sentence(curves[0].label), METRICS[curves[0].metric])
    plots.legend(figure, [(c.name, _line_look(place)) for place, c in enumerate(curves)])
    return figure
