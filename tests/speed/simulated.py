"""`fcdd run` of very many runs that do not train, measured; a process of `scale.py`.

python tests/speed/simulated.py --out DIR --num 10000 --slots 16 [--no-tracking]

Planning, Ray Tune, reports, heartbeats, rows, events, MLflow and the lock are the shipped ones. In
the workers alone, `pipeline.trial.execute` is replaced: it writes the files of a real run (trained
once, before) under the new run's key. Prints one line of JSON; DIR.samples holds what was sampled
so far, for a sweep that is stopped.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from jobs.cli import SWITCHES

_SAMPLE_SECONDS = 2.0
TEMPLATE: dict[str, Any] = {}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--tracking", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    # Slots are CPUs that Ray believes in: the runs need none.
    os.environ |= {**SWITCHES, "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": options.slots})}
    os.environ.pop("RAY_ADDRESS", None)

    from rich.console import Console

    from jobs.loading import Sources
    from jobs.run_benchmark import Care, Places, run_benchmark
    from pipeline.sweep import local

    benchmark = planned(options.num)
    # By a process of its own: what training takes is no memory of the driver.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        TEMPLATE["files"] = pool.apply(one_real_run)
    local.execute_config = simulate  # what Tune ships to the workers
    places = Places(
        out=options.out.resolve(),
        sources=Sources(None, None, None, None, False),
        tracking=options.tracking,
        tracking_uri=None,
        address=None,
    )
    samples = Samples(options.out / "rows")
    started, cpu = time.perf_counter(), time.process_time()
    code = run_benchmark(
        benchmark, places, device="cpu", care=Care(), console=Console(file=sys.stderr)
    )
    samples.end()
    print(
        json.dumps(
            {
                "code": code,
                "wall_seconds": time.perf_counter() - started,
                "driver_cpu_seconds": time.process_time() - cpu,
                "driver_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "threads": samples.threads,
                "samples": samples.taken,
            }
        )
    )


def planned(num: int) -> Any:
    """Ten classes of the digits, as many seeds as make `num` runs, one epoch."""
    from fcdd.config import change
    from jobs.select import load_spec
    from pipeline.benchmark import Benchmark, expand

    base = change(
        load_spec("quickstart").runs[0],
        {"training.epochs": 10, "supervision.mode": "unsupervised", "outliers.source": "none"},
    )
    over = {"data.normal_class": range(10), "seed": range(-(-num // 10))}
    return Benchmark("scale", expand(base, over)[:num])


def one_real_run() -> dict[str, Any]:
    """What a run of the plan leaves: row, scores, curve, heatmaps."""
    import torch

    from fcdd.data.load import load
    from pipeline import results
    from pipeline.outputs import Trial
    from pipeline.trial import execute

    run, key = planned(1).runs[0], "0" * 16
    with tempfile.TemporaryDirectory(prefix="fcdd-scale-") as folder:
        out = Path(folder)
        results.prepare(out)
        row = execute(
            Trial(key, run, load(run.data, None), None),
            out=out,
            device=torch.device("cpu"),
            commit={"commit": "0" * 40, "dirty": False},
        )
        scores = results.read_scores(out, key).to_pydict()
        return {
            "row": row,
            "scores": scores,
            "curve": results.read_curve(out, key),
            "heatmaps": results.read_heatmaps(out, key),
        }


def simulate(config: dict[str, Any], *, images: Any, pools: Any, surroundings: Any) -> None:
    """The worker's function, with `written` in place of the training."""
    from pipeline import trial
    from pipeline.sweep import worker

    trial.execute = written
    worker.execute_config(config, images=images, pools=pools, surroundings=surroundings)


def written(trial: Any, **known: Any) -> dict[str, Any]:
    """Writes the files of the real run under the key of `trial`, reports its epochs and returns the
    row."""
    from fcdd.config import flatten
    from fcdd.training import Epoch
    from pipeline import results

    out, key, files = known["out"], trial.key, TEMPLATE["files"]
    results.write_scores(out, key, files["scores"])
    results.write_curve(out, key, files["curve"])
    results.write_heatmaps(out, key, **files["heatmaps"])
    for epoch in files["curve"]:
        known["report"](Epoch(**epoch))
    fields = {k: list(v) if isinstance(v, tuple) else v for k, v in flatten(trial.run).items()}
    auroc = 0.5 + int(key, 16) / 16**16 / 2  # spread, and always the same for a key
    row = files["row"] | fields | {"key": key, "image_auroc": auroc}
    row["class_name"] = trial.run.data.class_name
    results.write_row(out, row)
    return row


class Samples:
    """Seconds, the processor seconds of the driver and of its threads, memory and rows, sampled."""

    def __init__(self, rows: Path) -> None:
        self.threads: dict[str, float] = {}
        self.taken: list[tuple[float, float, int, int]] = []
        self._rows, self._done = rows, threading.Event()
        self._thread = threading.Thread(target=self._watch, name="samples", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        started, tick = time.perf_counter(), os.sysconf("SC_CLK_TCK")
        while not self._done.wait(_SAMPLE_SECONDS):
            for thread in threading.enumerate():
                stat = Path(f"/proc/self/task/{thread.native_id}/stat")
                if stat.exists():
                    fields = stat.read_text().rpartition(")")[2].split()
                    self.threads[thread.name] = (int(fields[11]) + int(fields[12])) / tick
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            rows = len(os.listdir(self._rows)) if self._rows.is_dir() else 0
            now = time.perf_counter() - started
            memory = pages * resource.getpagesize()
            self.taken.append((now, time.process_time(), memory, rows))
            with Path(f"{self._rows.parent}.samples").open("a") as file:
                print(json.dumps([*self.taken[-1], self.threads]), file=file)

    def end(self) -> None:
        self._done.set()
        self._thread.join()


if __name__ == "__main__":
    main()
