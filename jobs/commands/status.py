"""`fcdd status`: how far the runs of an output folder are."""

from typing import Annotated

import typer


def status(
    folder: Annotated[str, typer.Argument(help="Output folder of `fcdd run`: a path or s3://...")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh until all runs are done.")
    ] = False,
    every: Annotated[str, typer.Option(help="How often to refresh.")] = "5s",
) -> None:
    """Done, running, failed and missing runs, throughput and ETA, from the folder alone."""
    from jobs.watching import tell_status
    from pipeline.places import reached

    tell_status(reached(folder), watch=watch, every=every)
