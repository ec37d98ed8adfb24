"""The command line. Each command imports what it needs inside itself, so that --help is quick."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from jobs.select import apply, load_spec, spec_names

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmarks of explainable one-class classification of images (FCDD).",
)
mlflow_app = typer.Typer(no_args_is_help=True, help="The MLflow view of an output folder.")
app.add_typer(mlflow_app, name="mlflow")

# Read by Ray and MLflow when they are imported, so set before; a user's own values win.
SWITCHES = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # five files a trial, a pickle among them
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # rows are the truth, not Tune's state
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # a single-node Ray listens on loopback only
    "RAY_AIR_NEW_OUTPUT": "0",  # Tune's own console
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a concurrent run died in it
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the defaults block for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    if debug:
        os.environ["FCDD_DEBUG"] = "1"


@app.command()
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
        from jobs.progress import describe

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
        from jobs.run_benchmark import Places, run_benchmark

        try:
            code = run_benchmark(
                benchmark,
                Places(
                    out=(out or Path("results") / benchmark.name).resolve(),
                    data_root=data_root,
                    pool=pool,
                    download=download,
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


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Output folders of `fcdd run`.")],
    out: Annotated[Path, typer.Option(help="Where the tables go.")],
    allow_missing: Annotated[bool, typer.Option(help="Print gaps as dashes.")] = False,
) -> None:
    """Make the tables of one or more output folders: LaTeX, Markdown, CSV."""
    from reports.write import write

    for path in write(folders, out, allow_missing=allow_missing):
        print(path)


@mlflow_app.command()
def sync(
    folder: Annotated[Path, typer.Argument(help="Output folder of `fcdd run`.")],
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server [default: SQLite in the folder].")
    ] = None,
) -> None:
    """Complete the MLflow store from the rows: nothing is added twice."""
    from pipeline import results

    results.read_rows([folder])
    with needs("run"):
        from pipeline.tracking.store import sync as complete

        print(f"{complete(folder, tracking_uri)} runs added")


class needs:
    """Says which extra is missing when an import inside fails."""

    def __init__(self, extra: str) -> None:
        self._extra = extra

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        outer = {"torch", "torchvision", "safetensors", "ray", "mlflow", "PIL"}
        if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in outer:
            raise ValueError(
                f"this command needs {error.name!r}, of the extra {self._extra!r}; "
                f"install it with: pip install 'fcdd[{self._extra}]'"
            ) from error
