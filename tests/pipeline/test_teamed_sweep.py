"""Runs of several processes through the real Ray Tune and Ray Train, on a CPU, where users get
none."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipeline import results, running

pytestmark = pytest.mark.timeout(600)  # on a busy machine
DRIVER = """
import json, os, sys
from jobs.cli import SWITCHES

for name, value in SWITCHES.items():
    os.environ.setdefault(name, value)
import logging
from pathlib import Path

from fcdd.config import change
from fcdd.data.load import load
from fcdd.data.outliers import load_pool
from jobs.specs.quickstart import base
from pipeline.benchmark import Resources
from pipeline import results
from pipeline.sweep.cluster import joined
from pipeline.sweep.local import Planned, Surroundings, sweep

logging.basicConfig(format="%(message)s")
out, processes, changes = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
results.prepare(out)
sgd = {"training.optimizer": "sgd", "training.lr": 0.01}
runs = [change(base, sgd | one) for one in changes]
images = {"digits": load(base.data, None)}
pools = {"photographs": load_pool("photographs", (1, 28, 28), root=None, pool=None)}
planned = [Planned(f"{n:016x}", run, "digits", "photographs") for n, run in enumerate(runs)]
with joined(None):
    for event in sweep(
        planned,
        images,
        pools,
        surroundings=Surroundings(
            out, "cpu", {"commit": "c" * 40, "dirty": False}, checkpoint_seconds=0.1
        ),
        resources=Resources(gpus_per_run=processes),
        teamed=True,
    ):
        print(json.dumps([type(event).__name__, int(event.key, 16)]), flush=True)
"""


def start(
    out: Path, environment: dict[str, str], *, processes: int, changes: list[dict]
) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(out), str(processes), json.dumps(changes)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ended(driver: "subprocess.Popen[str]") -> tuple[list[tuple[str, int]], str]:
    output, errors = driver.communicate(timeout=400)
    assert driver.returncode == 0, errors
    told = [line for line in output.splitlines() if line.startswith("[")]  # Ray writes there, too
    return [(kind, number) for kind, number in map(json.loads, told)], errors


def rows_of(out: Path) -> dict[int, dict[str, Any]]:
    return {int(row["key"], 16): row for row in results.read_rows([out])}


@pytest.mark.services
def test_a_team_makes_the_row_of_one_process(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    """Within rounding; a run that fails in a team fails once, with its own words."""
    changes: list[dict[str, Any]] = [
        {"training.epochs": 3},
        {"training.epochs": 1, "training.lr": 1e38},
        {"training.epochs": 1, "training.batch_size": 1},
    ]
    for folder, processes in (("team", 2), ("alone", 1)):
        driver = start(tmp_path / folder, marked_environment, processes=processes, changes=changes)
        events, errors = ended(driver)
        told = Counter(one for one in events if one[0] in ("Finished", "Failed"))
        assert told == {("Finished", 0): 1, ("Failed", 1): 1, ("Finished", 2): 1}, errors
        if processes > 1:
            assert "runs with one GPU each: training.batch_size is 1" in errors
    team, alone = rows_of(tmp_path / "team"), rows_of(tmp_path / "alone")
    assert (team[0]["execution"], alone[0]["execution"]) == ("2 processes", "eager")
    assert team[2]["execution"] == "eager"
    assert team[0]["train_loss"] == pytest.approx(alone[0]["train_loss"], rel=1e-4)
    assert team[0]["image_auroc"] == pytest.approx(alone[0]["image_auroc"], abs=1e-3)
    assert team[2]["image_auroc"] == alone[2]["image_auroc"]
    scores = [results.read_scores(tmp_path / f, f"{0:016x}")["score"] for f in ("team", "alone")]
    assert scores[0].to_numpy() == pytest.approx(scores[1].to_numpy(), rel=1e-3, abs=1e-6)
    text = results.failure_path(tmp_path / "team", f"{1:016x}").read_text(encoding="utf-8")
    assert "\nFloatingPointError: the loss is nan in epoch 1" in text
    assert running.read(tmp_path / "team") == {}
    assert [*(tmp_path / "team" / "checkpoints").iterdir()] == []


@pytest.mark.long
def test_a_team_that_loses_a_process_goes_on_from_its_checkpoint(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    driver = start(tmp_path, marked_environment, processes=2, changes=[{"training.epochs": 60}])
    key = f"{0:016x}"
    saved = results.checkpoint_path(tmp_path, key) / "checkpoint.safetensors"
    deadline = time.monotonic() + 200
    while not saved.exists():
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.02)
    os.kill(running.read(tmp_path)[key]["pid"], signal.SIGKILL)
    events, errors = ended(driver)
    assert [number for kind, number in events if kind == "Finished"] == [0], errors
    assert not [number for kind, number in events if kind == "Failed"]
    assert f"run {key}: goes on from its checkpoint after epoch" in errors
    assert len(results.read_curve(tmp_path, key)) == 60
    assert rows_of(tmp_path)[0]["execution"] == "2 processes"
    assert results.failed_keys(tmp_path) == set()
