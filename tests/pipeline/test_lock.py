"""One driver per output folder."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import lock
from pipeline.lock import only_driver, read_driver

HOLD = """
import sys, time
from pathlib import Path
from pipeline.lock import only_driver
with only_driver(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def change(out: Path, **fields: object) -> None:
    path = out / "driver.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def held_elsewhere(out: Path, *, seconds_ago: float) -> None:
    """A lock of a driver on another machine with its last heartbeat so long ago."""
    with only_driver(out):
        change(out, place="elsewhere", host="node7", pid=1, token="another")
    then = time.time() - seconds_ago
    os.utime(out / "driver.json", (then, then))


def test_second_driver_is_told_who_is_at_work(tmp_path: Path) -> None:
    with only_driver(tmp_path):
        found = read_driver(tmp_path)
        assert found is not None
        assert found["pid"] == os.getpid()
        told = f"another `fcdd run` is at work in {tmp_path}: process {os.getpid()} on "
        with pytest.raises(ValueError, match=re.escape(told)), only_driver(tmp_path):
            pass
        assert read_driver(tmp_path) == found
    assert read_driver(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_killed_driver_of_this_machine_is_followed_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=f"process {other.pid} on "), only_driver(tmp_path):
            pass
        other.kill()
    with only_driver(tmp_path):
        assert (read_driver(tmp_path) or {})["pid"] == os.getpid()
    assert caplog.messages[0].startswith(f"the driver before (process {other.pid} on ")
    assert list(tmp_path.iterdir()) == []


def test_process_number_given_to_another_process_holds_no_lock(tmp_path: Path) -> None:
    with only_driver(tmp_path):
        change(tmp_path, born="1", token="another")
    with only_driver(tmp_path):
        pass
    assert read_driver(tmp_path) is None


def test_driver_elsewhere_is_trusted_for_a_minute(tmp_path: Path) -> None:
    held_elsewhere(tmp_path, seconds_ago=40)
    with (
        pytest.raises(ValueError, match="process 1 on node7 .*, last sign of life 4[0-9] s ago"),
        only_driver(tmp_path),
    ):
        pass
    held_elsewhere_path = tmp_path / "driver.json"
    then = time.time() - 61
    os.utime(held_elsewhere_path, (then, then))
    with only_driver(tmp_path):
        pass


def test_lock_that_was_never_written_is_free_after_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "driver.json"
    path.touch()
    with pytest.raises(ValueError, match="is changing hands"), only_driver(tmp_path):
        pass
    then = time.time() - 61
    os.utime(path, (then, then))
    with only_driver(tmp_path):
        assert (read_driver(tmp_path) or {})["pid"] == os.getpid()


def test_of_many_that_take_over_one_wins(tmp_path: Path) -> None:
    held_elsewhere(tmp_path, seconds_ago=90)
    outcomes: list[str] = []
    ready, done = threading.Barrier(8), threading.Barrier(8)

    def compete() -> None:
        ready.wait()
        try:
            with only_driver(tmp_path):
                outcomes.append("won")
                done.wait()
        except ValueError:
            outcomes.append("told")
            done.wait()

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["told"] * 7 + ["won"]


def test_driver_that_was_taken_over_learns_of_it_and_leaves_the_lock(tmp_path: Path) -> None:
    with only_driver(tmp_path, beat_seconds=0.05) as taken:
        before = (tmp_path / "driver.json").stat().st_mtime_ns
        time.sleep(0.3)
        assert (tmp_path / "driver.json").stat().st_mtime_ns > before
        assert not taken.is_set()
        for _ in range(25):  # as its heartbeats do: the first may cross one of ours
            lock.write_text(tmp_path / "driver.json", json.dumps({"token": "another"}))
            if taken.wait(0.2):
                break
        assert taken.is_set()
    assert read_driver(tmp_path) == {"token": "another"}


def test_second_run_into_a_folder_is_refused_before_it_loads_anything(tmp_path: Path) -> None:
    with only_driver(tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", "jobs", "run", "quickstart", "--out", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2
    assert f"error: another `fcdd run` is at work in {tmp_path}: process {os.getpid()} on" in (
        done.stderr
    )
    assert done.stdout == ""
    assert not (tmp_path / "plan.json").exists()
