"""Figure and numbers of how alike heatmaps are across seeds, and of their mass in the masks."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports import plots
from reports.figures_groups import DataSet
from reports.panels import Shown
from reports.plots import Drawn
from reports.stability import TOP, Stability, measure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHANCE = TOP / (2 - TOP)  # overlap of two random sets
_NAMES = {
    "overlap": f"Overlap of highest {100 * TOP:g} %",
    "rank_correlation": "Rank correlation",
    "mass": "Mass inside the mask",
}
_FIELDS = (
    *("num_images", "num_seeds", "num_constant", "overlap", "rank_correlation"),
    *("num_masks", "mass", "mask_share"),
)
LABELS = {0: "nominal", 1: "anomalous"}


@dataclass(frozen=True)
class Entry:
    """The stability of one method on one class, for the images of one label."""

    data: str
    class_name: str
    method: str
    stability: Stability


def entries(data: DataSet, number: int, runs: Mapping[str, Mapping[int, Shown]]) -> list[Entry]:
    """The entries of class `number`: per method (its runs by seed) and label, where it has images.
    Raises ValueError naming a method whose seeds do not fit each other."""
    class_name = dict(data.classes)[number]
    found = []
    for method, by_seed in runs.items():
        for label in LABELS:
            try:
                stability = measure(list(by_seed.values()), label=label)
            except ValueError as error:
                raise ValueError(f"{data.title}, class {class_name}, {method}: {error}") from None
            if stability.num_images:
                found.append(Entry(data.title, class_name, method, stability))
    return found


def comma_separated(found: Sequence[Entry]) -> str:
    """CSV in full precision, a line per data set, class, method and label."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "class", "method", "label", *_FIELDS])
    for entry in found:
        values = [getattr(entry.stability, field) for field in _FIELDS]
        writer.writerow(
            [
                *(entry.data, entry.class_name, entry.method, LABELS[entry.stability.label]),
                *("" if value is None else repr(value) for value in values),
            ]
        )
    return text.getvalue()


def write(data: DataSet, found: Sequence[Entry], out: Path) -> list[Drawn]:
    """Draws the entries of one data set for its anomalous images; nothing where no measure exists
    (one seed and no masks)."""
    anomalous = [entry for entry in found if entry.stability.label == 1]
    fields = [
        field
        for field in _NAMES
        if any(getattr(entry.stability, field) is not None for entry in anomalous)
    ]
    if not fields:
        return []
    images = max(entry.stability.num_images for entry in anomalous)
    seeds = max(entry.stability.num_seeds for entry in anomalous)
    caption = (
        f"Heatmaps of the same anomalous images of {data.title} ({images} per class) across "
        f"{plots.counted(seeds, 'seed')}: overlap (Jaccard index) of the highest {100 * TOP:g} % "
        "of pixels and Spearman's rank correlation, means over pairs of seeds; the dotted line is "
        "what unrelated heatmaps have"
    )
    if "mass" in fields:
        caption += (
            "; share of the heatmap's sum that lies inside the mask, the bar being the mask's "
            "share of the image"
        )
    figure = draw(data, anomalous, fields)
    return [plots.save(figure, out / f"{data.name}_stability", caption=f"{caption}.")]


def draw(data: DataSet, found: Sequence[Entry], fields: Sequence[str]) -> "Figure":
    """A panel per measure of `fields`, a line per class, a marker per method."""
    names = [name for _, name in data.classes]
    labels = [method.label for method in data.methods]
    figure, axes = plots.panels(
        len(fields),
        columns=len(fields),
        left=plots.margin(names),
        top=plots.top(len(labels), title=True),
        bottom=0.22,
        panel_height=0.17 * len(names) + 0.1,
        gaps=(0.14, 0.2),
        sharex=False,
    )
    for ax, field in zip(axes, fields, strict=True):
        ax.set_title(_NAMES[field], pad=2.5)
        for entry in found:
            value = getattr(entry.stability, field)
            if value is None:
                continue
            place, line = labels.index(entry.method), names.index(entry.class_name)
            shift = 0.5 * ((place + 0.5) / len(labels) - 0.5)
            look = plots.look(place)
            ax.plot(
                *(value, line + shift, plots.marker(place)),
                color=look["color"],
                markersize=3.2,
                markeredgewidth=0,
            )
            if field == "mass" and place == 0 and entry.stability.mask_share is not None:
                ax.plot(
                    *([entry.stability.mask_share] * 2, (line - 0.3, line + 0.3)),
                    color="#999999",
                    linewidth=1.0,
                )
        low = -0.2 if field == "rank_correlation" else 0.0
        ax.set(xlim=(low, 1.02), ylim=(len(names) - 0.4, -0.6), xticks=(0, 0.5, 1))
        ax.set_xticklabels(("0", "0.5", "1"))
        if field != "mass":
            chance = _CHANCE if field == "overlap" else 0.0
            ax.axvline(chance, color="#999999", linewidth=0.7, linestyle=":")
        ax.set_yticks(range(len(names)))
        ax.set_yticklabels([plots.shortened(name) for name in names])
        ax.tick_params(axis="y", length=0)
    handles = [
        (
            label,
            {
                "color": plots.look(place)["color"],
                "marker": plots.marker(place),
                "linestyle": "",
                "markersize": 4,
                "markeredgewidth": 0,
            },
        )
        for place, label in enumerate(labels)
    ]
    plots.legend(figure, handles)
    return figure
