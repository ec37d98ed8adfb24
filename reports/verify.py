"""Whether a report still says what the rows and scores say: every number is computed again."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import results
from pipeline.results import Place, place_of
from reports.build import build
from reports.files import MANIFEST, texts
from reports.intervals import Resampling
from reports.methods import RUN
from reports.rescore import IMAGE, PIXEL, metrics_of
from reports.rows import METRICS, Rows, flatten
from reports.tables import Options
from reports.write import digest, read_manifest

_NEAR = 1e-9  # float64 sums in another order
# evaluation.pixels="exact" keeps every pixel, its histogram only bins of 1/2048 of their value.
_BINNED = 2e-3
_STEP = 500
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Verified:
    """What was checked, and every fault in one line each; none if all is well."""

    num_files: int
    num_cells: int
    num_runs: int
    faults: tuple[str, ...]


def verify(
    out: Path,
    *,
    folders: Sequence[Place] | None = None,
    progress: Progress = lambda text: None,
) -> Verified:
    """Checks the report in `out` against the output folders it was made of (or `folders`, where
    they have moved).

    A file that is missing or was edited, a printed number or a side-car's that the rows no longer
    give, a row that is not what was planned or whose metrics do not follow from its scores or
    histograms: each is named. Raises ValueError when `out` is no report.
    """
    manifest = read_manifest(out)
    if folders is None:
        folders = [
            place_of(name) if "://" in name else (out / name).resolve()
            for name in manifest["folders"]
        ]
    faults = _edited(out, manifest["files"])
    try:
        report = build(list(folders), _options(manifest["options"]), progress=progress)
    except ValueError as error:
        faults.append(f"the report cannot be made again from its rows: {error}")
        return Verified(len(manifest["files"]), 0, 0, tuple(faults))
    expected = texts(report.printed)
    num_cells = 0
    for name in sorted({*expected, *(n for n in manifest["files"] if _is_table(n))}):
        cells, found = _compared(out / name, expected.get(name), name in manifest["files"])
        num_cells += cells
        faults += found
    faults += _unlike_plan(report.rows)
    faults += _unlike_scores(report.rows, progress)
    num_runs = int(report.rows.present.sum())
    return Verified(len(manifest["files"]), num_cells, num_runs, tuple(faults))


def _options(stored: Mapping[str, Any]) -> Options:
    return Options(
        **{
            **stored,
            "metrics": tuple(stored["metrics"]),
            "resampling": Resampling(**stored["resampling"]),
        }
    )


def _edited(out: Path, files: Mapping[str, str]) -> list[str]:
    faults = []
    for name, known in files.items():
        if not (out / name).is_file():
            faults.append(f"{name} is missing; make the report again")
        elif digest(out / name) != known:
            faults.append(f"{name} was edited after the report was made")
    return faults


def _is_table(name: str) -> bool:
    return "/" not in name and name not in (MANIFEST, "index.html")


def _compared(path: Path, expected: str | None, listed: bool) -> tuple[int, list[str]]:
    """The number of cells checked in a table file, and its faults."""
    name = path.name
    if expected is None:
        return 0, [f"{name} is stale: the rows no longer give this table"]
    if not listed:
        return 0, [f"{name} is missing: the rows give it, the report was made without it"]
    if not path.is_file():
        return 0, []  # named already
    found = path.read_bytes()
    if path.suffix == ".json":
        return _side_car(name, found, expected)
    if path.suffix == ".csv":
        return 0, _numbers(name, found, expected)
    if found == expected.encode():
        return 0, []
    return 0, [f"{name} does not print what the rows give{_first_line(found, expected)}"]


def _first_line(found: bytes, expected: str) -> str:
    """The first line that differs, for the reader to see what is at stake."""
    lines = found.decode(errors="replace").split("\n")
    for number, (one, other) in enumerate(zip(lines, expected.split("\n"), strict=False), 1):
        if one != other:
            return f": line {number} is {_short(one)}, should be {_short(other)}"
    return ": lines are missing or too many"


def _short(line: str) -> str:
    return repr(line if len(line) <= 90 else f"{line[:90]}...")


def _side_car(name: str, found: bytes, expected: str) -> tuple[int, list[str]]:
    right = json.loads(expected)
    try:
        left = json.loads(found)
        cells = left["cells"]
        places = [(cell["row"], cell["column"]) for cell in cells]
    except (ValueError, KeyError, TypeError) as error:
        return 0, [f"{name} is no side-car ({type(error).__name__}: {error})"]
    faults = []
    by_place = {(cell["row"], cell["column"]): cell for cell in right["cells"]}
    for place, cell in zip(places, cells, strict=True):
        other = by_place.pop(place, None)
        if other is None:
            faults.append(f"{name}: {', '.join(place)} is not in the rows")
        else:
            faults += [f"{name}: {text}" for text in _unlike(cell, other, place)]
    faults += [f"{name}: {', '.join(place)} is missing" for place in by_place]
    for field in sorted(set(right) - {"cells"}):
        if left.get(field) != right[field]:
            faults.append(f"{name}: {field} is not that of the rows")
    return len(cells), faults


def _unlike(cell: Mapping[str, Any], other: Mapping[str, Any], place: Sequence[str]) -> list[str]:
    """The entries of a cell that differ, as text."""
    faults = []
    for field in dict.fromkeys((*other, *cell)):
        one, right = cell.get(field), other.get(field)
        if _same(one, right):
            continue
        if field == "keys":
            faults.append(f"{', '.join(place)} is stale: its runs are {_runs(one, right)}")
        else:
            faults.append(f"{', '.join(place)}: {field} is {one}, the rows give {right}")
    return faults


def _runs(one: object, right: object) -> str:
    known, now = (set(keys) if isinstance(keys, list) else set() for keys in (one, right))
    added = f"; added {' '.join(sorted(now - known)[:3])}" if now - known else ""
    gone = f"; gone {' '.join(sorted(known - now)[:3])}" if known - now else ""
    return f"{len(now)} now, {len(known)} in the report{added}{gone}"


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=_NEAR)
    return type(one) is type(other) and one == other


def _numbers(name: str, found: bytes, expected: str) -> list[str]:
    """Faults of a CSV file, numbers compared as such."""
    lines = list(csv.reader(io.StringIO(found.decode(errors="replace"))))
    rightly = list(csv.reader(io.StringIO(expected)))
    if len(lines) != len(rightly):
        return [f"{name} has {len(lines)} lines, the rows give {len(rightly)}"]
    faults = []
    for number, (one, other) in enumerate(zip(lines, rightly, strict=True), 1):
        if len(one) != len(other) or not all(map(_same_text, one, other)):
            faults.append(f"{name}: line {number} ({', '.join(other[:2])}) is not what rows give")
    return faults


def _same_text(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return _same(float(one), float(other))
    except ValueError:
        return False


def _unlike_plan(rows: Rows) -> list[str]:
    """Rows that do not say what was planned under their key: edited to pass for another run."""
    faults = []
    places = {key: place for place, key in enumerate(rows.keys) if rows.present[place]}
    for folder in rows.folders:
        for key, entry in results.read_plan(folder).items():
            if key not in places:
                continue
            planned = flatten(entry["run"])
            place = places[key]
            for name in RUN:
                if rows.value(name, place) != planned[name]:
                    faults.append(
                        f"row {key} says {name} {rows.value(name, place)}, the plan of {folder} "
                        f"{planned[name]}; one of them was edited: run it again"
                    )
    return faults


def _unlike_scores(rows: Rows, progress: Progress) -> list[str]:
    """Rows whose metrics do not follow from their scores and histograms."""
    faults = []
    places = np.flatnonzero(rows.present).tolist()
    for number, place in enumerate(places, 1):
        for wanted in (IMAGE, PIXEL):
            try:
                found = metrics_of(rows, place, wanted)
            except ValueError as error:
                faults.append(str(error))
                continue
            exact = wanted is PIXEL and rows.value("evaluation.pixels", place) == "exact"
            for name, value in found.items():
                if not abs(value - rows.own[name][place]) <= (_BINNED if exact else _NEAR):
                    faults.append(
                        f"{METRICS[name]} of {rows.describe(place)} ({rows.keys[place]}) is "
                        f"{rows.own[name][place]:.6f} in its row, its "
                        f"{'scores' if wanted is IMAGE else 'histograms'} give {value:.6f}"
                    )
        if number % _STEP == 0 or number == len(places):
            progress(f"metrics recomputed: {number} of {len(places)} runs")
    return faults
