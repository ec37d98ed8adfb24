"""`fcdd compact`: many rows in one file."""

from typing import Annotated

import typer


def compact(
    folder: Annotated[str, typer.Argument(help="Output folder of `fcdd run`: a path or s3://...")],
    undo: Annotated[bool, typer.Option("--undo", help="One file per row again.")] = False,
) -> None:
    """Put all rows of a folder into one file, which is faster to read and to copy."""
    from pipeline import compact as compaction
    from pipeline.places import reached

    out = reached(folder)
    made = compaction.undo(out) if undo else compaction.compact(out)
    print(
        f"{folder}: {made.num_rows} rows, {made.num_files_before} -> {made.num_files_after} files"
    )
