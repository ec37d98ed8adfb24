"""Files of the output folder: written whole or not at all, read with the reason when they are not
sound. Imports numpy, pyarrow, `pipeline.places` and `pipeline.schema` only.
"""

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.places import Place, Stored
from pipeline.schema import DEFAULTS, SCHEMA

_PREFIX = ".fcdd-"  # of files that are being written


def write_whole(place: Place, data: bytes | pa.Buffer) -> None:
    """Writes `data` to `place`: a reader sees all of it or what was there before.

    On a disk beside it, flushed and then renamed; in a store as one object.
    """
    if isinstance(place, Stored):
        place.write_bytes(bytes(data))
        return
    handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=_PREFIX, suffix=".tmp")
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, place)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_unfinished(out: Place) -> None:
    """Removes what killed processes left of files that they were writing into `out` and its
    folders, where nobody may be writing any more. In a store nothing is left by half."""
    if isinstance(out, Path):
        for pattern in ("", "*/"):
            for path in out.glob(f"{pattern}{_PREFIX}*.tmp"):
                path.unlink(missing_ok=True)


def write_text(place: Place, text: str) -> None:
    """Writes `text` to `place` whole or not at all."""
    write_whole(place, text.encode())


def write_table(place: Place, table: pa.Table, **options: Any) -> None:
    """Writes `table` as Parquet to `place` whole or not at all."""
    write_whole(place, parquet(table, **options))


def write_arrays(place: Place, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes `arrays` as .npz to `place` whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_whole(place, content.getvalue())


def read_arrays(place: Place) -> dict[str, np.ndarray]:
    """The arrays of an .npz file. Raises what numpy raises where it is none."""
    source = place if isinstance(place, Path) else io.BytesIO(place.read_bytes())
    with np.load(source, allow_pickle=False) as file:
        return dict(file)


def parquet(table: pa.Table, **options: Any) -> pa.Buffer:
    """`table` as the content of a Parquet file."""
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def opened(place: Place, columns: list[str] | None = None) -> pa.Table:
    """The columns of a Parquet file as they stand. Raises ValueError when it is corrupt."""
    return _columns(place, _content(place), columns)


def read_table(place: Place, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
    """The columns of `schema` (or those named) of a Parquet file, older rows completed.

    Raises ValueError when the file is corrupt or foreign.
    """
    wanted = schema if columns is None else pa.schema([schema.field(name) for name in columns])
    content = _content(place)
    present = _names(place, content)
    added = DEFAULTS if schema is SCHEMA else {}
    missing = [name for name in schema.names if name not in present and name not in added]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise ValueError(
            f"{place} is not a file of this version: {len(missing)} of its {len(schema)} columns "
            f"are missing ({shown}); was it written by another program or version? remove it or "
            "report with that version"
        )
    table = _columns(place, content, [name for name in wanted.names if name in present])
    for name in wanted.names:
        if name not in present:  # an earlier version: the value that its rows stand for
            column = pa.array([added[name]] * len(table), schema.field(name).type)
            table = table.append_column(name, column)
    try:
        return table.select(wanted.names).cast(wanted)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(
            f"{place} does not hold what its columns are for ({str(error).splitlines()[0]}); "
            "remove it and run the same command again"
        ) from None


def _content(place: Place) -> Path | pa.Buffer:
    """What is read: a path, or the content of an object, fetched once."""
    if isinstance(place, Path):
        return place
    try:
        return pa.py_buffer(place.read_bytes())
    except FileNotFoundError as error:
        raise _unreadable(place, error) from None


def _columns(place: Place, content: Path | pa.Buffer, columns: list[str] | None) -> pa.Table:
    try:  # unlike pq.read_table, ParquetFile takes no column from a folder "seed=0/"
        with pq.ParquetFile(_source(content)) as file:
            return file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(place, error) from None


def _names(place: Place, content: Path | pa.Buffer) -> set[str]:
    try:
        return set(pq.read_schema(_source(content)).names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(place, error) from None


def _source(content: Path | pa.Buffer) -> Path | pa.BufferReader:
    return content if isinstance(content, Path) else pa.BufferReader(content)


def _unreadable(place: Place, error: BaseException) -> ValueError:
    reason = str(error).splitlines()[0]
    return ValueError(
        f"{place} cannot be read ({reason}); delete it and run the same command again"
    )
