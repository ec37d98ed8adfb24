"""A table as it is printed: headings, numbers with spreads, words, footnotes. LaTeX, Markdown, CSV
and HTML are made from it, so that all say the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.aggregate import Cell
from reports.methods import value_words

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
    """A printed table; `footnotes` are (mark, text), an empty mark for a remark on the whole. The
    columns of a `whole` one are never parted."""

    stem: str
    title: str
    corner: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    footnotes: tuple[tuple[str, str], ...] = ()
    comments: tuple[str, ...] = ()
    whole: bool = False


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


def letter(place: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    first, last = divmod(place, 26)
    return (letter(first - 1) if first else "") + chr(ord("a") + last)


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
