"""Comparisons with the published values, as printed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reports.captions import sentence, usual_n
from reports.compare import Compared, Comparison, setting_of
from reports.layout import parts
from reports.methods import in_words
from reports.published.values import BANDS, PAPER, QUOTED, REPRODUCTION, Value
from reports.rows import METRICS
from reports.sheet import (
    GAP,
    Entry,
    Head,
    Line,
    Number,
    Printed,
    Sheet,
    Words,
    comments,
    letter,
    numbers,
)

_SURE = {
    "medium": "The source does not name the column; its mean is that of this method in Table 1.",
    "single-source": "From a single secondary text.",
}
_QUOTED = "Quoted by the paper from the literature."


def printed(compared: Compared, *, stem: str, how: str) -> Printed:
    """One method, a line per class: ours, the paper's, the reproduction's, the difference with its
    interval, and the verdict."""
    table = compared.table
    footnotes = footnotes_of([one.paper for one in compared.comparisons if one.paper])
    columns = _columns([compared])
    sheet = Sheet(
        stem=stem,
        title=_title(compared),
        corner="nominal class",
        heads=tuple(Head(text) for text in columns),
        lines=tuple(
            Line(
                name=one.class_name,
                entries=tuple(_entries(one, footnotes)[name] for name in columns),
                rule=table.mean_row and place == len(compared.comparisons) - 1,
            )
            for place, one in enumerate(compared.comparisons)
        ),
        footnotes=(
            *((mark, text) for text, mark in footnotes.items()),
            *((("", _unlike(compared)),) if compared.reasons else ()),
            *(("", text) for text in table.notes),
        ),
        comments=comments(setting_of(table, compared.method), {}, table.provenance),
        whole=True,
    )
    return _printed([compared], sheet, how)


def summary(others: Sequence[Compared], *, stem: str, how: str) -> Printed:
    """Methods in other than the published settings, a line for each: the mean over classes beside
    the paper's, with the reasons that there is no verdict."""
    table = others[0].table
    lasts = [one.comparisons[-1] for one in others]
    footnotes = footnotes_of([one.paper for one in lasts if one.paper])
    why = list(dict.fromkeys(_unlike(one) for one in others))
    marks = {text: letter(len(footnotes) + place) for place, text in enumerate(why)}
    columns = _columns(others)
    lines = []
    for compared, last in zip(others, lasts, strict=True):
        entries = _entries(last, footnotes)
        mark = marks[_unlike(compared)]
        entries["verdict"] = Words(last.verdict, marks=mark)
        if "verdict" not in columns:
            entries["ours"] = replace(entries["ours"], marks=mark)
        lines.append(Line(compared.method, tuple(entries[name] for name in columns)))
    what = "mean over classes" if table.mean_row else f"nominal class {table.rows[-1]}"
    sheet = Sheet(
        stem=stem,
        title=(
            f"{sentence(METRICS[table.metric])} in percent on {table.data}, {what}, of "
            f"methods in other than the published settings, beside the paper ({PAPER}) and its "
            f"reproduction ({REPRODUCTION}). Difference: ours minus the paper's, with the 95 % "
            "interval of ours."
        ),
        corner="method",
        heads=tuple(Head(text) for text in columns),
        lines=tuple(lines),
        footnotes=(
            *((mark, text) for text, mark in footnotes.items()),
            *((mark, text) for text, mark in marks.items()),
        ),
        comments=comments(table.common, table.settings, table.provenance),
        whole=True,
    )
    return _printed(others, sheet, how)


def _printed(compared: Sequence[Compared], sheet: Sheet, how: str) -> Printed:
    table = compared[0].table
    return Printed(
        stem=sheet.stem,
        kind="against the paper",
        metric=table.metric,
        how=how,
        sheets=parts(sheet),
        records=tuple(_record(one, line) for one in compared for line in one.comparisons),
        provenance=table.provenance,
        common=table.common,
        settings={one.method: table.settings.get(one.method, {}) for one in compared},
    )


