"""Comparisons with the published values, as printed."""

from collections.abc import Sequence
from typing import Any

from reports.aggregate import Table
from reports.captions import usual_n
from reports.compare import Compared, Comparison, setting_of
from reports.methods import in_words
from reports.published.values import BANDS, PAPER, QUOTED, REPRODUCTION, Value, paper
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
    heads,
    letter,
    numbers,
    parts,
)

_SURE = {
    "medium": "The source does not name the column; its mean is that of this method in Table 1.",
    "single-source": "From a single secondary text.",
}
_QUOTED = "Quoted by the paper from the literature."


def printed(compared: Compared, *, stem: str, how: str) -> Printed:
    """Ours, the paper's, the reproduction's, the difference with its interval, and the verdict."""
    table = compared.table
    footnotes = _footnotes([one.paper for one in compared.comparisons if one.paper])
    sheet = Sheet(
        stem=stem,
        title=_title(compared),
        corner="nominal class",
        heads=tuple(
            Head(text)
            for text in ("ours", "paper", "reproduction", "difference, points", "verdict")
        ),
        lines=tuple(
            Line(
                name=one.class_name,
                entries=_entries(one, footnotes),
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
    )
    return Printed(
        stem=stem,
        kind="against the paper",
        metric=table.metric,
        how=how,
        sheets=(sheet,),
        records=tuple(_record(compared, one) for one in compared.comparisons),
        provenance=table.provenance,
        common=table.common,
        settings={compared.method: table.settings.get(compared.method, {})},
    )


def _title(compared: Compared) -> str:
    table, published = compared.table, compared.counterpart
    metric = METRICS.get(table.metric, table.metric)
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
            f" Agrees: at most {band:g} points, which the reproduction differs by at most in any "
            "class, and an interval that, widened by them, contains 0."
        )
    return text


def _unlike(compared: Compared) -> str:
    return f"Not the published setting: {'; '.join(compared.reasons)}."


def _footnotes(values: Sequence[Value]) -> dict[str, str]:
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


def _entries(one: Comparison, footnotes: dict[str, str]) -> tuple[Entry, ...]:
    paper_entry: Entry = Words(GAP)
    if one.paper is not None:
        paper_entry = _published(one.paper, footnotes)
    again: Entry = Words(GAP)
    if one.reproduction is not None:
        again = Number(one.reproduction.value)
    ours = Words(GAP) if one.cell is None else Number(one.cell.mean, one.cell.std)
    return ours, paper_entry, again, Words(points(one.difference, one.interval)), Words(one.verdict)


def _published(value: Value, footnotes: dict[str, str]) -> Number:
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


def beside_competitors(table: Table, dataset: str, *, stem: str, how: str) -> Printed | None:
    """The methods of a table of classes and, beside them, every column that the paper gives for
    this data set and metric; None where it gives none."""
    values = [
        value
        for value in paper()
        if value.dataset == dataset and value.metric == table.metric and value.table != "Table1"
    ]
    classes = {value.class_name for value in values} - {"mean"}
    columns = list(dict.fromkeys((v.method, v.setting) for v in values if v.class_name in classes))
    if not columns:
        return None
    by_place = {(v.method, v.setting, v.class_name): v for v in values}
    theirs = [f"paper, {method}" for method, _ in columns]
    theirs = [
        f"{text} ({setting})" if theirs.count(text) > 1 else text
        for text, (_, setting) in zip(theirs, columns, strict=True)
    ]
    used = [value for value in values if (value.method, value.setting) in columns]
    footnotes = _footnotes(used)
    lines = []
    for row, name in enumerate(table.rows):
        entries: list[Entry] = [
            Words(GAP) if cell is None else Number(cell.mean, cell.std) for cell in table.cells[row]
        ]
        for method, setting in columns:
            value = by_place.get((method, setting, name))
            entries.append(Words(GAP) if value is None else _published(value, footnotes))
        lines.append(Line(name, tuple(entries), rule=table.mean_row and row == len(table.rows) - 1))
    ours = heads([f"ours, {column}" for column in table.columns])
    sheet = Sheet(
        stem=stem,
        title=(
            f"{METRICS.get(table.metric, table.metric)} in percent on {table.data}, one class "
            f"nominal: ours, and all columns that {PAPER} gives for this data set."
        ),
        corner="nominal class",
        heads=(*ours, *heads(theirs)),
        lines=tuple(lines),
        footnotes=(
            *((mark, text) for text, mark in footnotes.items()),
            *(("", text) for text in table.notes),
        ),
        comments=comments(table.common, table.settings, table.provenance),
    )
    return Printed(
        stem=stem,
        kind="beside the paper's columns",
        metric=table.metric,
        how=how,
        sheets=parts(sheet),
        records=tuple(_competitor_records(table, by_place, columns)),
        provenance=table.provenance,
        common=table.common,
        settings=table.settings,
    )


def _competitor_records(
    table: Table,
    by_place: dict[tuple[str, str, str], Value],
    columns: Sequence[tuple[str, str]],
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "row": table.rows[row],
            "column": table.columns[column],
            "metric": table.metric,
            **numbers(cell),
            "source": "",
            "confidence": "",
        }
        for row, cells in enumerate(table.cells)
        for column, cell in enumerate(cells)
    ]
    for name in table.rows:
        for method, setting in columns:
            value = by_place.get((method, setting, name))
            if value is not None:
                found.append(
                    {
                        "row": name,
                        "column": f"paper: {method} ({setting})",
                        "metric": table.metric,
                        **(numbers(None) | {"mean": value.value}),
                        "source": value.source,
                        "confidence": value.confidence,
                    }
                )
    return found
