"""The output folder: its files, the schema of a row, and how they are written and read.

Imports pyarrow, numpy and `pipeline.schema`, and nothing else of the project, so that a report runs
without torch, Ray or MLflow.

    DIR/plan.json               every key with its Run, written before the start
    DIR/rows/<key>.parquet      one row: the truth
    DIR/scores/<key>.parquet    per test image: id, class, label, score
    DIR/curves/<key>.parquet    per epoch: loss, learning rate, test AUROC where asked for
    DIR/pixels/<key>.parquet    histograms from which pixel AUROC, AP and PRO follow
    DIR/heatmaps/<key>.npz      float16 heatmaps of a fixed subset of the test images
    DIR/failures/<key>.txt      the traceback of a run that failed
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.schema import CURVES, DEFAULTS, PIXELS, SCHEMA, SCHEMA_VERSION, SCORES
from pipeline.schema import MEASURED as MEASURED


def prepare(out: Path) -> None:
    """Creates the folder and proves that it can be written. Raises ValueError if not."""
    try:
        for part in ("rows", "scores", "curves", "pixels", "heatmaps", "failures"):
            (out / part).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ValueError(
            f"output folder {str(out)!r} cannot be written ({error.strerror}); "
            "choose another with --out or change its permissions"
        ) from None


def _write_atomically(path: Path, write: Callable[[str], None]) -> None:
    """Writes beside `path`, flushes to disk and renames: a reader sees all of it or nothing."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    os.close(handle)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` whole or not at all."""

    def write(name: str) -> None:
        Path(name).write_text(text, encoding="utf-8")

    _write_atomically(path, write)


def _write_table(path: Path, table: pa.Table) -> None:
    _write_atomically(path, lambda name: pq.write_table(table, name))


def write_row(out: Path, row: Mapping[str, Any]) -> None:
    """Writes rows/<key>.parquet. Raises ValueError unless `row` has exactly SCHEMA's columns."""
    odd = sorted(set(row) ^ set(SCHEMA.names))
    if odd:
        raise ValueError(f"a row must have exactly the columns of SCHEMA; these differ: {odd}")
    table = pa.Table.from_pylist([dict(row)], schema=SCHEMA)
    table.validate(full=True)
    _write_table(out / "rows" / f"{row['key']}.parquet", table)


def write_scores(out: Path, key: str, scores: Mapping[str, Any]) -> None:
    """Writes scores/<key>.parquet from columns id, class, label, score, each [n]."""
    _write_table(out / "scores" / f"{key}.parquet", pa.table(dict(scores), schema=SCORES))


def write_curve(out: Path, key: str, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Writes curves/<key>.parquet, one row per epoch."""
    table = pa.Table.from_pylist([dict(epoch) for epoch in epochs], schema=CURVES)
    _write_table(out / "curves" / f"{key}.parquet", table)


def write_pixels(out: Path, key: str, histograms: Mapping[str, Any]) -> None:
    """Writes pixels/<key>.parquet from columns lower, nominal, anomalous, overlap, each [bins]."""
    _write_table(out / "pixels" / f"{key}.parquet", pa.table(dict(histograms), schema=PIXELS))


def write_heatmaps(out: Path, key: str, **arrays: np.ndarray) -> None:
    """Writes heatmaps/<key>.npz."""

    def write(name: str) -> None:
        with open(name, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    _write_atomically(out / "heatmaps" / f"{key}.npz", write)


def row_keys(out: Path) -> set[str]:
    """Keys of the rows in `out`, by file name."""
    return {path.stem for path in (out / "rows").glob("*.parquet")}


def failure_path(out: Path, key: str) -> Path:
    """Where the traceback of run `key` stands if it failed."""
    return out / "failures" / f"{key}.txt"


def failed_keys(out: Path) -> set[str]:
    """Keys of the runs in `out` that failed and have no row."""
    return {path.stem for path in (out / "failures").glob("*.txt")} - row_keys(out)


def _read_table(path: Path, schema: pa.Schema) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} cannot be read ({reason}); delete it and run the same command again"
        ) from None
    if schema is SCHEMA:
        table = _completed(table)
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ValueError(
            f"{path} is not a file of this version: columns {', '.join(missing)} are missing; "
            "was it written by another program or version? remove it or report with that version"
        )
    return table.select(schema.names).cast(schema)


def _completed(table: pa.Table) -> pa.Table:
    """Rows of an earlier version with the columns added since, at the value they stand for."""
    for name in [name for name in DEFAULTS if name not in table.column_names]:
        column = pa.array([DEFAULTS[name]] * len(table), SCHEMA.field(name).type)
        table = table.append_column(name, column)
    return table


def read_row(out: Path, key: str) -> dict[str, Any]:
    """The row of run `key`. Raises ValueError when it is corrupt, foreign or another run's."""
    path = out / "rows" / f"{key}.parquet"
    rows = _read_table(path, SCHEMA).to_pylist()
    if len(rows) != 1 or rows[0]["key"] != key:
        raise ValueError(f"{path} does not hold the one row of its name; delete it and run again")
    if rows[0]["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {rows[0]['schema_version']}, this program reads "
            f"{SCHEMA_VERSION}; report with the version that wrote it ({rows[0]['version.fcdd']})"
        )
    return rows[0]


def read_rows(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """All rows of the folders, by key. Raises ValueError naming what is missing or corrupt."""
    rows = []
    for out in folders:
        if not (out / "rows").is_dir():
            raise ValueError(
                f"{str(out)!r} is no output folder: it has no rows/; known: the DIR of --out"
            )
        rows += [read_row(out, key) for key in sorted(row_keys(out))]
    return rows


def read_scores(out: Path, key: str) -> pa.Table:
    """Columns id, class, label, score of run `key`."""
    return _read_table(out / "scores" / f"{key}.parquet", SCORES)


def read_curve(out: Path, key: str) -> list[dict[str, Any]]:
    """The epochs of run `key`: epoch, train_loss, lr, test_auroc."""
    return _read_table(out / "curves" / f"{key}.parquet", CURVES).to_pylist()


def read_pixels(out: Path, key: str) -> pa.Table:
    """Columns lower, nominal, anomalous, overlap of run `key`."""
    return _read_table(out / "pixels" / f"{key}.parquet", PIXELS)


def read_heatmaps(out: Path, key: str) -> dict[str, np.ndarray]:
    """The arrays of heatmaps/<key>.npz."""
    with np.load(out / "heatmaps" / f"{key}.npz", allow_pickle=False) as file:
        return dict(file)


def read_plan(out: Path) -> dict[str, dict[str, Any]]:
    """Per key {"benchmarks": [names], "run": nested fields}; empty where no plan.json stands."""
    path = out / "plan.json"
    if not path.exists():
        return {}
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if plan["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {plan['schema_version']}, not {SCHEMA_VERSION}")
        return plan["runs"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no plan ({error}); delete it and run the same command again"
        ) from None


def write_plan(out: Path, benchmark: str, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds `runs` (key: nested fields) of `benchmark` to plan.json."""
    plan = read_plan(out)
    for key, run in runs.items():
        names = set(plan.get(key, {}).get("benchmarks", [])) | {benchmark}
        plan[key] = {"benchmarks": sorted(names), "run": dict(run)}
    text = json.dumps({"schema_version": SCHEMA_VERSION, "runs": plan}, indent=1, sort_keys=True)
    write_text(out / "plan.json", text + "\n")
