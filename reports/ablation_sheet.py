"""Ablations as printed tables: the metric and its paired gain at every value of a field."""

from collections.abc import Sequence
from typing import Any

from reports.ablation import Curve
from reports.captions import sentence
from reports.compare_sheet import points
from reports.layout import parts
from reports.methods import DATA_NAMES
from reports.rows import METRICS
from reports.sheet import GAP, Entry, Head, Line, Number, Printed, Sheet, Words

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
    alike = len({curve.num_labelled for curve in curves}) == 1
    for place, curve in enumerate(curves):
        group = curve.name if len(curves) > 1 else ""
        counted = any(curve.num_labelled) and (place == 0 or not alike)
        columns.append(_columns(curve, per_map, counted))
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
        whole=len(curves) == 1,
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


def _columns(curve: Curve, per_map: bool, counted: bool) -> tuple[str, ...]:
    names = [f"{METRICS[curve.metric]} and interval"]
    if any(gain is not None for gain in curve.gain):
        names.append("gain, points")
        names += ["gain per map"] if per_map else []
    names += ["maps per class"] if counted else []
    return (*names, *(["paper"] if curve.published else []))


def _entries(curve: Curve, x: float, columns: Sequence[str]) -> list[Entry]:
    if x not in curve.x:
        return [Words(GAP) for _ in columns]
    at = curve.x.index(x)
    gain = curve.gain[at]
    added = x - curve.x[0]
    value = curve.published.get(x)
    found: dict[str, Entry] = {
        columns[0]: Words(_with_interval(curve.mean[at], _ends(curve.low[at], curve.high[at]))),
        "gain, points": Words(points(gain, _ends(curve.gain_low[at], curve.gain_high[at]))),
        "gain per map": Words(points(None if gain is None else gain / added, None)),
        "maps per class": Words(f"{curve.num_labelled[at]:g}"),
        "paper": Words(GAP) if value is None else Number(value, marks="a"),
    }
    return [found[name] for name in columns]


def _with_interval(mean: float | None, ends: tuple[float, float] | None) -> str:
    if mean is None:
        return GAP
    text = f"{100 * mean:.1f}"
    return text if ends is None else f"{text} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"


def _ends(low: float | None, high: float | None) -> tuple[float, float] | None:
    return None if low is None or high is None else (low, high)


def _title(first: Curve, curves: Sequence[Curve], per_map: bool) -> str:
    seeds = sorted({n for curve in curves for n in curve.n if n})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}" if seeds else "no"
    data = DATA_NAMES.get(first.data, first.data)
    text = (
        f"{sentence(METRICS[first.metric])} in percent on {data} against {first.label}: "
        f"mean over classes and {count} seed{'' if count == '1' else 's'}, with 95 % intervals."
    )
    if len(curves) == 1:
        text = text.replace(" against ", f", {first.name}, against ")
    if any(gain is not None for curve in curves for gain in curve.gain):
        text += " Gain: difference to the first line, paired by class and seed."
    if per_map:
        text += " Gain per map: points per added map and defect type."
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
