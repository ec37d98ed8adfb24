"""How much fits on a page: tables that are too wide or too long come in parts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

from reports.sheet import Head, Number, Sheet

WIDEST = 88  # characters of a line that fit a text width of 397 pt (ICLR) in small print
TALLEST = 42  # lines that fit a page below a caption
LONGEST = 18  # characters of a heading before it is broken


def parts(sheet: Sheet) -> tuple[Sheet, ...]:
    """`sheet`, or as many as it takes to fit pages, the first columns first; columns that share a
    heading stay together where they can."""
    across = [slice(0, len(sheet.heads))] if sheet.whole else _columns(sheet)
    down = _slices(len(sheet.lines), TALLEST)
    count = len(across) * len(down)
    if count < 2:
        return (sheet,)
    return tuple(
        _part(sheet, columns, lines, f" Part {number} of {count}.")
        for number, (columns, lines) in enumerate(product(across, down), 1)
    )


def broken(text: str) -> list[str]:
    """A heading over several lines."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and len(lines[-1]) + len(word) < LONGEST:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _columns(sheet: Sheet) -> list[slice]:
    """Slices of columns whose lines are not wider than WIDEST."""
    widths = [_width(sheet, column) for column in range(len(sheet.heads))]
    room = WIDEST - _first_width(sheet)
    units = _units(sheet.heads)
    if len(units) == len(widths) or any(sum(widths[unit]) > room for unit in units):
        return _pieces(widths, room)
    pieces = _filled([sum(widths[unit]) for unit in units], room)
    return [slice(units[one.start].start, units[one.stop - 1].stop) for one in pieces]


def _pieces(widths: Sequence[float], room: float) -> list[slice]:
    """As few slices as hold `widths`; of equal length where those fit."""
    filled = _filled(widths, room)
    equal = _slices(len(widths), -(-len(widths) // len(filled)))
    return equal if all(sum(widths[piece]) <= room for piece in equal) else filled


def _filled(widths: Sequence[float], room: float) -> list[slice]:
    """Slices filled one after the other; each holds one at least."""
    filled = [slice(0, 0)]
    for place, one in enumerate(widths):
        if place > filled[-1].start and sum(widths[filled[-1].start : place]) + one > room:
            filled.append(slice(place, place))
        filled[-1] = slice(filled[-1].start, place + 1)
    return filled


def width(sheet: Sheet) -> float:
    """The width of a line in characters of average width."""
    return _first_width(sheet) + sum(_width(sheet, place) for place in range(len(sheet.heads)))


def _first_width(sheet: Sheet) -> float:
    return max(map(_measure, (*broken(sheet.corner), *(line.name for line in sheet.lines))))


def _measure(text: str) -> float:
    """Characters of average width; capitals are wider."""
    return len(text) + 0.35 * sum(map(str.isupper, text))


def _units(heads: Sequence[Head]) -> list[slice]:
    """Neighbours that share a heading, and all others alone."""
    found: list[slice] = []
    for place, head in enumerate(heads):
        if found and head.group and heads[place - 1].group == head.group:
            found[-1] = slice(found[-1].start, place + 1)
        else:
            found.append(slice(place, place + 1))
    return found


def _width(sheet: Sheet, column: int) -> float:
    """Characters of the widest text of a column, and the space beside it."""
    texts = [*broken(sheet.heads[column].text)]
    for line in sheet.lines:
        entry = line.entries[column]
        shown = " ± ".join(filter(None, entry.text())) if isinstance(entry, Number) else entry.text
        texts.append(shown + entry.marks)
    return max(map(_measure, texts)) + 2


def _slices(length: int, most: int) -> list[slice]:
    """Slices of about equal length that cover `length`."""
    count = max(-(-length // most), 1)
    size = max(-(-length // count), 1)
    return [slice(start, min(start + size, length)) for start in range(0, max(length, 1), size)]


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
