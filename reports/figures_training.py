"""Figures of training: loss and test AUROC by epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reports import plots
from reports.curves import band
from reports.evidence import Epochs, Evidence
from reports.figures_curves import PER_FIGURE, draw_band, over_seeds, spread
from reports.figures_groups import DataSet, Method, Row
from reports.plots import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def write(data: DataSet, evidence: Evidence, out: Path) -> list[Drawn]:
    """Draws the training of the methods of one data set; more methods than can be told apart go to
    further figures. Methods without curves, or that never trained, are left out."""
    trained = [m for m in data.methods if all(_trained(row, evidence) for row in m.rows)]
    drawn = []
    for part, start in enumerate(range(0, len(trained), PER_FIGURE)):
        methods = trained[start : start + PER_FIGURE]
        suffix = f"-{part + 1}" if len(trained) > PER_FIGURE else ""
        caption = (
            f"Training on {data.title}: loss and, where it was recorded, test AUROC by epoch, "
            f"mean over classes, {over_seeds(methods)}{spread(methods)}."
        )
        figure = training(data, methods, evidence)
        stem = out / f"{data.name}{suffix}_training"
        drawn.append(plots.save(figure, stem, caption=caption))
    return drawn


def _trained(row: Row, evidence: Evidence) -> bool:
    return row["key"] in evidence.epochs and len(evidence.epochs[row["key"]].epoch) > 0


def training(data: DataSet, methods: Sequence[Method], evidence: Evidence) -> "Figure":
    """Training loss and, where it was recorded, test AUROC per epoch: the mean over classes, with
    its spread over seeds; for a single method each class thinly as well."""
    runs = [evidence.epochs[row["key"]] for method in methods for row in method.rows]
    recorded = any(np.isfinite(run.auroc).any() for run in runs)
    figure, axes = plots.panels(
        1 + recorded,
        columns=2,
        panel_height=1.5,
        left=0.5,
        top=plots.top(len(methods), title=False),
        gaps=(0.55, 0.3),
        sharex=False,
        sharey=False,
    )
    for ax, field in zip(axes, ("loss", "auroc"), strict=False):
        for place, method in enumerate(methods):
            _draw(ax, data, method, evidence, field=field, look=plots.look(place))
            if len(methods) == 1 and len(data.classes) > 1:
                _draw_classes(ax, data, method, evidence, field=field)
    axes[0].set(ylabel="Training loss", xlabel="Epoch")
    if min(float(run.loss.min()) for run in runs) > 0:
        plots.logarithmic(axes[0], "y")
    if recorded:
        axes[1].set(ylabel="Test AUROC", xlabel="Epoch")
    plots.legend(figure, [(method.label, plots.look(i)) for i, method in enumerate(methods)])
    return figure


def _draw(
    ax: "Axes",
    data: DataSet,
    method: Method,
    evidence: Evidence,
    *,
    field: str,
    look: dict[str, Any],
) -> None:
    numbers = [number for number, _ in data.classes]
    seeds = [_mean(rows, evidence, field) for rows in method.complete_seeds(numbers)]
    epochs = _common(method, evidence)
    present = np.isfinite(getattr(epochs, field))
    if seeds and present.any():
        curves = [values[present] for values in seeds]
        draw_band(ax, band(curves, epochs.epoch[present], limits=(-np.inf, np.inf)), look)


def _draw_classes(
    ax: "Axes", data: DataSet, method: Method, evidence: Evidence, *, field: str
) -> None:
    epochs = _common(method, evidence)
    present = np.isfinite(getattr(epochs, field))
    for number, _ in data.classes:
        rows = method.of_class(number)
        if rows and present.any():
            mean = _mean(rows, evidence, field)[present]
            ax.plot(epochs.epoch[present], mean, color="#888888", linewidth=0.4, zorder=1)


def _mean(rows: Sequence[Row], evidence: Evidence, field: str) -> np.ndarray:
    return np.mean([getattr(evidence.epochs[row["key"]], field) for row in rows], axis=0)


def _common(method: Method, evidence: Evidence) -> Epochs:
    """The first run's epochs, which all runs of a method share. Raises ValueError if not."""
    runs = {row["key"]: evidence.epochs[row["key"]] for row in method.rows}
    first_key, first = next(iter(runs.items()))
    for key, run in runs.items():
        if not np.array_equal(run.epoch, first.epoch):
            raise ValueError(
                f"curves/{key}.parquet has other epochs than {first_key}, a run of the same "
                "setting; delete it with its file in rows/ and run the same command again"
            )
    return first
