"""The output folder: its files, the schema of a row, and how they are written and read.

All that reports see of the project. Of it, it imports `pipeline.schema`, `pipeline.files`,
`pipeline.places` and `pipeline.planned`, which need pyarrow only, so that a report runs without
torch, Ray or MLflow. DIR is a path or a place in an object store.

    DIR/plan.json               every key with its Run, written before the start
    DIR/rows/<key>.parquet      one row: the truth
    DIR/rows/compacted-*.parquet, DIR/plan.parquet: many rows and planned Runs (`fcdd compact`)
    DIR/scores/<key>.parquet    per test image: id, class, label, score
    DIR/curves/<key>.parquet    per epoch: loss, learning rate, test AUROC where asked for
    DIR/pixels/<key>.parquet    histograms from which pixel AUROC, AP and PRO follow
    DIR/heatmaps/<key>.npz      float16 heatmaps of a fixed subset of the test images
    DIR/audits/<key>.json .npz  what a watermark does, of runs that train with one
    DIR/checkpoints/<key>/      what an interrupted run goes on from (`fcdd.checkpoint`)
    DIR/running/<key>.json      heartbeat of a run that a worker is at (`pipeline.running`)
    DIR/failures/<key>.txt      the traceback of a run that failed
    DIR/driver.json             who runs the folder now (`pipeline.lock`)
"""

import json
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.files import opened, read_arrays, write_arrays
from pipeline.files import read_table as read_file
from pipeline.files import write_table as write_file
from pipeline.files import write_text as write_text
from pipeline.places import Place as Place
from pipeline.places import Stored
from pipeline.places import each as each
from pipeline.places import place_of as place_of
from pipeline.planned import planned_keys as planned_keys
from pipeline.planned import read_plan as read_plan
from pipeline.planned import write_plan as write_plan
from pipeline.schema import CURVES, DEFAULTS, PIXELS, SCHEMA, SCHEMA_VERSION, SCORES
from pipeline.schema import MEASURED as MEASURED
from pipeline.stores import StoreError as StoreError

COMPACTED = "compacted-"  # how names of files in rows/ begin that hold many rows
_SCANNED_AT_ONCE = 50  # files of one row, of each of which a scan keeps 0.3 MB of metadata


_PARTS = ("rows", "scores", "curves", "pixels", "heatmaps", "audits", "failures")


def prepare(out: Place) -> None:
    """Creates the folder and proves that it can be written. Raises ValueError if not."""
    if isinstance(out, Stored):
        probe = out / f".probe-{secrets.token_hex(8)}"
        probe.write_bytes(b"")
        each(Stored.mkdir, [out / part for part in (*_PARTS, "running")])
        probe.unlink()
        return
    try:
        for part in _PARTS:
            (out / part).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(
            f"output folder {str(out)!r} cannot be written ({error.strerror}); "
            "choose another with --out or change its permissions"
        ) from None


def write_row(out: Place, row: Mapping[str, Any]) -> None:
    """Writes rows/<key>.parquet. Raises ValueError unless `row` has exactly SCHEMA's columns."""
    odd = sorted(set(row) ^ set(SCHEMA.names))
    if odd:
        raise ValueError(f"a row must have exactly the columns of SCHEMA; these differ: {odd}")
    table = pa.Table.from_pylist([dict(row)], schema=SCHEMA)
    table.validate(full=True)
    write_file(out / "rows" / f"{row['key']}.parquet", table)


def write_scores(out: Place, key: str, scores: Mapping[str, Any]) -> None:
    """Writes scores/<key>.parquet from columns id, class, label, score, each [n]."""
    write_file(out / "scores" / f"{key}.parquet", pa.table(dict(scores), schema=SCORES))


