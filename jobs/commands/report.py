"""`fcdd report`: from rows to tables."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folders: Annotated[list[Path], typer.Argument(help="Output folders of `fcdd run`.")],
    out: Annotated[Path, typer.Option(help="Where the tables go.")],
    allow_missing: Annotated[bool, typer.Option(help="Print gaps as dashes.")] = False,
) -> None:
    """Make the tables of one or more output folders: LaTeX, Markdown, CSV."""
    from reports.write import write

    for path in write(folders, out, allow_missing=allow_missing):
        print(path)
