"""The state of a folder from its files, counted by hand."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fcdd.config import Run, change
from pipeline import results, running
from pipeline.lock import only_driver
from pipeline.status import status

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
DONE, RUNNING, STALE, FAILED, MISSING, OTHER = (c * 16 for c in "abcdef")
TIMES = {"train_seconds": 90.0, "evaluate_seconds": 10.0, "total_seconds": 120.0}


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat(timespec="seconds")


@pytest.fixture
def folder(tmp_path: Path, digits_run: Run, make_row: Callable[..., dict[str, Any]]) -> Path:
    """Two of each epoch count: one done, one at work, one gone silent, one failed, two missing."""
    results.prepare(tmp_path)
    run = change(digits_run, {"training.epochs": 50})
    runs = {
        key: change(run, {"seed": seed})
        for seed, key in enumerate((DONE, RUNNING, STALE, FAILED, MISSING))
    }
    runs[OTHER] = change(run, {"net.name": "FCDD_CNN28_W"})
    results.write_plan(tmp_path, "b", {k: one.model_dump(mode="json") for k, one in runs.items()})
    row = make_row(
        run_={"training.epochs": 50},
        key=DONE,
        started_at=ago(1800),
        train_images_per_second=1000.0,
        **TIMES,
    )
    results.write_row(tmp_path, row)
    beat = {"host": "node1", "pid": 11, "started_at": ago(70), "epochs": 50}
    running.write(tmp_path, RUNNING, beat | {"epoch": 30, "beat_at": ago(10)})
    running.write(tmp_path, STALE, beat | {"epoch": 5, "beat_at": ago(61)})
    results.write_text(results.failure_path(tmp_path, FAILED), "Traceback\nValueError: [no]\n\n")
    return tmp_path


def test_every_planned_run_has_one_state(folder: Path) -> None:
    found = status(folder, now=NOW)
    assert {key: dict(counts) for key, counts in found.groups.items()} == {
        ("digits", "fcdd FCDD_CNN28 outlier_exposure"): {
            "done": 1,
            "running": 1,
            "stale": 1,
            "failed": 1,
            "missing": 1,
        },
        ("digits", "fcdd FCDD_CNN28_W outlier_exposure"): {"missing": 1},
    }
    assert found.num_runs == 6
    assert [(one.key, one.state, one.epoch) for one in found.running] == [
        (RUNNING, "running", 30),
        (STALE, "stale", 5),
    ]
    assert [one.age_seconds for one in found.running] == [10.0, 61.0]
    assert [(one.key, one.reason) for one in found.failed] == [(FAILED, "ValueError: [no]")]
    assert found.driver is None


def test_throughput_is_that_of_the_last_hour_and_eta_counts_epochs(folder: Path) -> None:
    found = status(folder, now=NOW)
    assert found.runs_per_hour == pytest.approx(1 / 0.5)  # one, begun half an hour ago
    assert found.images_per_second == pytest.approx(1000 * 90 / 1800)
    # 80 epochs in 100 + 60 s are 2 s each; left: 20 + 45 + 50 of one method, 50 of the other
    assert found.eta_seconds == pytest.approx(2.0 * 165)
    later = status(folder, now=NOW + timedelta(hours=2))  # its worker is silent: nothing runs
    assert later.runs_per_hour == pytest.approx(30)  # the last row's own 120 s
    assert later.images_per_second == pytest.approx(1000 * 90 / 120)
    assert later.eta_seconds is None


def test_share_of_a_stack_counts_as_often_as_runs_were_in_it(folder: Path) -> None:
    row = results.read_row(folder, DONE)
    results.write_row(folder, row | {"stack": 3})
    # 80 epochs in 3 * 90 + 10 + 60 s; left as above
    assert status(folder, now=NOW).eta_seconds == pytest.approx(340 / 80 * 165)


def test_driver_is_named(folder: Path) -> None:
    with only_driver(folder):
        found = status(folder)
        assert found.driver is not None
        assert found.driver["pid"] == os.getpid()
        assert found.driver["age_seconds"] < 30


def test_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no plan; known: the DIR of"):
        status(tmp_path)


def fcdd(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs", "status", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_command_tells_it_in_plain_lines(folder: Path) -> None:
    done = fcdd(str(folder))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{folder}: 1 of 6 runs done, ")
    assert "1 failed" in lines[0]
    assert lines[1] == "no driver is at work; the same `fcdd run` command goes on"
    assert "digits, fcdd FCDD_CNN28_W outlier_exposure: 0 done, 0 running, 0 stale, 0 failed" in (
        done.stdout
    )
    assert f"failed: digits class 3 seed 3 ({FAILED}): ValueError: [no]" in lines
    assert fcdd("/nowhere").returncode == 2


def test_watching_ends_when_every_run_is_done(folder: Path) -> None:
    for key in (RUNNING, STALE, MISSING, OTHER):
        running.end(folder, key)
        results.write_text(results.failure_path(folder, key), "ValueError\n")
    done = fcdd(str(folder), "--watch", "--every", "1s")
    assert done.returncode == 0, done.stderr
    assert "1 of 6 runs done, 0 running, 0 stale, 5 failed, 0 missing" in done.stdout


def test_terminal_gets_a_table(folder: Path) -> None:
    parent, child = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "jobs", "status", str(folder)],
        stdout=child,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(child)
        text = b""
        try:
            while part := os.read(parent, 4096):
                text += part
        except OSError:  # the other side is closed
            pass
    os.close(parent)
    assert process.returncode == 0
    assert "│ digits   │ fcdd FCDD_CNN28 outlier_exposure   │    1 │       2 │" in text.decode()
    assert "ValueError: [no]" in text.decode()


def test_no_heavy_package_is_needed(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from jobs.commands.status import status; "
        f"status(Path({str(folder)!r}), watch=False, every='5s'); "
        "heavy = {'torch', 'ray', 'mlflow', 'fcdd.config'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
