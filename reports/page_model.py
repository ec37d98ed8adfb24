"""What the page shows of a table: one view per printed table, cells with the keys of their runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.sheet import Head, Number, Printed
from reports.text import plain


@dataclass(frozen=True)
class Column:
    """A column's heading; neighbours of one group share a heading above."""

    text: str
    group: str

    @property
    def label(self) -> str:
        """Both in one line."""
        return f"{self.group}, {self.text}" if self.group else self.text


@dataclass(frozen=True)
class Cell:
    """A cell as it reads, the number it sorts by (None sorts last), and the runs behind it."""

    text: str
    marks: str
    value: float | None
    bold: bool
    keys: tuple[str, ...]
    hint: str


@dataclass(frozen=True)
class Row:
    """A line of cells; means stay below the others however they are sorted."""

    name: str
    cells: tuple[Cell, ...]
    mean: bool


@dataclass(frozen=True)
class View:
    """A table of the page."""

    stem: str
    title: str
    how: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    footnotes: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]

    @property
    def grouped(self) -> bool:
        """Whether headings stand in two lines."""
        return any(column.group for column in self.columns)

    @property
    def spans(self) -> list[tuple[str, int]]:
        """The upper line of headings: (group, number of columns), "" for columns without one."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and column.group and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return found


def view(table: Printed) -> View:
    """The view of a printed table, its parts side by side again."""
    sheets = table.sheets
    keys = _keys(table)
    columns = tuple(Column(head.text, head.group) for sheet in sheets for head in sheet.heads)
    rows = []
    for place, line in enumerate(sheets[0].lines):
        entries = [entry for sheet in sheets for entry in sheet.lines[place].entries]
        cells = []
        for column, entry in zip(columns, entries, strict=True):
            record = keys.get((line.name, column.label), {})
            cells.append(
                Cell(
                    text=plain(entry),
                    marks=entry.marks,
                    value=entry.value if isinstance(entry, Number) else None,
                    bold=entry.bold,
                    keys=tuple(record.get("keys", ())) if isinstance(entry, Number) else (),
                    hint=_hint(record),
                )
            )
        rows.append(Row(line.name, tuple(cells), mean=line.rule))
    told = dict.fromkeys(note for sheet in sheets for note in sheet.footnotes)
    return View(
        stem=table.stem,
        title=sheets[0].title.removesuffix(f" Part 1 of {len(sheets)}."),
        how=table.how,
        corner=sheets[0].corner,
        columns=columns,
        rows=tuple(rows),
        footnotes=tuple(told),
        settings=_settings(table),
        provenance=tuple((name, ", ".join(values)) for name, values in table.provenance.items()),
    )


def heading(head: Head) -> str:
    """A heading in one line."""
    return Column(head.text, head.group).label


def _keys(table: Printed) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The records by row and column; one without a column stands for all columns of its row."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    labels = [heading(head) for sheet in table.sheets for head in sheet.heads]
    for record in table.records:
        row = str(record.get("row", ""))
        for label in [str(record["column"])] if "column" in record else labels:
            found[row, label] = record
    return found


def _hint(record: Mapping[str, Any]) -> str:
    """Number of seeds and interval, in words."""
    parts = [f"n = {record['n']}"] if record.get("n") else []
    if record.get("low") is not None and record.get("high") is not None:
        low, high = (f"{100 * record[name]:.1f}" for name in ("low", "high"))
        parts.append(f"95 % interval {low} to {high}")
    return ", ".join(parts)


def _settings(table: Printed) -> tuple[tuple[str, str], ...]:
    """The fields equal in all runs, then by heading those that are not."""
    lines = [(name, str(value)) for name, value in table.common.items()]
    for label, fields in table.settings.items():
        if fields:
            told = "; ".join(f"{name} {value}" for name, value in fields.items())
            lines.append((label, told))
    return tuple(lines)
