"""The rows of output folders as columns, checked: what every table starts from.

100,000 rows as Python mappings would take gigabytes; here each column is an array of codes into its
distinct values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import results
from pipeline.results import Place
from reports.methods import RUN, hashable, order

METRICS = {
    "image_auroc": "AUROC",
    "image_ap": "AP",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_pro": "PRO",
}
CIRCUMSTANCES = (
    *("protocol", "seed", "determinism", "commit", "dirty"),
    *("version.fcdd", "version.python", "version.torch", "version.numpy"),
    *("cpu", "device", "data_fingerprint", "outliers_fingerprint"),
)
_COUNTS = ("num_test", "num_test_anomalous", "num_outliers")
_CODED = tuple(dict.fromkeys((*RUN, "class_name", *CIRCUMSTANCES, *_COUNTS)))
_NAMED = 10  # runs that an error names before it counts


@dataclass(frozen=True)
class Rows:
    """Rows of `folders`, then the planned runs that have none (`present` False), all arrays [n].

    `codes[column]` are places in `levels[column]`, -1 where a planned run has no value yet.
    `metrics[name]` are in [0, 1], NaN where a row has none or where there is no row;
    `without[name]` tells the rows that have none, which is no fault: data without masks.
    """

    folders: tuple[Place, ...]
    keys: tuple[str, ...]
    folder: np.ndarray
    present: np.ndarray
    codes: Mapping[str, np.ndarray]
    levels: Mapping[str, tuple]
    metrics: Mapping[str, np.ndarray]
    without: Mapping[str, np.ndarray]
    num_labelled: np.ndarray  # labelled images that each run trained on
    own: Mapping[str, np.ndarray]  # `metrics` as they stand in the rows, also when rescored

    def value(self, column: str, place: int) -> Any:
        """The value of `column` in the row at `place`; None where there is none yet."""
        code = int(self.codes[column][place])
        return self.levels[column][code] if code >= 0 else None

    def setting(self, place: int) -> dict[str, Any]:
        """All fields of the Run at `place`."""
        return {name: self.value(name, place) for name in RUN}

    def values(self, column: str, places: np.ndarray) -> list[Any]:
        """The distinct values of `column` at `places`, in order."""
        codes = np.unique(self.codes[column][places])
        return sorted((self.levels[column][code] for code in codes if code >= 0), key=order)

    def groups(self, columns: Sequence[str], places: np.ndarray) -> list[np.ndarray]:
        """`places` sorted into groups equal in all `columns`, by the first place of each."""
        if not len(places):
            return []
        ids = np.zeros(len(places), dtype=np.int64)
        for column in columns:
            codes = self.codes[column][places]
            if (codes != codes[0]).any():
                pairs = ids * (len(self.levels[column]) + 1) + codes
                ids = np.unique(pairs, return_inverse=True)[1]
        sequence = np.argsort(ids, kind="stable")
        starts = np.flatnonzero(np.diff(ids[sequence], prepend=-1))
        found = np.split(places[sequence], starts[1:])
        return sorted(found, key=lambda group: int(group[0]))

    def describe(self, place: int) -> str:
        """The run at `place` in words: data set, class and seed."""
        name = self.value("class_name", place)
        name = self.value("data.normal_class", place) if name is None else name
        return f"{self.value('data.name', place)} class {name} seed {self.value('seed', place)}"


def load(folders: Iterable[Place], *, allow_missing: bool = False) -> Rows:
    """The rows of `folders`, and with `allow_missing` the planned runs without one.

    Raises ValueError for folders without rows or plan, for runs that stand in two folders, and for
    planned runs without a row (unless allowed); each is named.
    """
    folders = list(dict.fromkeys(folders))
    if not folders:
        raise ValueError("no folder to report; give the DIR of at least one `fcdd run --out DIR`")
    names = ["key", "labelled_files", *_CODED, *METRICS]
    tables = [results.read_table(folder, names) for folder in folders]
    missing: dict[str, dict[str, Any]] = {}
    num_planned = 0
    seen: dict[str, Place] = {}
    for folder, table in zip(folders, tables, strict=True):
        if not len(table):
            raise ValueError(f"no rows in {folder}; run a benchmark there first: fcdd run")
        keys = table["key"].to_pylist()
        twice = next((key for key in keys if key in seen), None)
        if twice:
            raise ValueError(
                f"run {twice} ({_named(table, keys.index(twice))}) stands in {seen[twice]} and in "
                f"{folder}; report one of the two folders or remove one row"
            )
        seen.update(dict.fromkeys(keys, folder))
        planned, absent = _planned(folder, set(keys))
        num_planned += planned
        missing |= absent
    missing = {key: run for key, run in missing.items() if key not in seen}
    rows = _rows(folders, tables, missing)
    if missing and not allow_missing:
        _refuse_missing(rows, num_planned)
    return rows


def _named(table: pa.Table, place: int) -> str:
    row = table.select(["data.name", "class_name", "seed"]).slice(place, 1).to_pylist()[0]
    return f"{row['data.name']} class {row['class_name']} seed {row['seed']}"


def _planned(folder: Place, present: set[str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The number of planned runs of `folder`, and the flat Runs of those without a row."""
    planned = results.planned_keys(folder)
    if not planned:
        raise ValueError(
            f"{folder} has no plan.json, so missing runs would not be noticed; "
            "run the same `fcdd run` again, which writes it"
        )
    if planned <= present:
        return len(planned), {}
    entries = results.read_plan(folder, besides=present)
    return len(planned), {key: flatten(entry["run"]) for key, entry in entries.items()}


