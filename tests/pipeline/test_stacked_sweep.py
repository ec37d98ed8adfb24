"""Stacks through the real Ray Tune, on a CPU, where users get none."""

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

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # on a busy machine
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
from pipeline import results
from pipeline.benchmark import Resources
from pipeline.sweep.cluster import joined
from pipeline.sweep.local import Planned, Surroundings, sweep

logging.basicConfig(format="%(message)s")
out, runs_per_gpu, changes = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
results.prepare(out)
runs = [change(base, {"net.bias": False} | one) for one in changes]
images = {"digits": load(base.data, None)}
pools = {"photographs": load_pool("photographs", (1, 28, 28), root=None, pool=None)}
planned = [Planned(f"{n:016x}", run, "digits", "photographs") for n, run in enumerate(runs)]
with joined(None):
    for event in sweep(
        planned,
        images,
        pools,
        surroundings=Surroundings(out, "cpu", {"commit": "c" * 40, "dirty": False}),
        resources=Resources(runs_per_gpu=runs_per_gpu),
        stacked=True,
    ):
        print(json.dumps([type(event).__name__, int(event.key, 16)]), flush=True)
"""


def start(
    out: Path, environment: dict[str, str], *, runs_per_gpu: Any, changes: list[dict]
) -> "subprocess.Popen[str]":
    arguments = (str(out), json.dumps(runs_per_gpu), json.dumps(changes))
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def ended(driver: "subprocess.Popen[str]") -> tuple[list[tuple[str, int]], str]:
    output, errors = driver.communicate(timeout=500)
    assert driver.returncode == 0, errors
    told = [line for line in output.splitlines() if line.startswith("[")]  # Ray writes there, too
    return [(kind, number) for kind, number in map(json.loads, told)], errors


def rows_of(out: Path) -> dict[int, dict[str, Any]]:
    return {int(row["key"], 16): row for row in results.read_rows([out])}


def kill_at_stack(driver: "subprocess.Popen[str]", out: Path, *, times: int, epoch: int) -> None:
    """Kills the worker at which several runs are, so often, as soon as they are at `epoch`."""
    killed: set[int] = set()
    deadline = time.monotonic() + 300
    while len(killed) < times:
        assert driver.poll() is None and time.monotonic() < deadline, driver.communicate()
        time.sleep(0.02)
        beats = running.read(out).values()
        counts = Counter(beat["pid"] for beat in beats if beat["epoch"] >= epoch)
        for pid in [pid for pid, count in counts.items() if count > 1 and pid not in killed]:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)


def test_every_run_of_a_stack_leaves_its_row_or_its_failure(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    short: dict[str, float] = {"training.epochs": 2}
    changes = [short | {"seed": seed} for seed in range(4)]
    changes[1] |= {"training.lr": 1e38}
    changes += [{"training.epochs": 1}, short | {"seed": 9}]
    driver = start(tmp_path, marked_environment, runs_per_gpu=3, changes=changes)
    events, _ = ended(driver)
    kinds = Counter(kind for kind, _ in events)
    assert kinds["Started"] == 6
    assert sorted(number for kind, number in events if kind == "Finished") == [0, 2, 3, 4, 5]
    assert [number for kind, number in events if kind == "Failed"] == [1]
    rows = rows_of(tmp_path)
    # Five of one kind make stacks of 3 and 2; the run of one epoch is of another kind.
    assert {number: row["stack"] for number, row in rows.items()} == {0: 3, 2: 3, 3: 2, 4: 1, 5: 2}
    probes = {row["stack_probe"] for number, row in rows.items() if number != 4}
    (told,) = probes
    assert told.startswith("3 together (3: ")
    assert told.endswith(": 3 were asked for")
    assert rows[4]["stack_probe"] is None
    assert results.failed_keys(tmp_path) == {f"{1:016x}"}
    text = results.failure_path(tmp_path, f"{1:016x}").read_text(encoding="utf-8")
    assert text.startswith("FloatingPointError: the loss is")
    assert running.read(tmp_path) == {}
    assert [line["epoch"] for line in results.read_curve(tmp_path, f"{5:016x}")] == [1, 2]


def test_probe_decides_where_it_is_asked_to(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    changes = [{"training.epochs": 1, "seed": seed} for seed in range(2)]
    driver = start(tmp_path, marked_environment, runs_per_gpu="auto", changes=changes)
    events, _ = ended(driver)
    assert Counter(kind for kind, _ in events)["Finished"] == 2
    rows = rows_of(tmp_path).values()
    (told,) = {row["stack_probe"] for row in rows}
    width = int(told.partition(" ")[0])
    assert {row["stack"] for row in rows} == {width}
    assert told.startswith(f"{width} together (1: ")
    assert "images/s" in told and " GB; 2: " in told


LONG = [{"training.epochs": 20, "seed": seed} for seed in range(2)]


def test_stack_whose_worker_is_killed_begins_anew(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    driver = start(tmp_path, marked_environment, runs_per_gpu=2, changes=LONG)
    kill_at_stack(driver, tmp_path, times=1, epoch=0)
    events, errors = ended(driver)
    assert "lost its worker" in errors
    assert "its runs begin anew elsewhere" in errors
    assert sorted(number for kind, number in events if kind == "Finished") == [0, 1]
    assert {row["stack"] for row in rows_of(tmp_path).values()} == {2}
    assert running.read(tmp_path) == {}


def test_stack_that_loses_every_worker_is_broken_up(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    driver = start(tmp_path, marked_environment, runs_per_gpu=2, changes=LONG)
    kill_at_stack(driver, tmp_path, times=2, epoch=0)
    events, errors = ended(driver)
    assert "2 runs are tried singly" in errors
    assert sorted(number for kind, number in events if kind == "Finished") == [0, 1]
    assert [kind for kind, _ in events].count("Failed") == 0
    rows = rows_of(tmp_path)
    assert {row["stack"] for row in rows.values()} == {1}
    assert {row["stack_probe"].partition(" ")[0] for row in rows.values()} == {"2"}
