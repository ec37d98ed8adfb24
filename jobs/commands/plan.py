"""`fcdd plan`: what a benchmark will cost, before it starts."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.select import spec_names


def plan(
    spec: Annotated[
        str,
        typer.Argument(help=f"One of {', '.join(spec_names())}, or your own .py file (it runs)."),
    ],
    out: Annotated[
        str | None, typer.Option(help="Output folder, or s3://....", show_default="results/SPEC")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, e.g. training.epochs=5.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="field=v1,v2: only these runs, e.g. seed=0,1.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(envvar="FCDD_DATA", help="Folder of the data sets.")
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--from", help="Folders whose rows say how fast runs are.", show_default="--out"
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to train.")
    ] = "auto",
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores for runs.", show_default="all of this machine")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="90s, 30m, 6h or 2d: says which seeds and classes fit.")
    ] = None,
) -> None:
    """Say before a start what SPEC takes: runs, hours, memory, disk. Speeds are those of earlier
    rows of the same work, else of a second of training on random images."""
    from jobs.planning import tell_plan
    from pipeline.places import reached

    tell_plan(
        spec,
        out=None if out is None else reached(out),
        settings=settings or [],
        only=only or [],
        data_root=data_root,
        rows=None if rows is None else [reached(folder) for folder in rows],
        device=device,
        cores=cores,
        budget=budget,
    )
