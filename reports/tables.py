"""Tables from rows: per class, methods by data sets, or any two fields."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reports.aggregate import Table
from reports.axes import CLASS, DATA_SET, METHOD, Axis, axis, data_sets, data_title
from reports.captions import caption, notes
from reports.checks import refuse_bad_values, refuse_merged
from reports.cross import Bold, bold, cells
from reports.intervals import RESAMPLING, Resampling
from reports.methods import RUN
from reports.provenance import mixed, provenance, refuse_mixed, refuse_other_images
from reports.rows import METRICS, Rows


@dataclass(frozen=True)
class Options:
    """What a report is asked for. No metrics: image AUROC, and pixel AUROC where there is one.
    Without rows and columns: classes by methods, and methods by data sets where there are several.
    """

    metrics: tuple[str, ...] = ()
    rows: str | None = None
    columns: str | None = None
    bold: Bold = "best"
    allow_missing: bool = False
    allow_mixed: bool = False
    rescore: bool = False
    resampling: Resampling = RESAMPLING


def tables(
    rows: Rows, options: Options, *, progress: Callable[[str], None] = lambda text: None
) -> list[Table]:
    """All tables of `rows`, in the order of metrics and data sets.

    Raises ValueError naming the runs for metrics that are absent or NaN, for duplicate rows, rows
    of mixed commits or protocols (unless allowed) or on other images, and for two fields on the
    axes that leave a third one varying inside a cell.
    """
    found = []
    for metric in metrics(rows, options):
        for axes, stem, places in _layouts(rows, options, metric):
            progress(f"{METRICS[metric]}: {stem}")
            table = table_of(rows, places, metric=metric, axes=axes, options=options)
            found.append(replace(table, stem=f"{stem}_{metric}"))
    return found


def metrics(rows: Rows, options: Options) -> list[str]:
    """The metrics to report. Raises ValueError for one that is unknown or that no row has."""
    unknown = [name for name in options.metrics if name not in METRICS]
    if unknown:
        raise ValueError(f"no metric {unknown[0]!r}; known: {', '.join(METRICS)}")
    present = [name for name in METRICS if not rows.without[name][rows.present].all()]
    absent = [name for name in options.metrics if name not in present]
    if absent:
        raise ValueError(
            f"no row has {absent[0]}, which needs data with masks; present: {', '.join(present)}"
        )
    return list(options.metrics) or [n for n in ("image_auroc", "pixel_auroc") if n in present]


def _layouts(
    rows: Rows, options: Options, metric: str
) -> list[tuple[tuple[str, str], str, np.ndarray]]:
    """(row and column axis, stem, places) of every table to make."""
    row, column = options.rows or CLASS, options.columns or METHOD
    if row == column:
        raise ValueError(f"rows and columns are both {row!r}; put two different fields on them")
    sets = [(name, places) for name, places in data_sets(rows) if has(rows, places, metric)]
    everything = np.sort(np.concatenate([places for _, places in sets]))
    stem = f"{row}_by_{column}".replace(".", "-")
    if DATA_SET in (row, column):
        return [((row, column), stem, everything)]
    asked = options.rows is not None or options.columns is not None
    found = [((row, column), f"{name}_{stem}" if asked else name, group) for name, group in sets]
    if not asked and len(sets) > 1:
        found.insert(0, ((METHOD, DATA_SET), "methods", everything))
    return found


def has(rows: Rows, places: np.ndarray, metric: str) -> bool:
    """Whether the rows at `places` have the metric: data without masks have no pixel metric."""
    present = places[rows.present[places]]
    return not len(present) or not rows.without[metric][present].all()


def table_of(
    rows: Rows, places: np.ndarray, *, metric: str, axes: tuple[str, str], options: Options
) -> Table:
    """The table of the rows at `places` over two axes; raises as `tables` does."""
    along, across = (axis(rows, places, name) for name in axes)
    refuse_merged(rows, places, (along, across))
    refuse_bad_values(rows, places, metric)
    refuse_other_images(rows, places)
    if not options.allow_mixed:
        refuse_mixed(rows, places, asked_for=axes)
    found = cells(rows, places, (along, across), metric, resampling=options.resampling)
    mean_row = axes[0] == CLASS and len(along.headings) > 1
    mean_column = axes[1] == CLASS and len(across.headings) > 1
    common, settings = _settings(rows, places, (along, across))
    table = Table(
        stem=f"table_{metric}",
        metric=metric,
        data=data_title(rows, places),
        title="",
        axes=axes,
        rows=(*along.headings, *(["mean"] if mean_row else [])),
        columns=(*across.headings, *(["mean"] if mean_column else [])),
        cells=found,
        mean_row=mean_row,
        mean_column=mean_column,
        bold=bold(found, axes, rule=options.bold, resampling=options.resampling),
        notes=(),
        common=common,
        settings=settings,
        provenance=provenance(rows, places),
    )
    told = mixed(rows, places, asked_for=axes)
    return replace(
        table,
        title=caption(table, bold=options.bold, resampling=options.resampling),
        notes=notes(table, mixed=told),
    )


def _settings(
    rows: Rows, places: np.ndarray, axes: tuple[Axis, Axis]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The fields equal in all runs, and by heading of the methods' axis those that are not."""
    names = [name for name in RUN if name not in (CLASS, "seed", "protocol")]  # in provenance
    varying = [name for name in names if len(rows.groups([name], places)) > 1]
    common = {name: rows.value(name, places[0]) for name in names if name not in varying}
    settings: dict[str, dict[str, Any]] = {}
    for place, inside in _methods(rows, places, axes):
        settings[place] = {name: rows.value(name, inside) for name in varying}
    return common, settings


def _methods(rows: Rows, places: np.ndarray, axes: tuple[Axis, Axis]) -> list[tuple[str, int]]:
    """(heading, one of its rows) of what is compared: columns or rows, or both with data sets."""
    compared = [one for one in axes if one.name != CLASS]
    if not any(one.name == DATA_SET for one in compared) or len(compared) < 2:
        one = compared[0]
        return list(zip(one.headings, one.examples, strict=True))
    ids = np.stack([one.ids for one in compared], axis=1)
    pairs, first = np.unique(ids, axis=0, return_index=True)
    return [
        (", ".join(one.headings[p] for one, p in zip(compared, pair, strict=True)), int(places[at]))
        for pair, at in zip(pairs, first, strict=True)
    ]