def flatten(run: Mapping[str, Any]) -> dict[str, Any]:
    """The nested fields of a planned Run under dotted names, completed like older rows."""
    flat: dict[str, Any] = {name: results.DEFAULTS.get(name) for name in RUN}
    for name, value in run.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": hashable(v) for inner, v in value.items()})
        else:
            flat[name] = hashable(value)
    return flat


def _refuse_missing(rows: Rows, num_planned: int) -> None:
    absent = np.flatnonzero(~rows.present).tolist()
    named = sorted(f"{rows.describe(place)} ({rows.keys[place]})" for place in absent)
    more = f"; and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    raise ValueError(
        f"{len(named)} of {num_planned} planned runs have no row: {'; '.join(named[:_NAMED])}"
        f"{more}; run the same `fcdd run` again, or print the gaps as dashes with --allow-missing"
    )


def _rows(
    folders: Sequence[Place], tables: list[pa.Table], missing: Mapping[str, Mapping[str, Any]]
) -> Rows:
    table = pa.concat_tables(tables)
    lengths = [len(one) for one in tables]
    absent = [missing[key] for key in sorted(missing)]
    codes, levels = {}, {}
    for name in _CODED:
        planned = [run.get(name) for run in absent] if name in RUN else None
        codes[name], levels[name] = _coded(table[name], planned, len(absent))
    gaps = np.full(len(absent), np.nan)
    values = {name: np.append(table[name].to_numpy().astype(np.float64), gaps) for name in METRICS}
    return Rows(
        folders=tuple(folders),
        keys=(*table["key"].to_pylist(), *sorted(missing)),
        folder=np.append(np.repeat(np.arange(len(folders)), lengths), np.full(len(absent), -1)),
        present=np.append(np.ones(len(table), bool), np.zeros(len(absent), bool)),
        codes=codes,
        levels=levels,
        metrics=values,
        own=values,
        without={
            name: np.append(table[name].is_null().to_numpy(), np.zeros(len(absent), bool))
            for name in METRICS
        },
        num_labelled=np.append(_lengths(table["labelled_files"]), np.zeros(len(absent), int)),
    )


def _lengths(column: pa.ChunkedArray) -> np.ndarray:
    offsets = [chunk.offsets.to_numpy() for chunk in column.chunks if len(chunk)]
    return np.concatenate([np.diff(each) for each in offsets]) if offsets else np.zeros(0, int)


def _coded(
    column: pa.ChunkedArray, planned: Sequence[Any] | None, num_absent: int
) -> tuple[np.ndarray, tuple]:
    """Codes and levels of a column, continued by the values of `planned` runs (None: unknown)."""
    if pa.types.is_list(column.type):
        listed = [hashable(value) for value in column.to_pylist()]
        places: dict[Any, int] = {}
        codes = np.array([places.setdefault(v, len(places)) for v in listed], dtype=np.int32)
        levels = list(places)
    else:
        encoded = column.combine_chunks().dictionary_encode()
        levels = encoded.dictionary.to_pylist()
        if encoded.indices.null_count:
            codes = encoded.indices.fill_null(len(levels)).to_numpy(zero_copy_only=False)
            levels.append(None)
        else:
            codes = encoded.indices.to_numpy(zero_copy_only=False)
    known = {value: code for code, value in enumerate(levels)}
    more = np.full(num_absent, -1, dtype=np.int32)
    if planned is not None:
        more[:] = [known.setdefault(hashable(value), len(known)) for value in planned]
    return np.append(codes.astype(np.int32), more), tuple(known)
