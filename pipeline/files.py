"""Files of the output folder: written whole or not at all, read with the reason when they are not
sound. Imports pyarrow and `pipeline.schema` only.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.schema import DEFAULTS, SCHEMA


def write_atomically(path: Path, write: Callable[[str], None]) -> None:
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

    write_atomically(path, write)


def write_table(path: Path, table: pa.Table) -> None:
    """Writes `table` as Parquet to `path` whole or not at all."""
    write_atomically(path, lambda name: pq.write_table(table, name))


def opened(path: Path, columns: list[str] | None = None) -> pa.Table:
    """The columns of a Parquet file as they stand. Raises ValueError when it is corrupt."""
    try:
        with pq.ParquetFile(path) as file:  # unlike pq.read_table, takes no column from "seed=0/"
            return file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} cannot be read ({reason}); delete it and run the same command again"
        ) from None


def read_table(path: Path, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """The columns of `schema` (or those named) of a Parquet file, older rows completed.

    Raises ValueError when the file is corrupt or foreign.
    """
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    present = _names(path)
    added = DEFAULTS if schema is SCHEMA else {}
    missing = [name for name in schema.names if name not in present and name not in added]
    if missing:
        raise ValueError(
            f"{path} is not a file of this version: columns {', '.join(missing)} are missing; "
            "was it written by another program or version? remove it or report with that version"
        )
    table = opened(path, [name for name in wanted.names if name in present])
    for name in wanted.names:
        if name not in present:  # an earlier version: the value that its rows stand for
            column = pa.array([added[name]] * len(table), schema.field(name).type)
            table = table.append_column(name, column)
    try:
        return table.select(wanted.names).cast(wanted)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(
            f"{path} does not hold what its columns are for ({str(error).splitlines()[0]}); "
            "remove it and run the same command again"
        ) from None


def _names(path: Path) -> set[str]:
    try:
        return set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError):
        opened(path)  # says what is wrong
        raise
