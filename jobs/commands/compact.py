"""`fcdd compact`: many rows in one file."""

from pathlib import Path
from typing import Annotated

import typer


def compact(
    folder: Annotated[Path, typer.Argument(help="Output folder of `fcdd run`.")],
    undo: Annotated[bool, typer.Option("--undo", help="One file per row again.")] = False,
) -> None:
    """Put all rows of a folder into one file, which is faster to read and to copy."""
    from pipeline import compact as compaction

    made = compaction.undo(folder) if undo else compaction.compact(folder)
    print(
        f"{folder}: {made.num_rows} rows, {made.num_files_before} -> {made.num_files_after} files"
    )
