"""A table as it is printed: headings, numbers with spreads, words, footnotes. LaTeX, Markdown, CSV
and HTML are made from it, so that all say the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from reports.aggregate import Cell, Table
from reports.axes import CLASS, DATA_SET
from reports.captions import deviating, usual_n
from reports.methods import value_words

WIDEST = 8  # columns that fit the text width of an A4 page or of two columns
TALLEST = 42  # lines that fit a page below a caption
GAP = "–"


@dataclass(frozen=True)
class Number:
    """A value and its spread, printed times 100 with `decimals` behind the point."""

    value: float
    spread: float | None = None
    bold: bool = False
    marks: str = ""
    decimals: int = 1

    def text(self) -> tuple[str, str]:
        """Value and spread as printed; the spread empty where there is none."""
        spread = "" if self.spread is None else f"{100 * self.spread:.{self.decimals}f}"
        return f"{100 * self.value:.{self.decimals}f}", spread


@dataclass(frozen=True)
class Words:
    """Text in a column; `marks` are footnotes."""

    text: str
    bold: bool = False
    marks: str = ""


Entry = Number | Words


@dataclass(frozen=True)
class Head:
    """A column's heading; neighbours of one `group` share a heading above."""

    text: str
    group: str = ""


@dataclass(frozen=True)
class Line:
    """A row; `rule` draws a line above it."""

    name: str
    entries: tuple[Entry, ...]
    rule: bool = False


@dataclass(frozen=True)
class Sheet:
    """A printed table; `footnotes` are (mark, text), an empty mark for a remark on the whole."""

    stem: str
    title: str
    corner: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    footnotes: tuple[tuple[str, str], ...] = ()
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Printed:
    """One table in all its forms: `sheets` (several where it is too wide for a page) and `records`,
    the same content in full precision, each with the keys of its runs; `how` says how it was made.
    """

    stem: str
    kind: str
    metric: str
    how: str
    sheets: tuple[Sheet, ...]
    records: tuple[Mapping[str, Any], ...]
    provenance: Mapping[str, tuple[str, ...]]
    common: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]

    def keys(self) -> list[str]:
        """The keys of all runs behind it, sorted."""
        return sorted({key for record in self.records for key in record["keys"]})


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


def heads(labels: Sequence[str]) -> list[Head]:
    """Headings; what stands before the first comma is shared by neighbours that have it alike."""
    firsts = [label.partition(", ")[0] for label in labels]
    found = []
    for label, first in zip(labels, firsts, strict=True):
        rest = label.partition(", ")[2]
        found.append(Head(rest, first) if rest and firsts.count(first) > 1 else Head(label))
    return found


def numbers(cell: Cell | None) -> dict[str, Any]:
    """Mean, std, n, interval and keys of a cell for a record; empty where there is none."""
    if cell is None:
        return {"mean": None, "std": None, "n": 0, "low": None, "high": None, "keys": ()}
    low, high = cell.interval or (None, None)
    return {
        "mean": cell.mean,
        "std": cell.std,
        "n": cell.n,
        "low": low,
        "high": high,
        "keys": cell.keys,
    }


def _marks(table: Table) -> dict[int, str]:
    """A letter for each number of seeds that is not the usual one."""
    counts = sorted(set(deviating(table).values()))
    return {n: letter(place) for place, n in enumerate(counts)}


def letter(place: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    first, last = divmod(place, 26)
    return (letter(first - 1) if first else "") + chr(ord("a") + last)


def _seeds(n: int, usual: int) -> str:
    return f"{n} seed{'' if n == 1 else 's'} instead of {usual}."


def _entry(cell: Cell | None, bold: bool, marks: Mapping[int, str]) -> Entry:
    if cell is None:
        return Words(GAP)
    return Number(cell.mean, cell.std, bold=bold, marks=marks.get(cell.n, ""))


def comments(
    common: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    provenance: Mapping[str, tuple[str, ...]],
) -> tuple[str, ...]:
    """What stands below a table as comments: the runs' fields, and where the rows come from."""
    told: dict[str, list[str]] = {}
    for name, value in common.items():
        part, _, field = name.rpartition(".")
        told.setdefault(part, []).append(f"{field} {value_words(value)}")
    lines = [f"{part or 'run'}: {', '.join(fields)}" for part, fields in told.items()]
    for heading, fields in settings.items():
        if fields:
            words = ", ".join(f"{name} {value_words(value)}" for name, value in fields.items())
            lines.append(f"{heading}: {words}")
    lines += [f"{name}: {', '.join(values)}" for name, values in provenance.items()]
    return tuple(" ".join(line.split()) for line in lines)


def parts(sheet: Sheet) -> tuple[Sheet, ...]:
    """`sheet`, or as many of about equal size as it takes, the first columns first."""
    across = _slices(len(sheet.heads), WIDEST)
    down = _slices(len(sheet.lines), TALLEST)
    count = len(across) * len(down)
    if count < 2:
        return (sheet,)
    return tuple(
        _part(sheet, columns, lines, f" Part {number} of {count}.")
        for number, (columns, lines) in enumerate(product(across, down), 1)
    )


def _slices(length: int, most: int) -> list[slice]:
    count = max(-(-length // most), 1)
    size = max(-(-length // count), 1)
    return [slice(start, start + size) for start in range(0, max(length, 1), size)]


def _part(sheet: Sheet, columns: slice, lines: slice, title: str) -> Sheet:
    kept = [replace(line, entries=line.entries[columns]) for line in sheet.lines[lines]]
    used = {mark for line in kept for entry in line.entries for mark in entry.marks.split(",")}
    notes = tuple(note for note in sheet.footnotes if not note[0] or note[0] in used)
    return replace(
        sheet,
        title=f"{sheet.title}{title}",
        heads=sheet.heads[columns],
        lines=tuple(kept),
        footnotes=notes,
    )
