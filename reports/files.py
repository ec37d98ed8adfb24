"""The files of a report as text, and their names."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.latex import document, tabular
from reports.markup import fragment
from reports.sheet import Printed
from reports.text import comma_separated, markdown

SIDE_CAR_VERSION = 1
MANIFEST = "report.json"


def file_name(text: str) -> str:
    """`text` as part of a file name on any system: letters, digits, - and . stay, all else becomes
    one "_"."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text)


def texts(printed: Sequence[Printed]) -> dict[str, str]:
    """The content of every table file by its name: per part a LaTeX document, a tabular to
    \\input, Markdown and HTML; per table CSV and the side-car JSON."""
    found: dict[str, str] = {}
    for one in printed:
        stem = _free(file_name(one.stem), found)
        for number, sheet in enumerate(one.sheets):
            part = stem if len(one.sheets) == 1 else f"{stem}-{number + 1}"
            found[f"{part}.tex"] = document(sheet)
            found[f"{part}.tabular.tex"] = tabular(sheet)
            found[f"{part}.md"] = markdown(sheet)
            found[f"{part}.html"] = fragment(sheet)
        found[f"{stem}.csv"] = comma_separated(one.records)
        found[f"{stem}.json"] = side_car(one)
    return found


def _free(stem: str, taken: Mapping[str, object]) -> str:
    """`stem`, with a number where another table has it already."""
    number = 2
    name = stem
    while f"{name}.json" in taken:
        name, number = f"{stem}-{number}", number + 1
    return name


def side_car(printed: Printed) -> str:
    """JSON that tells of every cell its numbers, the keys of its runs and how it was computed; a
    line per cell."""
    head = {
        "side_car_version": SIDE_CAR_VERSION,
        "stem": printed.stem,
        "kind": printed.kind,
        "metric": printed.metric,
        "how": printed.how,
        "titles": [sheet.title for sheet in printed.sheets],
        "provenance": printed.provenance,
        "common": printed.common,
        "settings": printed.settings,
    }
    lines = [_json(_rounded(record)) for record in printed.records]
    cells = ",\n  ".join(lines)
    opening = ",\n".join(f' "{name}": {_json(value)}' for name, value in head.items())
    return f'{{\n{opening},\n "cells": [\n  {cells}\n ]\n}}\n'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _rounded(record: Mapping[str, Any]) -> dict[str, Any]:
    """Floats to 12 decimals: what follows differs between processors."""
    return {
        name: round(value, 12) if isinstance(value, float) else value
        for name, value in record.items()
    }


def write_all(out: Path, files: Mapping[str, str]) -> list[Path]:
    """Writes the files into `out`, each whole or not at all. Reports can be made again, so unlike
    rows they are not flushed to disk one by one."""
    paths = []
    for name, text in files.items():
        temporary = out / f".{name}.tmp"
        temporary.write_text(text, encoding="utf-8", newline="\n")
        paths.append(temporary.replace(out / name))
    return paths
