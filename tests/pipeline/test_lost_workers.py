"""Workers that are killed under a real sweep."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from fcdd.config import Run, change
from fcdd.data.load import load
from fcdd.data.outliers import load_pool
from jobs.specs.quickstart import base
from pipeline import results, running
from pipeline.trial import Trial, execute

pytestmark = pytest.mark.services

EPOCHS = 150  # more than the 2 s after which a run reports first
SPEC = f"""
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark, expand
long = expand(change(base, {{"training.epochs": {EPOCHS}}}), {{"seed": range(2)}})
benchmark = Benchmark("mine", (*long, change(base, {{"training.epochs": 5, "seed": 2}})))
"""


@pytest.mark.timeout(600)  # on a busy machine
def test_lost_worker_is_replaced_once_and_a_run_that_loses_every_worker_is_named(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    out, spec = tmp_path / "out", tmp_path / "mine.py"
    spec.write_text(SPEC)
    command = [sys.executable, "-m", "jobs", "run", str(spec), "--out", str(out), "--device", "cpu"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=marked_environment,
    ) as sweep:
        killed = kill_workers(sweep, out, every_time=0, once=1)
        output, errors = sweep.communicate(timeout=120)
    by_seed = {entry["run"]["seed"]: key for key, entry in results.read_plan(out).items()}
    poisoned, unlucky = by_seed[0], by_seed[1]
    assert Counter(killed) == {poisoned: 2, unlucky: 1}
    assert sweep.returncode == 1, output + errors
    assert "mine: 2 of 3 rows" in output
    assert errors.count(f"run {unlucky} lost its worker") == 1, errors
    assert errors.count(f"run {poisoned} lost its worker") == 1, errors

    assert results.row_keys(out) == set(by_seed.values()) - {poisoned}
    assert results.failed_keys(out) == {poisoned}
    failure = results.failure_path(out, poisoned)
    assert f"({poisoned}); traceback: {failure}" in output
    account = failure.read_text()
    assert account.startswith(f"run {poisoned} failed: the worker process was lost, 2 times in a")
    assert "the same `fcdd run` command with --retry-failed" in account
    assert f", epoch 0 of {EPOCHS}, process " in account
    assert running.read(out) == {}
    assert statuses(out) == {"FINISHED": 2, "FAILED": 1}

    row = results.read_row(out, unlucky)
    undisturbed = execute_here(change(base, {"training.epochs": EPOCHS, "seed": 1}), tmp_path)
    assert measured_apart(row) == measured_apart(undisturbed)

    again = subprocess.run(
        [*command, "--retry-failed"],
        capture_output=True,
        text=True,
        timeout=200,
        env=marked_environment,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "3 runs, 2 done, 0 failed before, 1 to do" in again.stdout
    assert len(results.row_keys(out)) == 3
    assert statuses(out) == {"FINISHED": 3}


def kill_workers(
    sweep: "subprocess.Popen[str]", out: Path, *, every_time: int, once: int
) -> list[str]:
    """Kills the worker at the run of seed `every_time` as soon as it begins, each time, and that of
    seed `once` after its first report; returns the keys of the killed, until the sweep ends."""
    killed: list[str] = []
    pids: set[int] = set()
    deadline = time.monotonic() + 300
    while sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
        beats = running.read(out)
        if not beats:
            continue
        seeds = {key: entry["run"]["seed"] for key, entry in results.read_plan(out).items()}
        for key, beat in beats.items():
            doomed = seeds[key] == every_time or (
                seeds[key] == once and key not in killed and beat["epoch"] > 0
            )
            if doomed and beat["pid"] not in pids:
                os.kill(beat["pid"], signal.SIGKILL)
                pids.add(beat["pid"])
                killed.append(key)
    return killed


def execute_here(run: Run, folder: Path) -> dict:
    results.prepare(folder / "here")
    pool = load_pool("photographs", (1, 28, 28), root=None, pool=None)
    trial = Trial("0" * 16, run, load(run.data, None), pool)
    return execute(
        trial,
        out=folder / "here",
        device=torch.device("cpu"),
        commit={"commit": "test", "dirty": False},
    )


def measured_apart(row: dict) -> dict:
    return {name: value for name, value in row.items() if name not in {"key", *results.MEASURED}}


def statuses(out: Path) -> dict[str, int]:
    """How many children have which status; each FINISHED one has every epoch once."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    children = client.search_runs([experiment.experiment_id], "tags.role = 'run'")
    for child in children:
        if child.info.status == "FINISHED":
            history = client.get_metric_history(child.info.run_id, "train_loss")
            epochs = results.read_row(out, child.data.tags["key"])["training.epochs"]
            assert [metric.step for metric in history] == list(range(1, epochs + 1))
    return dict(Counter(child.info.status for child in children))
