"""Ablations as printed tables: the metric and its paired gain at every value of a field."""

from collections.abc import Sequence
from typing import Any

from reports.ablation import Curve
from reports.compare_sheet import points
from reports.methods import DATA_NAMES
from reports.rows import METRICS
from reports.sheet import GAP, Entry, Head, Line, Number, Printed, Sheet, Words, parts

_MAPS = "supervision.maps_per_defect"
_STEMS = {
    _MAPS: "maps_per_defect",
    "outliers.limit": "outliers",
    "net.name": "receptive_field",
    "heatmaps.gauss_std": "gauss_std",
}


def grouped(curves: Sequence[Curve]) -> list[list[Curve]]:
    """Curves of one data set, field and metric together."""
    found: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in curves:
        found.setdefault((curve.data, curve.field, curve.metric), []).append(curve)
    return list(found.values())


def printed(curves: Sequence[Curve], *, how: str) -> Printed:
    """Curves of one data set, field and metric as a table, values down and methods across."""
    first = curves[0]
    stem = f"{first.data}_against_{_STEMS[first.field]}_{first.metric}"
    per_map = first.field == _MAPS
    places = sorted({(x, n) for c in curves for x, n in zip(c.x, c.x_names, strict=True)})
    heads, columns = [], []
    for curve in curves:
        group = curve.name if len(curves) > 1 else ""
        columns.append(_columns(curve, per_map))
        heads += [Head(text, group) for text in columns[-1]]
    lines = []
    for x, name in places:
        entries: list[Entry] = []
        for curve, texts in zip(curves, columns, strict=True):
            entries += _entries(curve, x, texts)
        lines.append(Line(name, tuple(entries)))
    sheet = Sheet(
        stem=stem,
        title=_title(first, curves, per_map),
        corner=first.label,
        heads=tuple(heads),
        lines=tuple(lines),
        footnotes=_published_note(curves),
    )
    return Printed(
        stem=stem,
        kind="ablation",
        metric=first.metric,
        how=how,
        sheets=parts(sheet),
        records=tuple(record for curve in curves for record in _records(curve)),
        provenance={},
        common={},
        settings={},
    )


def _columns(curve: Curve, per_map: bool) -> tuple[str, ...]:
    names = [METRICS.get(curve.metric, curve.metric), "95 % interval"]
    if any(gain is not None for gain in curve.gain):
        names.append("gain, points")
        names += ["gain per map, points"] if per_map else []
    if any(curve.num_labelled):
        names.append("labelled images per class")
    return (*names, *(["paper"] if curve.published else []))


def _entries(curve: Curve, x: float, columns: Sequence[str]) -> list[Entry]:
    if x not in curve.x:
        return [Words(GAP) for _ in columns]
    at = curve.x.index(x)
    mean = curve.mean[at]
    ends = _ends(curve.low[at], curve.high[at])
    gain, gain_ends = curve.gain[at], _ends(curve.gain_low[at], curve.gain_high[at])
    found: list[Entry] = [
        Words(GAP) if mean is None else Number(mean),
        Words(GAP if ends is None else f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"),
    ]
    if "gain, points" in columns:
        found.append(Words(points(gain, gain_ends)))
    if "gain per map, points" in columns:
        maps = x - curve.x[0]
        each = None if gain is None else gain / maps
        found.append(Words(points(each, None)))
    if "labelled images per class" in columns:
        found.append(Words(f"{curve.num_labelled[at]:g}"))
    if "paper" in columns:
        value = curve.published.get(x)
        found.append(Words(GAP) if value is None else Number(value, marks="a"))
    return found


def _ends(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _title(first: Curve, curves: Sequence[Curve], per_map: bool) -> str:
    seeds = sorted({n for curve in curves for n in curve.n if n})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}" if seeds else "no"
    data = DATA_NAMES.get(first.data, first.data)
    text = (
        f"{METRICS.get(first.metric, first.metric)} in percent on {data} against {first.label}: "
        f"mean over classes and {count} seed{'' if count == '1' else 's'}."
    )
    if len(curves) == 1:
        text = text.replace(" against ", f", {first.name}, against ")
    if any(gain is not None for curve in curves for gain in curve.gain):
        text += (
            f" Gain: difference to {first.x_names[0]}, paired by class and seed, with its 95 % "
            "interval."
        )
    if per_map:
        text += " Per map: divided by the number of added maps per defect type."
    return text


def _published_note(curves: Sequence[Curve]) -> tuple[tuple[str, str], ...]:
    if not any(curve.published for curve in curves):
        return ()
    return (("a", "Liznerski et al. 2021, App. A and B; from a single secondary text."),)


def _records(curve: Curve) -> list[dict[str, Any]]:
    return [
        {
            "row": curve.x_names[at],
            "column": curve.name,
            "metric": curve.metric,
            "field": curve.field,
            "x": curve.x[at],
            "mean": curve.mean[at],
            "n": curve.n[at],
            "low": curve.low[at],
            "high": curve.high[at],
            "gain": curve.gain[at],
            "gain_low": curve.gain_low[at],
            "gain_high": curve.gain_high[at],
            "labelled_images": curve.num_labelled[at],
            "paper": curve.published.get(curve.x[at]),
            "keys": curve.keys[at],
        }
        for at in range(len(curve.x))
    ]
