"""What a run costs besides its work, and what side by side is worth."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from figures import Figure
from PIL import Image

from pipeline import results

ROOT = Path(__file__).parents[2]
_SPEC = """
from fcdd.config import change
from jobs.select import load_spec
from pipeline.benchmark import Benchmark, expand

base = change(
    load_spec("quickstart").runs[0],
    {
        "data.name": "custom",
        "data.layout": "one_vs_rest",
        "data.preprocessing": "none",
        "data.classes": ("a", "b"),
        "data.size": (32, 32),
        "net.name": "FCDD_CNN32",
        "training.epochs": 1,
        "supervision.mode": "unsupervised",
        "outliers.source": "none",
    },
)
benchmark = Benchmark("trivial", expand(base, {"seed": range(NUM)}))
"""
_TRAIN = """
import sys, time, torch
from fcdd.config import change
from fcdd.nets.build import build
from fcdd.training import make_optimizer, train_epoch
from jobs.select import load_spec
from pipeline.probe import random_task

torch.set_num_threads(int(sys.argv[3]))
cpu = torch.device("cpu")
run = change(load_spec(sys.argv[1]).runs[0], {"training.batch_size": 32})
task = random_task(run, 64, cpu)
net = build(run).to(memory_format=torch.channels_last)
optimizer = make_optimizer(run, net)
train_epoch(run, task, net=net, optimizer=optimizer, epoch=1)
print("ready", flush=True)
sys.stdin.readline()
started, images = time.perf_counter(), 0
while time.perf_counter() - started < float(sys.argv[2]):
    train_epoch(run, task, net=net, optimizer=optimizer, epoch=1)
    images += 64
print(images / (time.perf_counter() - started), flush=True)
"""
_MACHINE = """
import sys, time, torch

torch.set_num_threads(int(sys.argv[3]))
if sys.argv[1] == "product":
    a = torch.randn(1024, 1024)
    work, each = (lambda: a @ a), 2e-9 * 1024**3
else:
    a, b = torch.zeros(2**25), torch.zeros(2**25)
    work, each = (lambda: b.copy_(a)), 8e-9 * 2**25
work()
print("ready", flush=True)
sys.stdin.readline()
started, done = time.perf_counter(), 0.0
while time.perf_counter() - started < float(sys.argv[2]):
    work()
    done += each
print(done / (time.perf_counter() - started), flush=True)
"""


def overhead(num: int) -> tuple[float, float]:
    """(ms of wall time, ms of it beyond training and evaluation) per run of a sweep of `num`
    runs of one epoch of four images of 32 x 32, by `fcdd run` with rows, scores, curves, heatmaps
    and MLflow on.

    From the times at which the second half of the rows was written: all workers are up by then.
    """
    with tempfile.TemporaryDirectory(prefix="fcdd-speed-") as folder:
        spec, out = Path(folder) / "trivial.py", Path(folder) / "out"
        spec.write_text(_SPEC.replace("NUM", str(num)))
        _draw(Path(folder) / "images")
        command = [sys.executable, "-m", "jobs", "run", str(spec), "--out", str(out)]
        environment = os.environ | {
            "RAY_AUTH_TOKEN_PATH": str(Path(folder) / "token"),
            "PYTHONPATH": str(ROOT),
        }
        environment.pop("RAY_ADDRESS", None)
        (Path(folder) / "token").write_text("0" * 64)
        done = subprocess.run(
            [*command, "--device", "cpu", "--data-root", str(Path(folder) / "images")],
            cwd=folder,
            env=environment,
            capture_output=True,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr.decode()}")
        files = sorted((path.stat().st_mtime, path.stem) for path in (out / "rows").iterdir())
        half = files[num // 2 :]
        wall = (half[-1][0] - half[0][0]) / (len(half) - 1)
        rows = [results.read_row(out, key) for _, key in half]
        work = sum(row["train_seconds"] + row["evaluate_seconds"] for row in rows) / len(rows)
        return wall * 1000, (wall - work / (os.cpu_count() or 1)) * 1000


def _draw(root: Path) -> None:
    """Four random gray images of 32 x 32 for training and test, of each of two classes."""
    values = np.random.default_rng(0)
    for folder in (root / part / name for part in ("train", "test") for name in ("a", "b")):
        folder.mkdir(parents=True)
        for number in range(4):
            pixels = values.integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")


def side_by_side(what: str, *, n: int, each_seconds: float) -> list[Figure]:
    """Images/s, training the first run of spec `what`, of one process of one thread, of two such
    together, the ratio of the second to the first, and images/s of one process of two threads;
    taken in turn n times. What the machine itself gives: GFLOP/s of a matrix "product" that stays
    in the cache, and GB/s read and written by a "copy" that does not."""
    script = _MACHINE if what in ("product", "copy") else _TRAIN
    alone, both, wide = [], [], []
    for _ in range(n):
        alone.append(sum(_together(script, what, 1, each_seconds)))
        both.append(sum(_together(script, what, 2, each_seconds)))
        wide.append(sum(_together(script, what, 1, each_seconds, threads=2)))
    ratios = [b / a for a, b in zip(alone, both, strict=True)]
    return [Figure(tuple(values)) for values in (alone, both, ratios, wide)]


def _together(
    script: str, what: str, processes: int, each_seconds: float, *, threads: int = 1
) -> list[float]:
    """What each of the processes told that began at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script, what, str(each_seconds), str(threads)],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout is not None and process.stdin is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the process of {what} ended before it was ready")
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [float(process.communicate()[0]) for process in started]
