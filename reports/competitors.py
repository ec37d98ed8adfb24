"""Our columns and all those that the paper gives for a data set, side by side."""

from collections.abc import Sequence
from typing import Any

from reports.aggregate import Table
from reports.captions import sentence
from reports.compare_sheet import footnotes_of, published_number
from reports.layout import parts
from reports.published.values import PAPER, Value, paper
from reports.rows import METRICS
from reports.sheet import (
    GAP,
    Entry,
    Line,
    Number,
    Printed,
    Sheet,
    Words,
    comments,
    heads,
    numbers,
)


def beside_competitors(
    table: Table, methods: Sequence[str], dataset: str, *, stem: str, how: str
) -> Printed | None:
    """`methods` of a table of classes and, beside them, every column that the paper gives per class
    for this data set and metric; None where it gives none."""
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
    footnotes = footnotes_of(used)
    lines = []
    for row, name in enumerate(table.rows):
        entries: list[Entry] = [
            Words(GAP) if cell is None else Number(cell.mean, cell.std)
            for method, cell in zip(table.columns, table.cells[row], strict=True)
            if method in methods
        ]
        for method, setting in columns:
            value = by_place.get((method, setting, name))
            entries.append(Words(GAP) if value is None else published_number(value, footnotes))
        lines.append(Line(name, tuple(entries), rule=table.mean_row and row == len(table.rows) - 1))
    ours = heads([f"ours, {method}" for method in table.columns if method in methods])
    sheet = Sheet(
        stem=stem,
        title=(
            f"{sentence(METRICS[table.metric])} in percent on {table.data} for "
            f"each nominal class: ours, and all columns that {PAPER} gives for this data set."
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
        records=tuple(_records(table, methods, by_place, columns)),
        provenance=table.provenance,
        common=table.common,
        settings=table.settings,
    )


def _records(
    table: Table,
    methods: Sequence[str],
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
        if table.columns[column] in methods
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
