"""Tables as Markdown to read and CSV to compute with."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reports.sheet import Entry, Head, Number, Sheet

_MARKDOWN = re.compile(r"([\\`*_\[\]<>&#|~$!])")


def markdown(sheet: Sheet) -> str:
    """A Markdown table, its caption above, its notes below."""
    names = [markdown_escape(sheet.corner), *(_title(head) for head in sheet.heads)]
    numeric = [
        any(isinstance(line.entries[column], Number) for line in sheet.lines)
        for column in range(len(sheet.heads))
    ]
    lines = [markdown_escape(sheet.title), "", f"| {' | '.join(names)} |"]
    lines.append(f"|---|{'|'.join('---:' if number else '---' for number in numeric)}|")
    for line in sheet.lines:
        name = markdown_escape(line.name)
        entries = [f"**{name}**" if line.rule and name else name]
        entries += [_markdown_entry(entry) for entry in line.entries]
        lines.append(f"| {' | '.join(entries)} |")
    for mark, text in sheet.footnotes:
        lines += [
            "",
            f"<sup>{mark}</sup> {markdown_escape(text)}" if mark else markdown_escape(text),
        ]
    return "\n".join(lines) + "\n"


def _title(head: Head) -> str:
    return markdown_escape(f"{head.group}, {head.text}" if head.group else head.text)


def markdown_escape(text: str) -> str:
    """`text` so that Markdown shows its characters, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def plain(entry: Entry) -> str:
    """An entry in percent: "94.6 ± 0.3"; words as they are."""
    if not isinstance(entry, Number):
        return entry.text
    value, spread = entry.text()
    return f"{value} ± {spread}" if spread else value


def _markdown_entry(entry: Entry) -> str:
    text = markdown_escape(plain(entry))
    text = f"**{text}**" if entry.bold and text else text
    return f"{text}<sup>{entry.marks}</sup>" if entry.marks else text


def comma_separated(records: Sequence[Mapping[str, Any]]) -> str:
    """CSV in full precision, a line per record; empty where there is no value, lists with spaces
    between."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for record in records for name in record))
    writer.writerow(names)
    writer.writerows([_field(record.get(name)) for name in names] for record in records)
    return text.getvalue()


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(round(value, 12))
    if isinstance(value, list | tuple):
        return " ".join(str(one) for one in value)
    return str(value)
