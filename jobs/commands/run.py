"""`fcdd run`: execute a benchmark."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from jobs.commands.needs import needs
from jobs.durations import seconds
from jobs.passwords import refuse_password
from jobs.select import apply, load_spec, spec_names

if TYPE_CHECKING:
    from pipeline.benchmark import Resources


def refuse_open_ray(mode: str, *, insecure: bool) -> None:
    """Raises ValueError where Ray would let anybody in: it listens on every interface, and the
    token is its only guard. `mode` is that of RAY_AUTH_MODE."""
    if mode.strip().lower() == "disabled" and not insecure:
        raise ValueError(
            "RAY_AUTH_MODE=disabled lets whoever reaches Ray's ports run code as you; unset it, or "
            "set it to token, or say --insecure"
        )


def run(
    spec: Annotated[
        str,
        typer.Argument(help=f"One of {', '.join(spec_names())}, or your own .py file (it runs)."),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            help="Output folder: a path, or s3://BUCKET/FOLDER.", show_default="results/SPEC"
        ),
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
    pool: Annotated[
        Path | None,
        typer.Option(envvar="FCDD_POOL", help="Folder or tar of images: outliers.source=folder."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File of pretrained weights, for nets that start from them.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            envvar="FCDD_CACHE", help="Folder for decoded images.", show_default="none kept"
        ),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch missing data sets first.")
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to train.")
    ] = "auto",
    runs_per_gpu: Annotated[
        str | None,
        typer.Option(
            help="How many runs train on a GPU at once, or auto.", show_default="the spec's"
        ),
    ] = None,
    gpus_per_run: Annotated[
        int | None,
        typer.Option(
            help="How many GPUs train one run together, for large images.",
            show_default="the spec's",
        ),
    ] = None,
    compile_nets: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile nets and record steps on GPUs.",
            show_default="the spec's",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs and stop.")] = False,
    address: Annotated[
        str | None,
        typer.Option(
            envvar="RAY_ADDRESS",
            help="A Ray cluster: auto or host:port on a node of it; http://HOST:8265 sends a job.",
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the job's id and go.")] = False,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Allow RAY_AUTH_MODE=disabled: whoever reaches Ray's ports runs code as you.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed runs again.")
    ] = False,
    max_failures: Annotated[
        int, typer.Option(min=1, help="Give a run up that lost its worker so many times.")
    ] = 2,
    time_limit: Annotated[
        str | None, typer.Option(help="Stop a run that takes longer, e.g. 2h.", show_default="none")
    ] = None,
    checkpoint_every: Annotated[
        str, typer.Option(help="How often a run in training is saved, at an epoch's end.")
    ] = "3m",
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow server.", show_default="SQLite in the output folder")
    ] = None,
    tracking: Annotated[bool, typer.Option(help="Show the runs in MLflow.")] = True,
    commit: Annotated[
        str | None, typer.Option(envvar="FCDD_COMMIT", hidden=True)  # set where .git is not sent
    ] = None,
) -> None:
    """Run a benchmark: every missing run of SPEC, one Parquet row each."""
    from pipeline.benchmark import Benchmark
    from pipeline.places import place_of, reached

    benchmark: Benchmark = apply(load_spec(spec), settings=settings or [], only=only or [])
    benchmark = replace(
        benchmark,
        resources=_resources(benchmark.resources, runs_per_gpu, gpus_per_run, compile_nets),
    )
    console = Console()
    if dry_run:
        from jobs.progress import Names

        describe = Names(benchmark.runs)
        for number, one in enumerate(benchmark.runs, 1):
            print(f"{number:4} {describe(one)}: {one.net.name}, {one.training.epochs} epochs")
        print(f"{benchmark.name}: {len(benchmark.runs)} runs; nothing was started")
        return
    refuse_password(tracking_uri, option="--tracking-uri")
    refuse_open_ray(os.environ.get("RAY_AUTH_MODE", ""), insecure=insecure)
    elsewhere = address is not None and address.startswith(("http://", "https://"))
    if address and "://" in address and not elsewhere:
        raise ValueError(
            f"--address {address!r} would bind this machine to the sweep's whole time; use auto or "
            "host:port on a cluster node, or from elsewhere http://HOST:8265, which submits a job"
        )
    if detach and not elsewhere:
        raise ValueError("--detach is for jobs on a cluster; give --address http://HOST:8265 too")
    if elsewhere:
        with needs("run"):
            from jobs.submitting import run_there

            assert address is not None
            there = place_of(out) if out else None
            code = run_there(address, sys.argv[1:], out=there, detach=detach, commit=commit)
        raise typer.Exit(code)
    folder = reached(out) if out else Path("results") / benchmark.name
    with needs("run"):
        from jobs.loading import Sources
        from jobs.run_benchmark import Care, Places, run_benchmark
        from pipeline.sweep.cluster import HeadLost

        try:
            code = run_benchmark(
                benchmark,
                Places(
                    out=folder.resolve() if isinstance(folder, Path) else folder,
                    sources=Sources(data_root, pool, weights, cache, download),
                    tracking=tracking,
                    tracking_uri=tracking_uri,
                    address=address,
                    commit=commit,
                ),
                device=device,
                for_gpus=_given(runs_per_gpu, gpus_per_run, compile_nets),
                care=Care(
                    retry_failed=retry_failed,
                    max_failures=max_failures,
                    checkpoint_seconds=seconds(checkpoint_every, option="--checkpoint-every"),
                    time_limit_seconds=(
                        seconds(time_limit, option="--time-limit") if time_limit else None
                    ),
                ),
                console=console,
            )
        except KeyboardInterrupt:
            print("stopped; finished runs are kept, the same command goes on", file=sys.stderr)
            code = 130
        except HeadLost as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            os._exit(1)  # Ray's own farewell would wait for the head, then abort
    raise typer.Exit(code)


def _resources(
    given: "Resources",
    runs_per_gpu: str | None,
    gpus_per_run: int | None,
    compile_nets: bool | None,
) -> "Resources":
    """The spec's resources with what the options say. Raises ValueError."""
    changes: dict[str, Any] = {}
    if compile_nets is not None:
        changes["compile"] = compile_nets
    if gpus_per_run is not None:
        changes["gpus_per_run"] = gpus_per_run
    if runs_per_gpu is not None:
        is_number = runs_per_gpu.lstrip("+-").isdecimal()
        changes["runs_per_gpu"] = int(runs_per_gpu) if is_number else runs_per_gpu
    try:
        return replace(given, **changes)
    except ValueError as error:
        names = {"--runs-per-gpu": runs_per_gpu, "--gpus-per-run": gpus_per_run}
        blamed = ", ".join(name for name, value in names.items() if value is not None)
        raise ValueError(f"{blamed}: {error}") from None


def _given(
    runs_per_gpu: str | None, gpus_per_run: int | None, compile_nets: bool | None
) -> list[str]:
    """The options that were given and act on GPUs alone."""
    options = {
        "--runs-per-gpu": runs_per_gpu is not None,
        "--gpus-per-run": gpus_per_run is not None,
        "--compile": compile_nets is True,
    }
    return [name for name, given in options.items() if given]
