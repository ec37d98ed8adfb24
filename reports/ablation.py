"""Ablations as numbers: a metric against one field of the Run, everything else equal.

Points of a curve share their classes and seeds, so that gains are paired differences; those between
numbers of annotated maps are paired in the test images too (`supervision.reserved_maps`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.aggregate import Cell, Difference, Group, class_cells, difference, mean_cell
from reports.axes import CLASS, data_sets
from reports.checks import refuse_bad_values
from reports.cross import values_by_class
from reports.intervals import RESAMPLING, Resampling
from reports.methods import SETTING, heading, labels, rank
from reports.provenance import refuse_mixed, refuse_other_images
from reports.published.settings import counterpart, reasons
from reports.published.values import paper
from reports.rows import Rows

# The fields that are swept, and what the axis is called.
LABELS = {
    "supervision.maps_per_defect": "labelled maps per defect type",
    "outliers.limit": "outlier-exposure images",
    "net.name": "receptive field (pixels)",
    "heatmaps.gauss_std": "standard deviation of the Gaussian (pixels)",
}
# Nets of the kernel-size study (docs/method.md section 2) and their receptive fields in pixels.
_KERNELS = re.compile(r"FCDD_CNN(32|224)_(\d+)K")


def receptive_field(net: str) -> int | None:
    """The receptive field of a net of the kernel-size study; None for other nets.

    One convolution of the 32-pixel nets grows with k, five of the 224-pixel ones, after pools
    (docs/method.md section 2).
    """
    found = _KERNELS.fullmatch(net)
    if not found:
        return None
    k = int(found[2])
    return 15 + k if found[1] == "32" else 53 + 19 * (k - 3)


@dataclass(frozen=True)
class Curve:
    """A metric against the values of one field: one line of an ablation figure.

    `x` are the places on the axis (a pool without a limit stands at its number of images, a net at
    its receptive field) and `x_names` how each is written. `mean`, `low` and `high` (95 % interval,
    None where a class has one seed) are of the mean over classes; `n` the number of complete seeds.
    `gain`, `gain_low` and `gain_high` are paired differences to the first point (the same class and
    seed; None there). `per_class` holds the mean over seeds of each class. `published`: the paper's
    value at an `x`, where there is one. `keys`: the run keys of each point. All metrics in [0, 1].
    """

    name: str  # of the method, without the field
    data: str  # data.name
    field: str  # "supervision.maps_per_defect"
    label: str  # of the axis: "labelled maps per defect type"
    metric: str  # "pixel_auroc"
    x: tuple[float, ...]
    x_names: tuple[str, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    n: tuple[int, ...]
    gain: tuple[float | None, ...]
    gain_low: tuple[float | None, ...]
    gain_high: tuple[float | None, ...]
    per_class: Mapping[str, tuple[float | None, ...]]
    published: Mapping[float, float]
    keys: tuple[tuple[str, ...], ...]
    # The mean number of labelled images per class that training saw at each point.
    num_labelled: tuple[float, ...] = ()


def curves(
    rows: Rows,
    *,
    metric: str,
    allow_mixed: bool = False,
    resampling: Resampling = RESAMPLING,
) -> list[Curve]:
    """Every curve in `rows`: settings that differ in one field of `LABELS` alone, at two values at
    least. Raises ValueError as tables do."""
    found = []
    for _, everything in data_sets(rows):
        places = everything[~rows.without[metric][everything]]
        if not rows.present[places].any():
            continue
        for field in LABELS:
            found += _curves_of(rows, places, metric, field, allow_mixed, resampling)
    return found


def _curves_of(
    rows: Rows,
    places: np.ndarray,
    metric: str,
    field: str,
    allow_mixed: bool,
    resampling: Resampling,
) -> list[Curve]:
    others = [name for name in SETTING if name != field]
    families = []
    for family in rows.groups(others, places):
        points = _points(rows, family, field)
        if len(points) > 1:
            families.append((family, points))
    families.sort(key=lambda one: rank(rows.setting(one[0][0])))
    names = labels([rows.setting(family[0]) | {field: None} for family, _ in families])
    found = []
    for name, (family, points) in zip(names, families, strict=True):
        refuse_bad_values(rows, family, metric)
        refuse_other_images(rows, family)
        if not allow_mixed:
            refuse_mixed(rows, family)
        found.append(_curve(rows, points, name, metric, field, resampling))
    return found


def _points(rows: Rows, family: np.ndarray, field: str) -> dict[float, np.ndarray]:
    """The rows of a family by their place on the axis, rising; those without one left out."""
    points = {}
    for group in rows.groups([field], family):
        x = _place(rows, int(group[0]), field)
        if x is not None and x not in points:  # a limit of all images is as good as none
            points[x] = group
    return dict(sorted(points.items()))


def _place(rows: Rows, place: int, field: str) -> float | None:
    value = rows.value(field, place)
    if field == "net.name":
        return receptive_field(str(value))
    if field == "outliers.limit" and value is None:
        exposed = rows.value("supervision.mode", place) == "outlier_exposure"
        return rows.value("num_outliers", place) if exposed else None
    return value


def _curve(
    rows: Rows,
    points: Mapping[float, np.ndarray],
    name: str,
    metric: str,
    field: str,
    resampling: Resampling,
) -> Curve:
    values = [values_by_class(rows, group, metric) for group in points.values()]
    expected = sorted({number for each in values for number in each})
    cells = [_mean(each, expected, resampling) for each in values]
    gains = [None, *(_gain(cells[0], cell, resampling) for cell in cells[1:])]
    first = next(iter(points.values()))[0]
    return Curve(
        name=name,
        data=str(rows.value("data.name", first)),
        field=field,
        label=LABELS[field],
        metric=metric,
        x=tuple(points),
        x_names=tuple(_written(rows, x, int(group[0]), field) for x, group in points.items()),
        mean=tuple(cell.mean if cell else None for cell in cells),
        low=tuple(cell.interval[0] if cell and cell.interval else None for cell in cells),
        high=tuple(cell.interval[1] if cell and cell.interval else None for cell in cells),
        n=tuple(cell.n if cell else 0 for cell in cells),
        gain=tuple(gain.mean if gain else None for gain in gains),
        gain_low=tuple(gain.interval[0] if gain and gain.interval else None for gain in gains),
        gain_high=tuple(gain.interval[1] if gain and gain.interval else None for gain in gains),
        per_class=_per_class(rows, points, values, expected),
        published=_published(rows, first, metric, field, tuple(points)),
        keys=tuple(cell.keys if cell else () for cell in cells),
        num_labelled=tuple(_labelled(rows, group) for group in points.values()),
    )


def _labelled(rows: Rows, group: np.ndarray) -> float:
    present = group[rows.present[group]]
    return float(rows.num_labelled[present].mean()) if len(present) else 0.0


def _mean(
    values: Mapping[int, Group], expected: Sequence[int], resampling: Resampling
) -> Cell | None:
    """The mean over all classes of the curve; None where one of them has no run."""
    if any(number not in values for number in expected):
        return None
    return mean_cell([values[number] for number in expected], resampling=resampling)


def _gain(first: Cell | None, cell: Cell | None, resampling: Resampling) -> Difference | None:
    if first is None or cell is None:
        return None
    return difference(cell, first, resampling=resampling)


def _per_class(
    rows: Rows,
    points: Mapping[float, np.ndarray],
    values: Sequence[Mapping[int, Group]],
    expected: Sequence[int],
) -> dict[str, tuple[float | None, ...]]:
    names = {}
    for group in points.values():
        for place in group:
            number = rows.value(CLASS, place)
            names.setdefault(number, str(rows.value("class_name", place) or number))
    found = {}
    for number in expected:
        cells = [class_cells([each[number]])[0] if number in each else None for each in values]
        found[names[number]] = tuple(cell.mean if cell else None for cell in cells)
    return found


def _written(rows: Rows, x: float, place: int, field: str) -> str:
    if field == "net.name":
        return f"{x:g}"
    if field == "outliers.limit" and rows.value(field, place) is None:
        return f"{x:g} (all)"
    return heading(field, rows.value(field, place))


def _published(
    rows: Rows, place: int, metric: str, field: str, xs: Sequence[float]
) -> dict[float, float]:
    """The paper's means over classes along this axis (App. A, B), if the rest is as published."""
    axis = {"net.name": "receptive_field", "heatmaps.gauss_std": "gauss_std"}.get(field)
    run = rows.setting(place)
    beside = counterpart(run)
    if axis is None or beside is None or beside.method != "FCDD":
        return {}
    swept = ("net.",) if field == "net.name" else (field,)
    fixed = {k: v for k, v in beside.fields.items() if not k.startswith(swept)}
    if reasons(run, replace(beside, fields=fixed)):
        return {}
    return {
        x: value.value
        for value in paper()
        for x in xs
        if (value.dataset, value.metric, value.setting) == (beside.dataset, metric, f"{axis}={x:g}")
    }
