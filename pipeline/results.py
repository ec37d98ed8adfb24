"""The output folder: its files, the schema of a row, and how they are written and read.

Imports pyarrow and numpy and nothing of the project, so that a report runs without torch, Ray or
MLflow. SCHEMA is written out; a test compares it with the fields of `Run`.

    DIR/plan.json               every key with its Run, written before the start
    DIR/rows/<key>.parquet      one row: the truth
    DIR/scores/<key>.parquet    per test image: id, class, label, score
    DIR/curves/<key>.parquet    per epoch: loss, learning rate, test AUROC where asked for
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

SCHEMA_VERSION = 1
_MEASURED = {"measured": "true"}  # differs between two executions of the same Run


def _column(
    name: str, kind: pa.DataType, *, measured: bool = False, null: bool = False
) -> pa.Field:
    return pa.field(name, kind, nullable=null, metadata=_MEASURED if measured else None)


SCHEMA = pa.schema(
    [
        _column("schema_version", pa.int64()),
        _column("key", pa.string()),
        # The Run.
        _column("data.name", pa.string()),
        _column("data.normal_class", pa.int64()),
        _column("data.preprocessing", pa.string()),
        _column("outliers.source", pa.string()),
        _column("outliers.limit", pa.int64(), null=True),
        _column("supervision.mode", pa.string()),
        _column("supervision.replacement_probability", pa.float64()),
        _column("net.name", pa.string()),
        _column("net.bias", pa.bool_()),
        _column("objective.name", pa.string()),
        _column("objective.one_label_batches", pa.string()),
        _column("training.epochs", pa.int64()),
        _column("training.batch_size", pa.int64()),
        _column("training.optimizer", pa.string()),
        _column("training.lr", pa.float64()),
        _column("training.weight_decay", pa.float64()),
        _column("training.schedule", pa.string()),
        _column("training.lr_factor", pa.float64()),
        _column("training.lr_milestones", pa.list_(pa.int64())),
        _column("heatmaps.gauss_std", pa.float64(), null=True),
        _column("heatmaps.upsampling", pa.string()),
        _column("evaluation.test_every", pa.int64()),
        _column("seed", pa.int64()),
        _column("threads", pa.int64()),
        _column("protocol", pa.string()),
        # The data.
        _column("class_name", pa.string()),
        _column("data_fingerprint", pa.string()),
        _column("outliers_fingerprint", pa.string()),
        _column("num_train", pa.int64()),
        _column("num_outliers", pa.int64()),
        _column("num_outliers_unreadable", pa.int64()),
        _column("num_test", pa.int64()),
        _column("num_test_anomalous", pa.int64()),
        # The outcome, of the last epoch.
        _column("image_auroc", pa.float64()),
        _column("image_ap", pa.float64()),
        _column("pixel_auroc", pa.float64(), null=True),
        _column("pixel_ap", pa.float64(), null=True),
        _column("pixel_pro", pa.float64(), null=True),
        _column("train_loss", pa.float64()),
        # The circumstances.
        _column("determinism", pa.string()),
        _column("version.fcdd", pa.string()),
        _column("version.python", pa.string()),
        _column("version.torch", pa.string()),
        _column("version.numpy", pa.string()),
        _column("commit", pa.string(), measured=True),
        _column("dirty", pa.bool_(), measured=True, null=True),
        _column("host", pa.string(), measured=True),
        _column("cpu", pa.string(), measured=True),
        _column("device", pa.string(), measured=True),
        _column("started_at", pa.string(), measured=True),
        _column("train_seconds", pa.float64(), measured=True),
        _column("evaluate_seconds", pa.float64(), measured=True),
        _column("total_seconds", pa.float64(), measured=True),
        _column("train_images_per_second", pa.float64(), measured=True),
        _column("peak_memory_bytes", pa.int64(), measured=True),
        _column("peak_gpu_bytes", pa.int64(), measured=True, null=True),
    ]
)
MEASURED = frozenset(field.name for field in SCHEMA if field.metadata)

SCORES = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("class", pa.int64(), nullable=False),
        pa.field("label", pa.uint8(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
CURVES = pa.schema(
    [
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("train_loss", pa.float64(), nullable=False),
        pa.field("lr", pa.float64(), nullable=False),
        pa.field("test_auroc", pa.float64()),
    ]
)


def prepare(out: Path) -> None:
    """Creates the folder and proves that it can be written. Raises ValueError if not."""
    try:
        for part in ("rows", "scores", "curves", "heatmaps", "failures"):
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
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ValueError(
            f"{path} is not a file of this version: columns {', '.join(missing)} are missing; "
            "was it written by another program or version? remove it or report with that version"
        )
    return table.select(schema.names).cast(schema)


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
