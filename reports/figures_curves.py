"""Figures of curves: ROC and precision-recall per class, score histograms, training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import plots
from reports.curves import Band, band
from reports.evidence import Evidence, Scores
from reports.figures_groups import DataSet, Method
from reports.plots import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 6  # panels beside each other, at most
PER_FIGURE = 6  # methods whose lines are still told apart


def write(data: DataSet, evidence: Evidence, out: Path) -> list[Drawn]:
    """Draws what `evidence` has for the methods of one data set. More methods than can be told
    apart go to further figures; a method without files is left out of all of them."""
    drawn = []
    for part, start in enumerate(range(0, len(data.methods), PER_FIGURE)):
        methods = data.methods[start : start + PER_FIGURE]
        stem = data.name + (f"-{part + 1}" if len(data.methods) > PER_FIGURE else "")
        scored = [m for m in methods if all(r["key"] in evidence.scores for r in m.rows)]
        if scored:
            for kind in ("roc", "precision"):
                figure = rates(data, scored, evidence, kind=kind)
                caption = _rates_caption(data, scored, kind)
                drawn.append(plots.save(figure, out / f"{stem}_{kind}", caption=caption))
            figure = histograms(data, scored, evidence)
            caption = (
                f"Scores of the test images of {data.title}: shares of nominal and anomalous "
                f"images per bin, {over_seeds(scored)}, each line scaled to its highest bin."
            )
            drawn.append(plots.save(figure, out / f"{stem}_scores", caption=caption))
    return drawn


def _rates_caption(data: DataSet, methods: Sequence[Method], kind: str) -> str:
    name = "ROC curves" if kind == "roc" else "Precision and recall"
    line = "chance" if kind == "roc" else "the share of anomalies"
    return (
        f"{name} on {data.title} per nominal class, averaged vertically {over_seeds(methods)}"
        f"{spread(methods)}. The thin line is {line}."
    )


def over_seeds(methods: Sequence[Method]) -> str:
    """How many seeds are averaged, for a caption."""
    counts = sorted({len({row["seed"] for row in method.rows}) for method in methods})
    between = " to ".join({str(counts[0]): 0, str(counts[-1]): 0})
    return f"over {plots.counted(between, 'seed')}"


def spread(methods: Sequence[Method]) -> str:
    """What the bands are, for a caption; empty where each method has one seed."""
    several = any(len({row["seed"] for row in method.rows}) > 1 for method in methods)
    return ", with bands of one sample standard deviation over seeds" if several else ""


def rates(data: DataSet, methods: Sequence[Method], evidence: Evidence, *, kind: str) -> "Figure":
    """ROC ("roc") or precision-recall curves ("precision"): a panel per class, and where there are
    several the mean over all classes, drawn for the seeds that have every class."""
    over_classes = len(data.classes) > 1
    count = len(data.classes) + over_classes
    figure, axes = plots.panels(
        count,
        columns=-(-count // -(-count // _COLUMNS)),
        top=plots.top(len(methods), title=True),
        panel_height=0.85,
    )
    for place, method in enumerate(methods):
        look = plots.look(place)
        for ax, (number, _) in zip(axes, data.classes, strict=False):
            curves = [getattr(evidence.scores[r["key"]], kind) for r in method.of_class(number)]
            if curves:
                draw_band(ax, band(curves), look)
        mean = mean_over_classes(data, method, evidence, kind=kind) if over_classes else None
        if mean is not None:
            draw_band(axes[-1], mean, look)
    titles = [name for _, name in data.classes] + ["class mean"] * over_classes
    if kind == "precision":
        for ax, (number, _) in zip(axes, data.classes, strict=False):
            ax.axhline(_anomalous_share(methods, number), color="#999999", linewidth=0.5, zorder=1)
    low = 0.0 if kind == "roc" else _lowest(axes)
    ticks = (low, (low + 1) / 2, 1.0)
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(plots.shortened(title), pad=2.5)
        ax.set(xlim=(0, 1), ylim=(low, 1 + 0.02 * (1 - low)), xticks=(0, 0.5, 1), yticks=ticks)
        ax.set_xticklabels(("0", "0.5", "1"))
        ax.set_yticklabels([f"{tick:g}" for tick in ticks])
        if kind == "roc":
            ax.plot((0, 1), (0, 1), color="#999999", linewidth=0.5, zorder=1)
    names = ("False alarm rate", "Detection rate") if kind == "roc" else ("Recall", "Precision")
    plots.axis_names(figure, *names)
    plots.legend(figure, [(method.label, plots.look(i)) for i, method in enumerate(methods)])
    return figure


def _lowest(axes: Sequence["Axes"]) -> float:
    """Where the axis of precision begins: the tenth below all that is drawn from a recall of 0.05
    on; before, one image decides."""
    lines = [np.asarray(line.get_xydata()) for ax in axes for line in ax.lines]
    values = [line[line[:, 0] >= 0.05, 1].min() for line in lines]
    return max(0.0, float(np.floor(10 * (min(values) - 0.02)) / 10))


def _anomalous_share(methods: Sequence[Method], number: int) -> float:
    row = next(row for method in methods for row in method.of_class(number))
    return row["num_test_anomalous"] / row["num_test"]


def mean_over_classes(
    data: DataSet, method: Method, evidence: Evidence, *, kind: str
) -> Band | None:
    """The band over seeds of the mean curve over all classes; None without a seed that has them
    all."""
    numbers = [number for number, _ in data.classes]
    means = [
        np.mean([getattr(evidence.scores[row["key"]], kind) for row in rows], axis=0)
        for rows in method.complete_seeds(numbers)
    ]
    return band(means) if means else None


def histograms(data: DataSet, methods: Sequence[Method], evidence: Evidence) -> "Figure":
    """Score histograms: a column per method, a line per class; the share of the nominal and of the
    anomalous images per bin, averaged over seeds and scaled to the line."""
    classes = data.classes
    figure, axes = plots.panels(
        len(methods),
        columns=len(methods),
        left=plots.margin([name for _, name in classes]),
        top=0.32 + 0.12 * (1 + max(method.label.count(", ") for method in methods)),
        bottom=0.4,
        panel_height=0.26 * len(classes) + 0.12,
        sharex=False,
    )
    for ax, method in zip(axes, methods, strict=True):
        lines = [plots.shortened(part) for part in method.label.split(", ")]
        ax.set_title("\n".join(lines), pad=2.5, linespacing=0.95)
        for line, (number, _) in enumerate(classes):
            runs = [evidence.scores[row["key"]] for row in method.of_class(number)]
            if runs:
                _ridge(ax, runs, baseline=len(classes) - 1 - line)
        ax.grid(visible=False)
        ax.spines["left"].set_visible(False)
        ax.set_ylim(-0.08, len(classes))
        ax.set_yticks([len(classes) - 1 - line for line in range(len(classes))])
        ax.set_yticklabels([plots.shortened(name) for _, name in classes], va="bottom")
        ax.tick_params(axis="y", length=0)
    plots.axis_names(figure, "Score (arbitrary unit)", "")
    handles = [
        ("nominal", {"color": plots.NOMINAL, "linewidth": 4}),
        ("anomalous", {"color": plots.ANOMALOUS, "linewidth": 1.2}),
    ]
    plots.legend(figure, handles)
    return figure


def _ridge(ax: "Axes", runs: Sequence[Scores], *, baseline: float) -> None:
    edges = runs[0].edges
    if runs[0].logarithmic:
        plots.logarithmic(ax, "x")
    nominal = np.mean([run.nominal for run in runs], axis=0)
    anomalous = np.mean([run.anomalous for run in runs], axis=0)
    scale = 0.85 / max(nominal.max(), anomalous.max())
    ax.stairs(baseline + scale * nominal, edges, baseline=baseline, fill=True, color=plots.NOMINAL)
    ax.stairs(
        baseline + scale * anomalous,
        edges,
        baseline=baseline,
        color=plots.ANOMALOUS,
        linewidth=0.9,
    )
    ax.axhline(baseline, color="#999999", linewidth=0.4)
    ax.set_xlim(edges[0], edges[-1])


def draw_band(ax: "Axes", curve: Band, look: dict[str, Any]) -> None:
    """Draws mean and, where there are several seeds, the band behind it."""
    if curve.lower is not None and curve.upper is not None:
        ax.fill_between(
            curve.x, curve.lower, curve.upper, color=look["color"], alpha=0.18, linewidth=0
        )
    ax.plot(curve.x, curve.mean, **look)