def write_curve(out: Place, key: str, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Writes curves/<key>.parquet, one row per epoch."""
    table = pa.Table.from_pylist([dict(epoch) for epoch in epochs], schema=CURVES)
    write_file(out / "curves" / f"{key}.parquet", table)


def write_pixels(out: Place, key: str, histograms: Mapping[str, Any]) -> None:
    """Writes pixels/<key>.parquet from columns lower, nominal, anomalous, overlap, each [bins]."""
    write_file(out / "pixels" / f"{key}.parquet", pa.table(dict(histograms), schema=PIXELS))


def write_audit(
    out: Place, key: str, numbers: Mapping[str, Any], /, **examples: np.ndarray
) -> None:
    """Writes audits/<key>.json, the numbers of an audit (fcdd/audit.py), and its examples .npz."""
    write_arrays(out / "audits" / f"{key}.npz", examples)
    text = json.dumps(dict(numbers), indent=1, sort_keys=True, allow_nan=False)
    write_text(out / "audits" / f"{key}.json", text + "\n")


def read_audit(out: Place, key: str) -> dict[str, Any] | None:
    """The numbers of the audit of run `key`; None of a run without one."""
    path = out / "audits" / f"{key}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def read_audit_examples(out: Place, key: str) -> dict[str, np.ndarray]:
    """The arrays of audits/<key>.npz."""
    return read_arrays(out / "audits" / f"{key}.npz")


def write_heatmaps(out: Place, key: str, **arrays: np.ndarray) -> None:
    """Writes heatmaps/<key>.npz."""
    write_arrays(out / "heatmaps" / f"{key}.npz", arrays)


def row_keys(out: Place) -> set[str]:
    """Keys of the rows in `out`: by file name, and those in compacted files."""
    single, compacted = row_files(out)
    keys = {path.stem for path in single}
    for path in compacted:
        keys.update(opened(path, ["key"])["key"].to_pylist())
    return keys


def row_files(out: Place) -> tuple[list[Place], list[Place]]:
    """The files of one row each, and the compacted ones, sorted."""
    paths = sorted((out / "rows").glob("*.parquet"))
    compacted = [path for path in paths if path.name.startswith(COMPACTED)]
    return [path for path in paths if not path.name.startswith(COMPACTED)], compacted


def failure_path(out: Place, key: str) -> Place:
    """Where the traceback of run `key` stands if it failed."""
    return out / "failures" / f"{key}.txt"


def checkpoint_path(out: Place, key: str) -> Place:
    """The folder of the checkpoint of run `key`, while it has no row."""
    return out / "checkpoints" / key


def remove_checkpoints(out: Place, keys: Collection[str]) -> None:
    """Removes what runs with a row left of their checkpoints, if anything."""
    for folder in (out / "checkpoints").glob("*"):
        if folder.name not in keys:
            continue
        if isinstance(folder, Path):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.remove_all()


def failed_keys(out: Place) -> set[str]:
    """Keys of the runs in `out` that failed and have no row."""
    return {path.stem for path in (out / "failures").glob("*.txt")} - row_keys(out)


def _read_rows_of(path: Place, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows in one file of rows/, checked against its name and version."""
    checked = ["key", "schema_version", "version.fcdd", "commit"]
    names = SCHEMA.names if columns is None else list(dict.fromkeys([*columns, *checked]))
    table = read_file(path, SCHEMA, names)
    single = not path.name.startswith(COMPACTED)
    if single and table["key"].to_pylist() != [path.stem]:
        raise ValueError(f"{path} does not hold the one row of its name; delete it and run again")
    other = table["schema_version"].to_numpy() != SCHEMA_VERSION
    if other.any():
        odd = table.filter(pa.array(other)).slice(0, 1).to_pylist()
        back = f"git checkout {odd[0]['commit']} && make install"
        raise ValueError(
            f"{path} has schema version {odd[0]['schema_version']}, this program reads "
            f"{SCHEMA_VERSION}; go on with the version that wrote it ({odd[0]['version.fcdd']}: "
            f"{back}), or choose another folder"
        )
    return table if columns is None else table.select(columns)


def read_row(out: Place, key: str) -> dict[str, Any]:
    """The row of run `key`. Raises ValueError when it is corrupt, foreign or another run's."""
    path = out / "rows" / f"{key}.parquet"
    if not path.exists():
        for compacted in row_files(out)[1]:
            keys = opened(compacted, ["key"])["key"].to_pylist()
            if key in keys:
                return _read_rows_of(compacted).slice(keys.index(key), 1).to_pylist()[0]
    return _read_rows_of(path).to_pylist()[0]


def read_table(
    out: Place, columns: Sequence[str] | None = None, *, keys: Collection[str] | None = None
) -> pa.Table:
    """All rows of one folder, or those of `keys`, by key, as columns of SCHEMA (None: all of them).

    Raises ValueError naming the folder or the file that is missing, corrupt, foreign or of another
    schema version, or two different rows of one key.
    """
    if not (out / "rows").is_dir():
        raise ValueError(
            f"{str(out)!r} is no output folder: it has no rows/; known: the DIR of --out"
        )
    wanted = list(columns) if columns is not None else SCHEMA.names
    single, compacted = row_files(out)
    tables = [_read_rows_of(path, wanted) for path in compacted]
    if keys is not None:
        single = [path for path in single if path.stem in keys]
        tables = [_of_keys(table, keys) for table in tables]
    if single:
        for start in range(0, len(single), _SCANNED_AT_ONCE):
            tables.append(_read_at_once(single[start : start + _SCANNED_AT_ONCE], wanted))
    if not tables:
        return SCHEMA.empty_table().select(wanted)
    return _each_once(out, pa.concat_tables(tables))


def _read_at_once(paths: list[Place], wanted: list[str]) -> pa.Table:
    """Many files of one row in one scan; file by file where something is wrong, to name it."""
    import pyarrow.dataset as ds

    names = list(dict.fromkeys([*wanted, "key", "schema_version"]))
    first = paths[0]
    stored = None if isinstance(first, Path) else first.filesystem
    try:
        dataset = ds.dataset(
            [str(path) if isinstance(path, Path) else path.path for path in paths],
            schema=SCHEMA,
            format="parquet",
            filesystem=stored,
        )
        table = dataset.to_table(columns=[*names, "__filename"])
    except (pa.ArrowException, OSError, ValueError):
        return pa.concat_tables(each(lambda path: _read_rows_of(path, wanted), paths))
    for name, value in DEFAULTS.items():
        if name in names and value is not None and table[name].null_count:
            filled = table[name].fill_null(pa.scalar(value, SCHEMA.field(name).type))
            table = table.set_column(table.column_names.index(name), SCHEMA.field(name), filled)
    stems = [Path(name).stem for name in table["__filename"].to_pylist()]
    sound = (
        stems == table["key"].to_pylist() == [path.stem for path in paths]
        and set(table["schema_version"].to_pylist()) == {SCHEMA_VERSION}
        and not any(table[n].null_count for n in names if not SCHEMA.field(n).nullable)
    )
    if not sound:
        return pa.concat_tables(each(lambda path: _read_rows_of(path, wanted), paths))
    return table.select(wanted).cast(pa.schema([SCHEMA.field(name) for name in wanted]))


def _of_keys(table: pa.Table, keys: Collection[str]) -> pa.Table:
    return table.filter(pa.array([key in keys for key in table["key"].to_pylist()], pa.bool_()))


def _each_once(out: Place, table: pa.Table) -> pa.Table:
    """By key, each key once: an interrupted compaction leaves a row in two files."""
    if "key" not in table.column_names:
        return table
    table = table.sort_by("key")
    keys = table["key"].to_pylist()
    twice = [n for n in range(1, len(keys)) if keys[n] == keys[n - 1]]
    for number in twice:
        one, other = (str(table.slice(place, 1).to_pylist()) for place in (number - 1, number))
        if one != other:  # as text, in which NaN equals NaN
            raise ValueError(
                f"{out / 'rows'} holds two different rows of run {keys[number]}; "
                f"delete {keys[number]}.parquet to keep the compacted one"
            )
    kept = np.setdiff1d(np.arange(len(keys)), np.asarray(twice, dtype=np.int64))
    return table.take(pa.array(kept)) if twice else table


def read_rows(folders: Iterable[Place]) -> list[dict[str, Any]]:
    """All rows of the folders, by key. Raises ValueError naming what is missing or corrupt."""
    return [row for out in folders for row in read_table(out).to_pylist()]


def read_scores(out: Place, key: str) -> pa.Table:
    """Columns id, class, label, score of run `key`."""
    return read_file(out / "scores" / f"{key}.parquet", SCORES)


def read_curve(out: Place, key: str) -> list[dict[str, Any]]:
    """The epochs of run `key`: epoch, train_loss, lr, test_auroc."""
    return read_file(out / "curves" / f"{key}.parquet", CURVES).to_pylist()


def read_pixels(out: Place, key: str) -> pa.Table:
    """Columns lower, nominal, anomalous, overlap of run `key`."""
    return read_file(out / "pixels" / f"{key}.parquet", PIXELS)


def read_heatmaps(out: Place, key: str) -> dict[str, np.ndarray]:
    """The arrays of heatmaps/<key>.npz."""
    return read_arrays(out / "heatmaps" / f"{key}.npz")
