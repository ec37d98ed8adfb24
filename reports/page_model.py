"""What the page shows of a table: one view per printed table, cells with the keys of their runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reports.rows import METRICS
from reports.sheet import Line, Number, Printed, Sheet
from reports.text import plain

_BRACKETS = re.compile(r" \([^)]*\)")
_END = re.compile(r"[.:] ")
_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")


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
    """A cell as it reads, the number it sorts by (None: by its text), whether that is a metric, and
    the runs behind it."""

    text: str
    marks: str
    value: float | None
    metric: bool
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
    heading: str
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
    """The view of a printed table, its parts put together again."""
    columns, lines = _whole(table.sheets)
    records = _Records(table)
    rows = []
    for line in lines:
        cells = []
        for column, entry in zip(columns, line.entries, strict=True):
            number = isinstance(entry, Number)
            record = records.of(line.name, column)
            cells.append(
                Cell(
                    text=plain(entry),
                    marks=entry.marks,
                    value=entry.value if number else _leading(plain(entry)),
                    metric=number,
                    bold=entry.bold,
                    keys=tuple(record.get("keys", ())),
                    hint=_hint(record),
                )
            )
        rows.append(Row(line.name, tuple(cells), mean=line.rule))
    first, count = table.sheets[0], len(table.sheets)
    title = first.title.removesuffix(f" Part 1 of {count}.")
    return View(
        stem=table.stem,
        heading=_heading(title),
        title=title,
        how=table.how,
        corner=first.corner,
        columns=tuple(columns),
        rows=tuple(rows),
        footnotes=tuple(dict.fromkeys(note for one in table.sheets for note in one.footnotes)),
        settings=_settings(table),
        provenance=tuple((name, ", ".join(values)) for name, values in table.provenance.items()),
    )


def _heading(title: str) -> str:
    """The first sentence of a caption, or its part before a colon, without what stands in brackets;
    not much longer than a line."""
    short = _BRACKETS.sub("", title)
    short = _END.split(short, maxsplit=1)[0].removesuffix(".")
    return short if len(short) <= 90 else f"{short[:90].rpartition(' ')[0].rstrip(',')} …"


def _whole(sheets: Sequence[Sheet]) -> tuple[list[Column], list[Line]]:
    """The columns and lines of a table whose parts are `sheets`, the first columns first."""
    blocks: list[list[Sheet]] = []
    for sheet in sheets:
        if blocks and blocks[-1][0].heads == sheet.heads:
            blocks[-1].append(sheet)  # further lines of the same columns
        else:
            blocks.append([sheet])
    columns = [Column(head.text, head.group) for block in blocks for head in block[0].heads]
    lines = [line for sheet in blocks[0] for line in sheet.lines]
    for block in blocks[1:]:
        beside = [line for sheet in block for line in sheet.lines]
        lines = [
            replace(line, entries=(*line.entries, *other.entries))
            for line, other in zip(lines, beside, strict=True)
        ]
    return columns, lines


class _Records:
    """The records of a table by row and column: which runs are behind a cell."""

    def __init__(self, table: Printed) -> None:
        self._found = {
            (str(record.get("row", "")), str(record.get("column", ""))): record
            for record in table.records
        }
        columns = {column for _, column in self._found}
        self._only = columns.pop() if len(columns) == 1 else None

    def of(self, row: str, column: Column) -> Mapping[str, Any]:
        """The record of a cell: of its column by name, else (where the heading is "ours" or the
        metric) of its group, of the only method there is, or of the mean of the method that its
        line names. Empty for numbers of others."""
        places = [(row, column.label.removeprefix("ours, "))]
        if column.text.partition(" [")[0] in ("ours", *METRICS.values()):
            places += [(row, column.group), (row, self._only or ""), ("mean", row)]
        return next((self._found[place] for place in places if place in self._found), {})


def _leading(text: str) -> float | None:
    """The number that `text` begins with, as "−0.4 [−1.2, 0.3]" does."""
    found = _NUMBER.match(text)
    return float(found[0].replace("−", "-")) if found else None


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
