"""Figures of the watermark audit: what a mark does to heatmaps and scores (docs/method.md 10)."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from pipeline import results
from pipeline.results import Place
from reports import panels, plots
from reports.figures_groups import DataSet, Method, Row
from reports.figures_panels import LOOK, Look
from reports.figures_tiles import Frames, Line
from reports.files import file_name
from reports.plots import Drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VERSIONS = ("clean", "marked", "moved")
# What is drawn of the numbers: field, name, and a marker that is told apart in gray.
_MASSES = (
    ("mass_on_mark", "on the mark", "o"),
    ("mass_on_moved_mark", "on the moved mark", "^"),
    ("mass_without_mark", "same place, no mark", "x"),
)
_AUROCS = (
    ("auroc_clean", "no mark", "x"),
    ("auroc_mark_on_nominal", "mark on nominal", "o"),
    ("auroc_mark_on_anomalous", "mark on anomalous", "s"),
    ("auroc_mark_moved", "mark moved", "^"),
)


@dataclass(frozen=True)
class Audited:
    """A run and the numbers of its audit (names as in the file)."""

    row: Row
    numbers: Mapping[str, float]


def read(method: Method, places: Mapping[str, Place]) -> list[Audited]:
    """The runs of `method` that have an audit. Raises ValueError naming a file that is no audit."""
    found = []
    for row in method.rows:
        path = places[row["key"]] / "audits" / f"{row['key']}.json"
        try:
            numbers = results.read_audit(places[row["key"]], row["key"])
            if numbers is None:
                continue
            wanted = ("area_of_mark", *(field for field, _, _ in (*_MASSES, *_AUROCS)))
            found.append(Audited(row, {name: float(numbers[name]) for name in wanted}))
        except results.StoreError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no audit ({error}); delete it and audit again") from None
    return found


def write(
    data: DataSet, places: Mapping[str, Place], out: Path, *, look: Look = LOOK
) -> list[Drawn]:
    """Draws, per method that was audited, its numbers by class, and the examples of each class's
    lowest seed."""
    drawn = []
    frames = Frames()
    for place, method in enumerate(data.methods):
        audited = read(method, places)
        if not audited:
            continue
        stem = f"{data.name}_audit" + (f"-{place + 1}" if len(data.methods) > 1 else "")
        seeds = len({one.row["seed"] for one in audited})
        mark = audited[0].row["watermark.kind"]
        caption = (
            f"Audit of {method.label} on {data.title}, trained with a mark ({mark}) on "
            f"{audited[0].row['watermark.target']} images, means over "
            f"{plots.counted(seeds, 'seed')}. Left: the share of heatmap mass on nominal test "
            "images that lies on the mark; the bar is the mark's share of the image. Right: AUROC "
            "when test images carry the mark."
        )
        drawn.append(plots.save(numbers(data, audited), out / stem, caption=caption))
        for number, name in data.classes:
            runs = [one for one in audited if one.row["data.normal_class"] == number]
            lines = examples(runs[0].row, places, look) if runs else None
            if lines is None:
                continue
            caption = (
                f"Nominal test images of {data.title}, class {name}, without the mark, with it and "
                f"with it moved, and their heatmaps by {method.label}, seed {runs[0].row['seed']}, "
                f"normalised together, cut at the {look.quantile:g} quantile."
            )
            stem_of_class = out / f"{stem}_{number}_{file_name(name)}"
            groups = [(version, len(lines[0].tiles) // 3) for version in _VERSIONS]
            drawn.append(frames.save(lines, stem_of_class, groups=groups, caption=caption))
    return drawn


def examples(row: Row, places: Mapping[str, Place], look: Look) -> list[Line] | None:
    """Images and heatmaps of a run's examples: clean, marked and moved side by side; None where
    they were not kept. Raises ValueError naming a file that is damaged."""
    path = places[row["key"]] / "audits" / f"{row['key']}.npz"
    if not path.is_file():
        return None
    try:
        file = results.read_audit_examples(places[row["key"]], row["key"])
        images = np.concatenate([file[f"{version}_images"] for version in _VERSIONS])
        maps = np.concatenate([file[f"{version}_heatmaps"] for version in _VERSIONS])
    except results.StoreError:
        raise
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be used ({error}); delete it and audit again") from None
    if len(images) == 0:
        return None
    maps = maps.astype(np.float64)
    shades = panels.normalise(maps, by=panels.reference(maps, quantile=look.quantile))
    return [
        Line("input", panels.pictures(images)),
        Line("heatmap", panels.colours(shades, colour_map=look.colour_map)),
        Line("overlay", panels.overlay(images, shades, colour_map=look.colour_map)),
    ]


def numbers(data: DataSet, audited: Sequence[Audited]) -> "Figure":
    """Heatmap mass on the mark and AUROCs, a line per class, means over seeds."""
    present = {one.row["data.normal_class"] for one in audited}
    classes = [(number, name) for number, name in data.classes if number in present]
    figure, axes = plots.panels(
        2,
        columns=2,
        left=plots.margin([name for _, name in classes]),
        top=0.42,
        bottom=0.38,
        panel_height=0.2 * len(classes) + 0.15,
        gaps=(0.2, 0.2),
        sharex=False,
    )
    for ax, fields in zip(axes, (_MASSES, _AUROCS), strict=True):
        for line, (number, _) in enumerate(classes):
            runs = [one.numbers for one in audited if one.row["data.normal_class"] == number]
            _draw(ax, fields, runs, line)
        ax.set(ylim=(len(classes) - 0.5, -0.5), xlim=(-0.02, 1.02), xticks=(0, 0.5, 1))
        ax.set_xticklabels(("0", "0.5", "1"))
        ax.set_yticks(range(len(classes)))
        ax.set_yticklabels([plots.shortened(name) for _, name in classes])
        ax.tick_params(axis="y", length=0)
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=2,
            fontsize=7,
            handlelength=1.0,
            handletextpad=0.4,
            columnspacing=1.0,
            borderpad=0.2,
            labelspacing=0.25,
        )
    axes[0].set_xlabel("Share of heatmap mass")
    axes[1].set_xlabel("AUROC")
    return figure


def _draw(
    ax: "Axes",
    fields: Sequence[tuple[str, str, str]],
    runs: Sequence[Mapping[str, float]],
    line: int,
) -> None:
    if fields is _MASSES:
        area = fmean(one["area_of_mark"] for one in runs)
        ax.plot([area, area], [line - 0.35, line + 0.35], color="#999999", linewidth=1.2)
    for place, (field, name, marker) in enumerate(fields):
        look: dict[str, Any] = {"color": plots.PALETTE[place], "marker": marker, "markersize": 4}
        value = fmean(one[field] for one in runs)
        ax.plot(value, line, linestyle="", label=name if line == 0 else None, **look)
