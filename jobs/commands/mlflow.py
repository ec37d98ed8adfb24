"""`fcdd mlflow ...`: the MLflow view of an output folder."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.needs import needs
from jobs.passwords import refuse_password

app = typer.Typer(no_args_is_help=True, help="The MLflow view of an output folder.")


@app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="Output folder of `fcdd run`.")],
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server [default: SQLite in the folder].")
    ] = None,
) -> None:
    """Complete the MLflow store from the rows: nothing is added twice."""
    from pipeline import results

    refuse_password(tracking_uri, option="--tracking-uri")
    results.read_rows([folder])
    with needs("run"):
        from pipeline.tracking.store import sync as complete

        print(f"{complete(folder, tracking_uri)} runs added")
