"""`fcdd run`: load the data, plan, skip what is done, sweep, track, and tell what failed."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from fcdd.config import Run, key
from fcdd.data.load import images_name
from fcdd.data.outliers import pool_name
from jobs.loading import Sources, load_all
from jobs.progress import Names, ProgressLine
from pipeline import environment, results
from pipeline.benchmark import Benchmark


@dataclass(frozen=True)
class Places:
    """Where results go and inputs lie, and what tracks the runs; none of it decides a result."""

    out: Path
    sources: Sources
    tracking: bool
    tracking_uri: str | None
    address: str | None


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
    benchmark: Benchmark, places: Places, *, device: str, retry_failed: bool, console: Console
) -> int:
    """Executes what is missing of `benchmark` in `places.out`; returns the exit code: 0 when every
    run has its row, else 1. Raises ValueError for what the user can mend."""
    from pipeline.sweep.local import Planned, Surroundings, sweep

    device = choose_device(device)
    out = places.out
    results.prepare(out)
    images, pools = load_all(benchmark, places.sources, console)
    planned = {}
    for run in benchmark.runs:
        pool = pools.get(pool_name(run))
        name = key(
            run,
            data_fingerprint=images[images_name(run.data)].fingerprint,
            outliers_fingerprint=pool.fingerprint if pool else "",
        )
        planned[name] = Planned(name, run, images_name(run.data), pool_name(run) if pool else None)
    results.write_plan(
        out,
        benchmark.name,
        {name: one.run.model_dump(mode="json") for name, one in planned.items()},
    )
    rows = {name: results.read_row(out, name) for name in results.row_keys(out) & set(planned)}
    failed = {
        name: "failed at an earlier start" for name in results.failed_keys(out) & set(planned)
    }
    if retry_failed:
        for name in failed:
            results.failure_path(out, name).unlink()
        failed = {}
    todo = [one for name, one in planned.items() if name not in rows and name not in failed]
    console.print(
        f"{benchmark.name}: {len(planned)} runs, {len(rows)} done, {len(failed)} failed before, "
        f"{len(todo)} to do on {device}; results in {out}",
        highlight=False,
        soft_wrap=True,
    )
    started = time.perf_counter()
    runs = {one.key: one.run for one in todo}
    if todo:
        tracker = _tracker(benchmark, places, runs, done=set(rows))
        events = sweep(
            todo,
            images,
            pools,
            surroundings=Surroundings(out, device, environment.commit(), places.sources.weights),
            resources=benchmark.resources,
            address=places.address,
        )
        with ProgressLine(console, runs) as line:
            try:
                for event in events:
                    if tracker:
                        tracker.log(event)
                    line.draw(event)
            finally:
                events.close()
                if tracker:
                    tracker.close()
        failed |= line.failed
        _tell_throughput([results.read_row(out, name) for name in line.rows], started, console)
        if tracker and tracker.lost:
            console.print(
                f"tracking lost ({tracker.lost}); `fcdd mlflow sync {out}` completes it",
                soft_wrap=True,
            )
    return _tell_outcome(
        benchmark, out, set(planned), failed, {n: o.run for n, o in planned.items()}, console
    )


def _tracker(benchmark: Benchmark, places: Places, runs: dict[str, Run], *, done: set[str]):
    if not places.tracking:
        return None
    from pipeline.tracking.live import Tracker

    return Tracker(places.out, benchmark.name, runs, done=done, tracking_uri=places.tracking_uri)


def _tell_throughput(rows: list[dict], started: float, console: Console) -> None:
    if not rows:
        return
    seconds = time.perf_counter() - started
    images = sum(row["train_images_per_second"] * row["train_seconds"] for row in rows)
    each = sorted(row["train_images_per_second"] for row in rows)
    console.print(
        f"{len(rows)} runs in {seconds:.0f} s; training one run: {each[len(each) // 2]:,.0f} "
        f"images/s (median of {len(each)}, {each[0]:,.0f} to {each[-1]:,.0f}); whole sweep with "
        f"start and evaluation: {images / seconds:,.0f} images/s",
        highlight=False,
        soft_wrap=True,
    )


def _tell_outcome(
    benchmark: Benchmark,
    out: Path,
    planned: set[str],
    failed: dict[str, str],
    runs: dict[str, Run],
    console: Console,
) -> int:
    done = planned & results.row_keys(out)
    aurocs = [results.read_row(out, name)["image_auroc"] for name in sorted(done)]
    if aurocs:
        console.print(
            f"{benchmark.name}: {len(done)} of {len(planned)} rows, mean image AUROC "
            f"{sum(aurocs) / len(aurocs):.3f}; table: fcdd report {out} --out {out / 'report'}",
            highlight=False,
            soft_wrap=True,
        )
    describe = Names(runs.values())
    for name in sorted(planned - done):
        path = results.failure_path(out, name)
        where = f"traceback: {path}" if path.exists() else failed.get(name, "not run")
        console.print(
            f"FAILED {describe(runs[name])} ({name}); {where}", highlight=False, soft_wrap=True
        )
    if planned - done:
        console.print(
            f"{len(planned - done)} of {len(planned)} runs have no row; "
            "the same command goes on, --retry-failed tries failed runs again",
            highlight=False,
            soft_wrap=True,
        )
    return 1 if planned - done else 0
