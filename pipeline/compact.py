"""Many rows in one file: 100,000 files of one row are slow to list, copy and read.

Only rows/ and the plan are compacted; scores, curves and heatmaps stay one file per run. Runs that
finish afterwards write their own file again; readers take both.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from pipeline import results
from pipeline.files import parquet, write_table, write_whole
from pipeline.places import Place, each
from pipeline.planned import write_plan_json
from pipeline.schema import PLAN


@dataclass(frozen=True)
class Compaction:
    """What was done: the number of rows, and of files before and after."""

    num_rows: int
    num_files_before: int
    num_files_after: int


def compact(out: Place) -> Compaction:
    """Writes all rows of `out` to one rows/compacted-<hash>.parquet and then deletes the files it
    replaces; moves the plan's entries to plan.parquet.

    Nothing is deleted before the new file was read back. Interrupted, it leaves rows in two files,
    which readers take once; the next call completes it. Raises ValueError as `read_table` does.
    """
    single, compacted = results.row_files(out)
    before = len(single) + len(compacted)
    table = results.read_table(out)
    if not len(table):
        return Compaction(0, before, before)
    path = _write(out, table)
    if results.read_file(path, results.SCHEMA)["key"] != table["key"]:
        raise ValueError(f"{path} did not come back as written; is the disk full or failing?")
    each(_unlink, {*single, *compacted} - {path})
    _compact_plan(out)
    return Compaction(len(table), before, 1)


def _write(out: Place, table: pa.Table) -> Place:
    """The file is named by its content, so that the same rows give the same file."""
    content = parquet(table, compression="zstd")
    digest = hashlib.sha256(content).hexdigest()[:16]
    path = out / "rows" / f"{results.COMPACTED}{digest}.parquet"
    write_whole(path, content)
    return path


def _unlink(path: Place) -> None:
    path.unlink()


def _compact_plan(out: Place) -> None:
    plan = results.read_plan(out)
    if not plan:
        return
    entries = [
        {"key": key, "benchmarks": plan[key]["benchmarks"], "run": json.dumps(plan[key]["run"])}
        for key in sorted(plan)
    ]
    write_table(out / "plan.parquet", pa.Table.from_pylist(entries, schema=PLAN))
    write_plan_json(out, {})


def undo(out: Place, *, progress: Callable[[int, int], None] = lambda done, of: None) -> Compaction:
    """One file per row again, and the plan in plan.json: what `compact` did, reversed."""
    single, compacted = results.row_files(out)
    before = len(single) + len(compacted)
    table = results.read_table(out)
    present = {path.stem for path in single}
    keys = table["key"].to_pylist()
    for number, key in enumerate(keys):
        if key not in present:
            write_table(out / "rows" / f"{key}.parquet", table.slice(number, 1))
        progress(number + 1, len(keys))
    for path in compacted:
        path.unlink()
    if (out / "plan.parquet").exists():
        write_plan_json(out, results.read_plan(out))
        (out / "plan.parquet").unlink()
    return Compaction(len(keys), before, len(keys))
