"""`fcdd mlflow ...`: the MLflow view of an output folder."""

from typing import Annotated

import typer

from jobs.commands.needs import needs
from jobs.passwords import refuse_password

app = typer.Typer(no_args_is_help=True, help="The MLflow view of an output folder.")


@app.command()
def sync(
    folder: Annotated[str, typer.Argument(help="Output folder of `fcdd run`: a path or s3://...")],
    tracking_uri: Annotated[
        str | None,
        typer.Option(help="MLflow server, or sqlite:///FILE.", show_default="SQLite in the folder"),
    ] = None,
) -> None:
    """Complete the MLflow store from the rows: nothing is added twice."""
    from pipeline import results
    from pipeline.places import reached

    refuse_password(tracking_uri, option="--tracking-uri")
    out = reached(folder)
    results.read_rows([out])
    with needs("run"):
        from pipeline.tracking.store import sync as complete

        print(f"{complete(out, tracking_uri)} runs added")