def _columns(compared: Sequence[Compared]) -> list[str]:
    """Without any value of the paper, those of the reproduction alone."""
    if any(line.paper for one in compared for line in one.comparisons):
        return ["ours", "paper", "reproduction", "difference, points", "verdict"]
    return ["ours", "reproduction"]


def _title(compared: Compared) -> str:
    table, published = compared.table, compared.counterpart
    metric = sentence(METRICS[table.metric])
    n = usual_n(table)
    spread = f", sample standard deviation over {n} seeds" if n > 1 else ", one seed"
    text = (
        f"{metric} in percent on {table.data} beside the paper ({PAPER}, {published.method}, "
        f"{published.setting}) and its reproduction ({REPRODUCTION}): "
        f"{in_words(setting_of(table, compared.method))}{spread}. "
        "Difference: ours minus the paper's, with the 95 % interval of ours."
    )
    if not compared.reasons and published.dataset in BANDS:
        band = 100 * BANDS[published.dataset]
        text += (
            f" Agrees: a difference of at most {band:g} point{'' if band == 1 else 's'} (the "
            "reproduction's largest in any class) whose interval, widened by as much, contains 0."
        )
    return text


def _unlike(compared: Compared) -> str:
    text = "; ".join(compared.reasons)
    return f"{sentence(text)}." if compared.counterpart.unstated else f"Not published: {text}."


def footnotes_of(values: Sequence[Value]) -> dict[str, str]:
    """A letter for each remark on how sure published values are."""
    texts: dict[str, None] = {}
    for value in values:
        texts.update(dict.fromkeys(_remarks(value)))
    return {text: letter(place) for place, text in enumerate(texts)}


def _remarks(value: Value) -> list[str]:
    remarks = [_QUOTED] if value.method in QUOTED else []
    return remarks + ([_SURE[value.confidence]] if value.confidence in _SURE else [])


def _marks(value: Value, footnotes: dict[str, str]) -> str:
    return ",".join(footnotes[text] for text in _remarks(value))


def _entries(one: Comparison, footnotes: dict[str, str]) -> dict[str, Entry]:
    """The entries of a line by their column."""
    gap = Words(GAP)
    return {
        "ours": Number(one.cell.mean, one.cell.std) if one.cell else gap,
        "paper": published_number(one.paper, footnotes) if one.paper else gap,
        "reproduction": Number(one.reproduction.value) if one.reproduction else gap,
        "difference, points": Words(points(one.difference, one.interval)),
        "verdict": Words(one.verdict),
    }


def published_number(value: Value, footnotes: dict[str, str]) -> Number:
    """Printed with the digits that were published."""
    behind = max(len(f"{value.value:.6f}".rstrip("0").partition(".")[2]) - 2, 0)
    return Number(value.value, marks=_marks(value, footnotes), decimals=behind)


def points(difference: float | None, interval: tuple[float, float] | None) -> str:
    """A difference in points with its interval: "−0.4 [−1.2, 0.3]"."""
    if difference is None:
        return GAP
    text = _signed(difference)
    return text if interval is None else f"{text} [{_signed(interval[0])}, {_signed(interval[1])}]"


def _signed(value: float) -> str:
    text = f"{100 * value:+.1f}"
    return "0.0" if text[1:] == "0.0" else text.replace("-", "−")


def _record(compared: Compared, one: Comparison) -> dict[str, Any]:
    low, high = one.interval or (None, None)
    return {
        "row": one.class_name,
        "column": compared.method,
        "metric": compared.table.metric,
        **{name: value for name, value in numbers(one.cell).items() if name not in ("low", "high")},
        "paper": one.paper.value if one.paper else None,
        "paper_confidence": one.paper.confidence if one.paper else None,
        "paper_source": one.paper.source if one.paper else None,
        "reproduction": one.reproduction.value if one.reproduction else None,
        "difference": one.difference,
        "difference_low": low,
        "difference_high": high,
        "verdict": one.verdict,
        "reasons": "; ".join(compared.reasons),
    }
