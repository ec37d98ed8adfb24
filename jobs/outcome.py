"""What a sweep came to, told at its end."""

import shlex
import statistics
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from rich.console import Console

from fcdd.config import Run
from jobs.progress import Names
from pipeline import results
from pipeline.benchmark import Benchmark
from pipeline.places import Place


def tell_throughput(out: Place, keys: Collection[str], started: float, console: Console) -> None:
    """Says how fast the runs `keys` were that a sweep since `started` finished, if any."""
    rows = _rows(out, keys)
    if not rows:
        return
    seconds = time.perf_counter() - started
    images = sum(row["train_images_per_second"] * row["train_seconds"] for row in rows)
    each = [row["train_images_per_second"] for row in rows]
    say(
        console,
        f"{len(rows)} run{'s' * (len(rows) > 1)} in {seconds:.0f} s; training one run: "
        f"{statistics.median(each):,.0f} images/s (median of {len(each)}, {min(each):,.0f} to "
        f"{max(each):,.0f}); whole sweep with start and evaluation: "
        f"{images / seconds:,.0f} images/s",
    )


def tell_outcome(
    benchmark: Benchmark,
    out: Place,
    runs: Mapping[str, Run],
    failed: Mapping[str, str],
    console: Console,
) -> int:
    """Says what became of the runs, and returns the exit code: 0 when every one has its row."""
    done = set(runs) & results.row_keys(out)
    aurocs = [row["image_auroc"] for row in _rows(out, done)]
    if aurocs:
        report = out / "report" if isinstance(out, Path) else Path("results", benchmark.name)
        say(
            console,
            f"{benchmark.name}: {len(done)} of {len(runs)} rows, mean image AUROC "
            f"{sum(aurocs) / len(aurocs):.3f}; table: fcdd report "
            f"{shlex.quote(str(out))} --out {report}",
        )
    describe = Names(runs.values())
    missing = sorted(set(runs) - done)
    for name in missing:
        path = results.failure_path(out, name)
        where = f"traceback: {path}" if path.exists() else failed.get(name, "not run")
        say(console, f"FAILED {describe(runs[name])} ({name}); {where}")
    if missing:
        say(
            console,
            f"{len(missing)} of {len(runs)} runs have no row; "
            "the same command goes on, --retry-failed tries failed runs again",
        )
    return 1 if missing else 0


def say(console: Console, text: str) -> None:
    """Prints `text` as one line, however long."""
    console.print(text, highlight=False, soft_wrap=True)


def _rows(out: Place, names: Collection[str]) -> list[dict]:
    columns = ("key", "image_auroc", "train_images_per_second", "train_seconds")
    return results.read_table(out, columns, keys=set(names)).to_pylist() if names else []
