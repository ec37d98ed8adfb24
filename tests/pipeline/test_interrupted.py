"""Real sweeps whose worker or driver is killed: the same command ends with the same rows."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fcdd.config import change
from fcdd.data.load import load
from fcdd.data.outliers import load_pool
from jobs.specs.quickstart import base
from pipeline import results, running
from pipeline.trial import Trial, execute

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="finds processes in /proc"
)
EPOCHS = 300  # the workers of a driver that was killed live on for seconds
CHANGES = {"training.epochs": EPOCHS, "evaluation.test_every": 20}
SPEC = f"""
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark
one = change(base, {CHANGES})
benchmark = Benchmark("mine", (one,))
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `fcdd run` into a folder; all of its processes end with the test."""
    mark, spec = uuid.uuid4().hex, tmp_path / "mine.py"
    environment = os.environ | {"FCDD_TEST_MARK": mark, "FCDD_COMMIT": "c" * 40}

    def run(out: Path, *options: str, text: str = SPEC) -> "subprocess.Popen[str]":
        spec.write_text(text)
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "jobs", "run", str(spec), "--out", str(out)),
                *("--device", "cpu", "--no-tracking", *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    yield run
    for process in marked(mark):
        os.kill(process, signal.SIGKILL)


def marked(value: str) -> list[int]:
    """Processes whose environment holds FCDD_TEST_MARK=`value`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"FCDD_TEST_MARK={value}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def wait_for_checkpoint(out: Path, sweep: "subprocess.Popen[str]") -> int:
    """The process at the run, as soon as it has left a checkpoint."""
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/*/checkpoint.safetensors")):
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < deadline, "no checkpoint within 120 s"
        time.sleep(0.02)
    (beat,) = running.read(out).values()
    return beat["pid"]


def done(sweep: "subprocess.Popen[str]") -> str:
    """Waits for a sweep that ends well; what it said on stderr."""
    _, errors = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, errors
    return errors


def undisturbed(out: Path) -> tuple[dict[str, Any], bytes]:
    results.prepare(out)
    run = change(base, CHANGES)
    pool = load_pool("photographs", (1, 28, 28), root=None, pool=None)
    execute(
        Trial("0" * 16, run, load(run.data, None), pool),
        out=out,
        device=torch.device("cpu"),
        commit={"commit": "c" * 40, "dirty": False},
    )
    return the_row(out)


def the_row(out: Path) -> tuple[dict[str, Any], bytes]:
    """The row, as far as it is not measured, and the bytes of the scores, of the one run."""
    (key,) = results.row_keys(out)
    row = results.read_row(out, key)
    scores = (out / "scores" / f"{key}.parquet").read_bytes()
    assert [epoch["epoch"] for epoch in results.read_curve(out, key)] == [*range(1, EPOCHS + 1)]
    assert list(out.glob("checkpoints/*")) == []
    left_out = {"key", *results.MEASURED}
    return {name: value for name, value in row.items() if name not in left_out}, scores


@pytest.mark.long  # the chaos test kills as much in CI
def test_killed_worker_and_killed_driver_give_the_row_of_an_undisturbed_run(
    tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    expected = undisturbed(tmp_path / "undisturbed")
    often = ("--checkpoint-every", "0.5s")
    sweep = start(tmp_path / "worker", *often)
    os.kill(wait_for_checkpoint(tmp_path / "worker", sweep), signal.SIGKILL)
    errors = done(sweep)
    assert "lost its worker" in errors
    assert "goes on from its checkpoint after epoch" in errors
    assert the_row(tmp_path / "worker") == expected

    out = tmp_path / "driver"
    sweep = start(out, *often)
    worker = wait_for_checkpoint(out, sweep)
    sweep.kill()
    sweep.communicate()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline, "the worker outlived its driver by 60 s"
        time.sleep(0.1)
    assert results.row_keys(out) == set()
    errors = done(start(out, *often))
    assert "goes on from its checkpoint after epoch" in errors
    assert the_row(out) == expected


@pytest.mark.services
def test_run_over_its_time_limit_is_stopped_and_named_while_the_others_go_on(
    tmp_path: Path, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    long = ": 100_000, 'training.passes': 30"  # next to nothing of an epoch is not training
    endless = SPEC.replace(f": {EPOCHS}", long).replace(
        "(one,)", 'one, change(base, {"training.epochs": 2, "seed": 1})'.join("()")
    )
    sweep = start(tmp_path, "--time-limit", "8s", "--checkpoint-every", "1s", text=endless)
    output, errors = sweep.communicate(timeout=200)
    assert sweep.returncode == 1, output + errors
    by_seed = {entry["run"]["seed"]: key for key, entry in results.read_plan(tmp_path).items()}
    assert results.row_keys(tmp_path) == {by_seed[1]}
    assert results.failed_keys(tmp_path) == {by_seed[0]}
    account = results.failure_path(tmp_path, by_seed[0]).read_text()
    assert account.startswith(f"run {by_seed[0]} failed: it took longer than its time limit")
    assert "in train_epoch" in account  # where it was
    assert account.endswith("stopped after 8 s, the time limit of a run\n")
    assert list(tmp_path.glob("running/*")) == []
    assert list(tmp_path.glob(f"checkpoints/{by_seed[0]}/checkpoint.safetensors"))
