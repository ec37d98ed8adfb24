"""`fcdd run`: load the data, plan, skip what is done, sweep, track, and tell what failed."""

import shlex
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console

from fcdd.config import Run, key
from fcdd.data.load import images_name
from fcdd.data.outliers import pool_name
from fcdd.data.streamed import Streamed
from fcdd.data.task import Images, Pool
from jobs.loading import Sources, load_all
from jobs.outcome import say, tell_outcome, tell_throughput
from jobs.progress import ProgressLine
from pipeline import environment, results, running
from pipeline.benchmark import Benchmark
from pipeline.files import remove_unfinished
from pipeline.lock import only_driver
from pipeline.places import Place, each
from pipeline.sweep.events import Event

if TYPE_CHECKING:
    from pipeline.sweep.local import Planned
    from pipeline.sweep.nodes import Checked
    from pipeline.tracking.live import Tracker


@dataclass(frozen=True)
class Places:
    """Where results go and inputs lie, and what tracks the runs; none of it decides a result."""

    out: Place
    sources: Sources
    tracking: bool
    tracking_uri: str | None
    address: str | None
    commit: str | None = None  # of the code, where this is no checkout: "HASH" or "HASH-dirty"


@dataclass(frozen=True)
class Care:
    """What is done about runs that fail, hang or are interrupted; none of it decides a result."""

    retry_failed: bool = False
    max_failures: int = 2
    checkpoint_seconds: float = 180.0
    time_limit_seconds: float | None = None


def choose_device(device: str) -> str:
    """The device of `--device`; "auto" takes CUDA where there is one, else the CPU.

    Raises ValueError for a device this machine lacks.
    """
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        return "cuda" if present["cuda"] else "cpu"
    if not present.get(device, False):
        raise ValueError(
            f"--device {device!r} is not here; usable: "
            f"{', '.join(['auto', *(name for name, here in present.items() if here)])}"
        )
    return device


def run_benchmark(
    benchmark: Benchmark,
    places: Places,
    *,
    device: str,
    care: Care,
    console: Console,
    for_gpus: Sequence[str] = (),
) -> int:
    """Executes what is missing of `benchmark` in `places.out`; returns the exit code: 0 when every
    run has its row, else 1. `for_gpus`: options given that act on GPUs alone. Raises ValueError
    for what the user can mend."""
    from pipeline.sweep.cluster import joined
    from pipeline.sweep.nodes import check_nodes

    out = places.out
    with ExitStack() as stack:
        if places.address:
            stack.enter_context(joined(places.address))
        device = _device_there(device) if places.address else choose_device(device)
        if for_gpus and device != "cuda":
            raise ValueError(
                f"{' and '.join(for_gpus)} would not be used: it is for GPUs, and the runs go to "
                f"{device!r}; leave it out or use --device cuda"
            )
        if device == "cuda" and not places.address:
            _check_gpus(benchmark.resources.gpus_per_run)
        results.prepare(out)
        taken = stack.enter_context(only_driver(out))
        images, pools = load_all(benchmark, places.sources, console)
        checked = None
        if places.address:
            checked = check_nodes(out, needed=_needed(places.sources, pools))
        planned = _planned(benchmark, images, pools)
        runs = {name: one.run for name, one in planned.items()}
        results.write_plan(
            out, benchmark.name, {name: run.model_dump(mode="json") for name, run in runs.items()}
        )
        done = results.row_keys(out) & set(planned)
        results.read_table(out, keys=done)  # a row that cannot be read is told before the start
        results.remove_checkpoints(out, done)
        for name in done & set(running.read(out)):  # their worker or driver ended just then
            running.end(out, name)
        before = results.failed_keys(out) & set(planned)
        if care.retry_failed:
            each(_unlink, [results.failure_path(out, name) for name in before])
            before = set()
        todo = [one for name, one in planned.items() if name not in done | before]
        say(
            console,
            f"{benchmark.name}: {len(planned)} runs, {len(done)} done, {len(before)} failed "
            f"before, {len(todo)} to do on {device}; results in {out}",
        )
        failed = dict.fromkeys(before, "failed at an earlier start")
        if todo:
            left = {one.key: one.run for one in todo}
            tracker = _tracker(benchmark, places, left, done=done, console=console)
            if not places.address:
                stack.enter_context(joined(None))
            events = _start(
                todo, images, pools, benchmark, places, device=device, care=care, checked=checked
            )
            failed |= _follow(events, left, places, tracker, taken=taken, console=console)
            remove_unfinished(out)
    return tell_outcome(benchmark, out, runs, failed, console)


