"""Tables of cells, as printed."""

from collections.abc import Mapping

from reports.aggregate import Cell, Table
from reports.axes import CLASS, DATA_SET
from reports.captions import deviating, usual_n
from reports.layout import parts
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
    letter,
    numbers,
)


def printed(table: Table, *, how: str) -> Printed:
    """`table` for printing; more than `WIDEST` columns become parts of equal width."""
    marks = _marks(table)
    usual = usual_n(table)
    sheet = Sheet(
        stem=table.stem,
        title=table.title,
        corner={CLASS: "nominal class", DATA_SET: "data set"}.get(table.axes[0], table.axes[0]),
        heads=tuple(heads(table.columns)),
        lines=tuple(
            Line(
                name=name,
                entries=tuple(
                    _entry(cell, (row, column) in table.bold, marks)
                    for column, cell in enumerate(table.cells[row])
                ),
                rule=table.mean_row and row == len(table.rows) - 1,
            )
            for row, name in enumerate(table.rows)
        ),
        footnotes=(
            *((mark, _seeds(n, usual)) for n, mark in sorted(marks.items())),
            *(("", text) for text in table.notes),
        ),
        comments=comments(table.common, table.settings, table.provenance),
    )
    return Printed(
        stem=table.stem,
        kind="table",
        metric=table.metric,
        how=how,
        sheets=parts(sheet),
        records=tuple(
            {
                "row": table.rows[row],
                "column": table.columns[column],
                "metric": table.metric,
                **numbers(table.cells[row][column]),
                "bold": (row, column) in table.bold,
            }
            for row in range(len(table.rows))
            for column in range(len(table.columns))
        ),
        provenance=table.provenance,
        common=table.common,
        settings=table.settings,
    )


def _marks(table: Table) -> dict[int, str]:
    """A letter for each number of seeds that is not the usual one."""
    counts = sorted(set(deviating(table).values()))
    return {n: letter(place) for place, n in enumerate(counts)}


def _seeds(n: int, usual: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'} instead of {usual}."


def _entry(cell: Cell | None, bold: bool, marks: Mapping[int, str]) -> Entry:
    if cell is None:
        return Words(GAP)
    return Number(cell.mean, cell.std, bold=bold, marks=marks.get(cell.n, ""))
