"""`fcdd run`: execute a benchmark."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from jobs.commands.needs import needs
from jobs.select import apply, load_spec, spec_names


def run(
    spec: Annotated[
        str,
        typer.Argument(help=f"One of {', '.join(spec_names())}, or your own .py file (it runs)."),
    ],
    out: Annotated[Path | None, typer.Option(help="Output folder [default: results/SPEC].")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, e.g. training.epochs=5.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="field=v1,v2: only these runs, e.g. seed=0.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(envvar="FCDD_DATA", help="Folder of the data sets.")
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(envvar="FCDD_POOL", help="Folder or tar of images: outliers.source=folder."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File of pretrained weights, for nets that start from them.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(envvar="FCDD_CACHE", help="Folder for decoded images [default: none kept]."),
    ] = None,
    download: Annotated[bool, typer.Option(help="Fetch missing data sets first.")] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to train.")
    ] = "auto",
    dry_run: Annotated[bool, typer.Option(help="List the runs and stop.")] = False,
    address: Annotated[
        str | None,
        typer.Option(envvar="RAY_ADDRESS", help="A running Ray cluster: auto or host:port."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try failed runs again.")] = False,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server [default: SQLite in the output folder].")
    ] = None,
    tracking: Annotated[bool, typer.Option(help="Show the runs in MLflow.")] = True,
) -> None:
    """Run a benchmark: every missing run of SPEC, one Parquet row each."""
    from pipeline.benchmark import Benchmark

    benchmark: Benchmark = apply(load_spec(spec), settings=settings or [], only=only or [])
    console = Console()
    if dry_run:
        from jobs.progress import Names

        describe = Names(benchmark.runs)
        for number, one in enumerate(benchmark.runs, 1):
            print(f"{number:4} {describe(one)}: {one.net.name}, {one.training.epochs} epochs")
        print(f"{benchmark.name}: {len(benchmark.runs)} runs; nothing was started")
        return
    if address and "://" in address:
        raise ValueError(
            f"--address {address!r} is no address of a cluster node; use auto or host:port on the "
            "cluster, or from elsewhere `ray job submit --address http://HOST:8265 --working-dir . "
            "-- python -m jobs run ...`"
        )
    with needs("run"):
        from jobs.loading import Sources
        from jobs.run_benchmark import Places, run_benchmark

        try:
            code = run_benchmark(
                benchmark,
                Places(
                    out=(out or Path("results") / benchmark.name).resolve(),
                    sources=Sources(data_root, pool, weights, cache, download),
                    tracking=tracking,
                    tracking_uri=tracking_uri,
                    address=address,
                ),
                device=device,
                retry_failed=retry_failed,
                console=console,
            )
        except KeyboardInterrupt:
            print("stopped; finished runs are kept, the same command goes on", file=sys.stderr)
            code = 130
    raise typer.Exit(code)