def _device_there(device: str) -> str:
    """The device of `--device` on a cluster, whose nodes may have what the driver's has not."""
    from pipeline.sweep.cluster import has_gpus

    if device == "auto":
        return "cuda" if has_gpus() else "cpu"
    return device


def _check_gpus(wanted: int) -> None:
    """Raises ValueError if this machine has fewer GPUs than a run is to have."""
    import torch

    have = torch.cuda.device_count()
    if wanted > have:
        raise ValueError(
            f"gpus_per_run {wanted}: this machine has {have} GPU(s); give at most so many, or a "
            "cluster's --address"
        )


def _needed(sources: Sources, pools: Mapping[str, Pool]) -> list[Path]:
    """The files that workers read themselves."""
    streamed = any(isinstance(pool.images, Streamed) for pool in pools.values())
    paths = (sources.weights, sources.pool if streamed else None)
    return [path.resolve() for path in paths if path is not None]


def _planned(
    benchmark: Benchmark, images: Mapping[str, Images], pools: Mapping[str, Pool]
) -> "dict[str, Planned]":
    from pipeline.sweep.local import Planned

    planned = {}
    for run in benchmark.runs:
        pool = pools.get(pool_name(run))
        name = key(
            run,
            data_fingerprint=images[images_name(run.data)].fingerprint,
            outliers_fingerprint=pool.fingerprint if pool else "",
        )
        planned[name] = Planned(name, run, images_name(run.data), pool_name(run) if pool else None)
    return planned


def _start(
    todo: "list[Planned]",
    images: Mapping[str, Images],
    pools: Mapping[str, Pool],
    benchmark: Benchmark,
    places: Places,
    *,
    device: str,
    care: Care,
    checked: "Checked | None",
) -> Generator[Event, None, None]:
    from pipeline.sweep.local import Surroundings, sweep

    return sweep(
        todo,
        images,
        pools,
        surroundings=Surroundings(
            places.out,
            device,
            environment.named_commit(places.commit) or environment.commit(),
            places.sources.weights,
            checkpoint_seconds=care.checkpoint_seconds,
            time_limit_seconds=care.time_limit_seconds,
            required=checked.required if checked else None,
            fast=benchmark.resources.compile and device == "cuda",
        ),
        resources=benchmark.resources,
        max_failures=care.max_failures,
        checked=checked,
    )


def _follow(
    events: Generator[Event, None, None],
    runs: Mapping[str, Run],
    places: Places,
    tracker: "Tracker | None",
    *,
    taken: threading.Event,
    console: Console,
) -> dict[str, str]:
    """Shows the events of a sweep and returns the messages of the runs that failed."""
    started, out = time.perf_counter(), places.out
    with ProgressLine(console, runs) as line:
        try:
            for event in events:
                if taken.is_set():
                    raise ValueError(
                        f"another `fcdd run` took {out} over, because this one gave no sign of "
                        "life for a minute; its runs go on there"
                    )
                if tracker:
                    tracker.log(event)
                line.draw(event)
        finally:
            events.close()
            if tracker:
                tracker.close()
    tell_throughput(out, line.rows, started, console)
    if tracker and tracker.lost:
        where = f" --tracking-uri {places.tracking_uri}" if places.tracking_uri else ""
        say(
            console, f"tracking lost ({tracker.lost}); `fcdd mlflow sync {out}{where}` completes it"
        )
    return line.failed


def _tracker(
    benchmark: Benchmark,
    places: Places,
    runs: dict[str, Run],
    *,
    done: set[str],
    console: Console,
) -> "Tracker | None":
    if not places.tracking:
        return None
    if places.tracking_uri is None and not isinstance(places.out, Path):
        say(
            console,
            "no live tracking: results go to an object store; later, `fcdd mlflow sync "
            f"{shlex.quote(str(places.out))} --tracking-uri sqlite:///mlflow.db` shows the runs",
        )
        return None
    from pipeline.tracking.live import Tracker

    return Tracker(places.out, benchmark.name, runs, done=done, tracking_uri=places.tracking_uri)


def _unlink(path: Place) -> None:
    path.unlink()
