"""Tables as LaTeX: a tabular to \\input into a paper, and a document that compiles alone.

Needs booktabs and siunitx (version 2 or 3). The output is ASCII, so the paper's encoding and fonts
do not matter.
"""

import unicodedata
from collections.abc import Sequence

from reports.layout import broken, width
from reports.sheet import Entry, Number, Sheet

PACKAGES = "\\usepackage{booktabs}\n\\usepackage{siunitx}\n"
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\symbol{34}",  # a shorthand in some languages of babel
    "'": "'{}",  # two of them would join
    "-": "-{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "…": r"\ldots{}",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "°": r"$^{\circ}$",
    "²": r"$^{2}$",
    "³": r"$^{3}$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
_SMALL = 65  # characters of a line from which the document prints it small
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def escape(text: str) -> str:
    """`text` so that LaTeX prints its characters; those it has no letter for as U+XXXX, line ends
    and tabs as spaces."""
    return "".join(_escaped(character) for character in unicodedata.normalize("NFC", text))


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isspace():
        return " "
    if " " < character <= "~":
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        letter = {"i": r"\i", "j": r"\j"}.get(parts[0], parts[0])
        return f"\\{_ACCENTS[parts[1]]}{{{letter}}}"
    return f"U+{ord(character):04X}"


def tabular(sheet: Sheet) -> str:
    """The booktabs tabular to \\input into a table, with its notes below and its settings and
    provenance as comments."""
    numeric = [_is_numeric(sheet, column) for column in range(len(sheet.heads))]
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage{siunitx}",
        f"\\begin{{tabular}}{{@{{}}l{_preamble(sheet, numeric)}@{{}}}}",
        r"\toprule",
        *_headings(sheet, numeric),
        r"\midrule",
    ]
    widths = [_spread_digits(sheet, column) for column in range(len(sheet.heads))]
    for line in sheet.lines:
        if line.rule:
            lines.append(r"\midrule")
        entries = [
            _number(entry, width) if number else _words(entry)
            for entry, number, width in zip(line.entries, numeric, widths, strict=True)
        ]
        # Braces: a name that begins with "[" or "*" would be read as part of the line break.
        lines.append(rf"{{{escape(line.name)}}} & {' & '.join(entries)} \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if sheet.footnotes:
        told = r"\\ ".join(f"{_mark(mark)}{escape(text)}" for mark, text in sheet.footnotes)
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {told}}}")
    lines += [f"% {comment}" for comment in sheet.comments]
    return "\n".join(lines) + "\n"


def _is_numeric(sheet: Sheet, column: int) -> bool:
    return any(isinstance(line.entries[column], Number) for line in sheet.lines)


def _preamble(sheet: Sheet, numeric: Sequence[bool]) -> str:
    found = []
    for column, number in enumerate(numeric):
        if not number:
            found.append("l")
            continue
        values = [
            entry.text()[0].partition(".")
            for line in sheet.lines
            if isinstance(entry := line.entries[column], Number)
        ]
        whole, behind = (max(len(value[part]) for value in values) for part in (0, 2))
        found.append(rf"S[table-format={whole}.{behind},detect-weight]@{{\,}}l")
    return "".join(found)


def _headings(sheet: Sheet, numeric: Sequence[bool]) -> list[str]:
    spans = [2 if number else 1 for number in numeric]
    lines = []
    if any(head.group for head in sheet.heads):
        above, rules, place, column = [], [], 2, 0
        while column < len(sheet.heads):
            group = sheet.heads[column].group
            last = column
            while group and last + 1 < len(spans) and sheet.heads[last + 1].group == group:
                last += 1
            width = sum(spans[column : last + 1])
            above.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group)}}}" if group else "")
            above[-1] += "" if group else " &" * (width - 1)
            if group:
                rules.append(rf"\cmidrule(lr){{{place}-{place + width - 1}}}")
            place, column = place + width, last + 1
        lines += [f"& {' & '.join(above)} \\\\", " ".join(rules)]
    corner = _broken(sheet.corner[:1].upper() + sheet.corner[1:], align="l")
    texts = []
    for head, span, number in zip(sheet.heads, spans, numeric, strict=True):
        align = "c" if number else "l"
        text = _broken(head.text, align=align)
        texts.append(rf"\multicolumn{{{span}}}{{{align}}}{{{text}}}")
    return [*lines, f"{{{corner}}} & {' & '.join(texts)} \\\\"]


def _broken(text: str, *, align: str = "c") -> str:
    """A long heading over several lines."""
    lines = broken(text)
    if len(lines) < 2:
        return escape(text)
    inner = r" \\ ".join(f"{{{escape(line)}}}" for line in lines)
    return rf"\begin{{tabular}}[b]{{@{{}}{align}@{{}}}}{inner}\end{{tabular}}"


def _spread_digits(sheet: Sheet, column: int) -> int:
    """Characters of the widest spread of a column."""
    entries = [line.entries[column] for line in sheet.lines]
    return max((len(entry.text()[1]) for entry in entries if isinstance(entry, Number)), default=0)


def _number(entry: Entry, width: int) -> str:
    """Two cells: the value, and its spread with footnote marks."""
    if not isinstance(entry, Number):
        text = escape(entry.text)
        return (
            rf"{{\bfseries {text}}} & {_mark(entry.marks)}"
            if entry.bold
            else (f"{{{text}}} & {_mark(entry.marks)}")
        )
    value, spread = entry.text()
    if entry.bold:
        value = rf"\bfseries {value}"
    if not spread:
        return f"{value} & {_mark(entry.marks)}"
    missing = width - len(spread)
    space = rf"\phantom{{{'0' * missing}}}" if missing else ""
    return rf"{value} & $\,\pm\;${space}{spread}{_mark(entry.marks)}"


def _words(entry: Entry) -> str:
    text = escape(entry.text) if not isinstance(entry, Number) else ""
    text = rf"\textbf{{{text}}}" if entry.bold else f"{{{text}}}"
    return text + _mark(entry.marks)


def _mark(mark: str) -> str:
    return rf"\textsuperscript{{{mark}}}" if mark else ""


def document(sheet: Sheet) -> str:
    """A LaTeX document with the table and its caption, which compiles alone."""
    return (
        "\\documentclass[10pt]{article}\n"
        "\\usepackage[a4paper,margin=25mm]{geometry}\n"
        f"{PACKAGES}"
        "\\setlength{\\belowcaptionskip}{6pt}\n"
        "\\begin{document}\n\\begin{table}\n\\centering\n"
        f"\\caption{{{escape(sheet.title)}}}\n"
        f"{_small(sheet)}{tabular(sheet)}\\end{{table}}\n\\end{{document}}\n"
    )


def _small(sheet: Sheet) -> str:
    return "\\small\\setlength{\\tabcolsep}{4pt}\n" if width(sheet) > _SMALL else ""
