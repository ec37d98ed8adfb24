"""From rows to the cells of a table: mean, sample standard deviation and n over seeds."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import results

_RUN = results.SCHEMA.names[
    results.SCHEMA.names.index("data.name") : results.SCHEMA.names.index("class_name")
]
# Fields that a per-class table goes over; all others must be equal within one table.
_OVER = ("data.normal_class", "seed", "threads")
_SETTING = [name for name in _RUN if name not in _OVER]
_NAMED = 10  # runs that an error names before it counts
METRICS = {"image_auroc": "AUROC", "image_ap": "AP"}


@dataclass(frozen=True)
class Cell:
    """Mean, sample standard deviation (ddof 1; None below two values), n, and the runs' keys."""

    mean: float
    std: float | None
    n: int
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One setting: a cell per class (None = no run) and the mean over classes.

    The mean row's spread is that over seeds of the class mean, its n the number of complete seeds.
    """

    metric: str
    setting: Mapping[str, Any]
    classes: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    mean: Cell | None
    provenance: Mapping[str, tuple[str, ...]]


def summarise(values: Mapping[str, float]) -> Cell:
    """The cell of values by run key."""
    numbers = list(values.values())
    return Cell(
        mean=statistics.fmean(numbers),
        std=statistics.stdev(numbers) if len(numbers) > 1 else None,
        n=len(numbers),
        keys=tuple(values),
    )


def per_class(
    folders: Iterable[Path], *, metric: str = "image_auroc", allow_missing: bool = False
) -> list[Table]:
    """One table per setting found in the output folders, in the order of their settings.

    Raises ValueError for missing (unless allowed), duplicate or contradictory rows, for a metric
    that is absent or NaN, and for folders without rows; each is named.
    """
    folders = list(folders)
    rows = _read(folders)
    planned = _planned(folders)
    _refuse_missing(planned, {row["key"] for row in rows}, allow_missing=allow_missing)
    if metric not in METRICS:
        raise ValueError(f"no metric {metric!r}; known: {', '.join(METRICS)}")
    for row in rows:
        value = row[metric]
        if value is None or not math.isfinite(value):
            raise ValueError(
                f"{metric} of {_describe(row)} ({row['key']}) is {value}; "
                "delete its row and run it again"
            )
    settings: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        settings.setdefault(_setting(row), []).append(row)
    expected: dict[tuple, set[int]] = {}
    for run in planned.values():
        expected.setdefault(_setting(run), set()).add(run["data.normal_class"])
    return [
        _table(setting, settings.get(setting, []), metric, expected.get(setting, set()))
        for setting in sorted({*settings, *expected}, key=repr)
    ]


def _read(folders: list[Path]) -> list[dict[str, Any]]:
    seen: dict[str, Path] = {}
    rows: list[dict[str, Any]] = []
    for folder in folders:
        found = results.read_rows([folder])
        if not found:
            raise ValueError(f"no rows in {folder}; run a benchmark there first: fcdd run")
        for row in found:
            if row["key"] in seen:
                raise ValueError(
                    f"run {row['key']} ({_describe(row)}) stands in {seen[row['key']]} and in "
                    f"{folder}; report one of the two folders or remove one row"
                )
            seen[row["key"]] = folder
            rows.append(row)
    return rows


def _planned(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    planned = {}
    for folder in folders:
        plan = results.read_plan(folder)
        if not plan:
            raise ValueError(
                f"{folder} has no plan.json, so missing runs would not be noticed; "
                "run the same `fcdd run` again, which writes it"
            )
        for key, entry in plan.items():
            flat: dict[str, Any] = {}
            for name, value in entry["run"].items():
                if isinstance(value, dict):
                    flat.update({f"{name}.{inner}": v for inner, v in value.items()})
                else:
                    flat[name] = value
            planned[key] = flat
    return planned


def _refuse_missing(
    planned: Mapping[str, Mapping[str, Any]], present: set[str], *, allow_missing: bool
) -> None:
    missing = sorted(set(planned) - present, key=lambda key: (_describe(planned[key]), key))
    if missing and not allow_missing:
        named = "; ".join(f"{_describe(planned[key])} ({key})" for key in missing[:_NAMED])
        more = f"; and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise ValueError(
            f"{len(missing)} of {len(planned)} planned runs have no row: {named}{more}; "
            "run the same `fcdd run` again, or print the gaps as dashes with --allow-missing"
        )


def _describe(run: Mapping[str, Any]) -> str:
    name = run.get("class_name", run["data.normal_class"])
    return f"{run['data.name']} class {name} seed {run['seed']}"


def _setting(run: Mapping[str, Any]) -> tuple:
    return tuple(
        tuple(value) if isinstance(value := run[name], list) else value for name in _SETTING
    )


def _table(setting: tuple, rows: list[dict[str, Any]], metric: str, expected: set[int]) -> Table:
    _refuse_mixed(rows)
    values: dict[int, dict[int, dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["data.normal_class"], row["seed"], row["key"])):
        seeds = values.setdefault(row["data.normal_class"], {})
        if row["seed"] in seeds:
            raise ValueError(
                f"two rows for {_describe(row)}: {seeds[row['seed']]['key']} and {row['key']}; "
                "they differ in data, pool or threads; report them from separate folders"
            )
        seeds[row["seed"]] = row
    numbers = sorted(set(values) | expected)
    names = {row["data.normal_class"]: row["class_name"] for row in rows}
    cells = [
        summarise({row["key"]: row[metric] for row in values[number].values()})
        if number in values
        else None
        for number in numbers
    ]
    return Table(
        metric=metric,
        setting=dict(zip(_SETTING, setting, strict=True)),
        classes=tuple(names.get(number, str(number)) for number in numbers),
        cells=tuple(cells),
        mean=_mean(values, numbers, metric),
        provenance=_provenance(rows),
    )


def _refuse_mixed(rows: list[dict[str, Any]]) -> None:
    for name in ("data_fingerprint", "outliers_fingerprint"):
        contents = {row[name]: row for row in rows}
        if len(contents) > 1:
            examples = "; ".join(
                f"{_describe(row)} has {name} {key}" for key, row in contents.items()
            )
            raise ValueError(
                f"rows of one table were made on different images: {examples}; "
                "report them from separate folders"
            )


def _mean(
    values: Mapping[int, Mapping[int, Mapping[str, Any]]], numbers: list[int], metric: str
) -> Cell | None:
    if not numbers or any(number not in values for number in numbers):
        return None  # a mean over some of the classes would look like the mean over all
    seeds = set.intersection(*(set(values[number]) for number in numbers))
    if not seeds:
        return None
    means = [
        statistics.fmean(values[number][seed][metric] for number in numbers)
        for seed in sorted(seeds)
    ]
    keys = [values[number][seed]["key"] for seed in sorted(seeds) for number in numbers]
    return Cell(
        mean=statistics.fmean(means),
        std=statistics.stdev(means) if len(means) > 1 else None,
        n=len(means),
        keys=tuple(keys),
    )


def _provenance(rows: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    names = (
        *("protocol", "seed", "determinism", "commit", "dirty"),
        *("version.fcdd", "version.python", "version.torch", "version.numpy"),
        *("cpu", "device", "data_fingerprint", "outliers_fingerprint"),
    )
    return {name: tuple(sorted({str(row[name]) for row in rows})) for name in names}
