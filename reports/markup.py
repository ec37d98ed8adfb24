"""Tables as HTML: a fragment to put into a page."""

import html
import re

from reports.sheet import Entry, Number, Sheet
from reports.text import plain

_NOT_IN_HTML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


def fragment(sheet: Sheet) -> str:
    """A <figure> with the table, its caption and its notes; provenance as a closed <details>."""
    lines = [
        '<figure class="fcdd-table">',
        "<table>",
        f"<caption>{escape(sheet.title)}</caption>",
        "<thead>",
        *_headings(sheet),
        "</thead>",
        "<tbody>",
    ]
    for line in sheet.lines:
        entries = "".join(_entry(entry) for entry in line.entries)
        kind = ' class="mean"' if line.rule else ""
        lines.append(f'<tr{kind}><th scope="row">{escape(line.name)}</th>{entries}</tr>')
    lines += ["</tbody>", "</table>"]
    if sheet.footnotes or sheet.comments:
        lines.append("<figcaption>")
        lines += [f"<p>{_mark(mark)}{escape(text)}</p>" for mark, text in sheet.footnotes]
        lines.append("<details><summary>Settings and provenance</summary><ul>")
        lines += [f"<li>{escape(comment)}</li>" for comment in sheet.comments]
        lines += ["</ul></details>", "</figcaption>"]
    return "\n".join([*lines, "</figure>"]) + "\n"


def escape(text: str) -> str:
    """`text` so that a browser shows its characters, inside and outside of attributes."""
    return html.escape(_NOT_IN_HTML.sub("\ufffd", text))


def _headings(sheet: Sheet) -> list[str]:
    grouped = any(head.group for head in sheet.heads)
    corner = f'<th scope="col"{" rowspan=2" * grouped}>{escape(sheet.corner)}</th>'
    if not grouped:
        texts = "".join(f'<th scope="col">{escape(head.text)}</th>' for head in sheet.heads)
        return [f"<tr>{corner}{texts}</tr>"]
    above, column = [], 0
    while column < len(sheet.heads):
        head = sheet.heads[column]
        last = column
        while head.group and last + 1 < len(sheet.heads):
            if sheet.heads[last + 1].group != head.group:
                break
            last += 1
        if head.group:
            width = last - column + 1
            above.append(f'<th scope="colgroup" colspan="{width}">{escape(head.group)}</th>')
        else:
            above.append(f'<th scope="col" rowspan="2">{escape(head.text)}</th>')
        column = last + 1
    below = "".join(f'<th scope="col">{escape(h.text)}</th>' for h in sheet.heads if h.group)
    return [f"<tr>{corner}{''.join(above)}</tr>", f"<tr>{below}</tr>"]


def _entry(entry: Entry) -> str:
    text = escape(plain(entry))
    text = f"<strong>{text}</strong>" if entry.bold else text
    kind = ' class="number"' if isinstance(entry, Number) else ""
    return f"<td{kind}>{text}{_mark(entry.marks)}</td>"


def _mark(mark: str) -> str:
    return f"<sup>{mark}</sup>" if mark else ""
