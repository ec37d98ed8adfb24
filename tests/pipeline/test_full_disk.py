"""Sweeps onto a disk that is full: a small tmpfs, filled while they run."""

import errno
import os
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from aftermath import children, differences
from victims import World, wait

from pipeline import results

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]  # on a busy machine
SPEC = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark, expand
benchmark = Benchmark("mine", expand(change(base, {"training.epochs": 200}), {"seed": range(6)}))
"""
# Runs are many times as long as what is between two checkpoints, and four wait while two run, on
# machines of any speed and size.
CHECKPOINTS = ("--checkpoint-every", "0.1s")
TWO_SLOTS = '{"CPU": 2}'


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip(f"no disk can be mounted here ({done.stderr if done else 'not root'})")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def world(tmp_path: Path, small_disk: Path) -> Iterator[World]:
    one = World(tmp_path, mark=uuid.uuid4().hex)  # ends before its disk does
    yield one
    one.end()


def fill(disk: Path) -> Path:
    """A file that takes all that is left of `disk`."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return filler


def test_full_disk_fails_runs_by_name_and_the_same_command_completes_them(
    world: World, small_disk: Path
) -> None:
    spec, out = world.folder / "mine.py", small_disk / "out"
    spec.write_text(SPEC)
    command = ("run", str(spec), "--device", "cpu", *CHECKPOINTS, "--out")
    sweep = partial(world.fcdd, RAY_OVERRIDE_RESOURCES=TWO_SLOTS)
    driver = sweep("driver", *command, str(out))
    wait(
        lambda: driver.poll() is not None or bool([*out.glob("checkpoints/*/*.safetensors")]),
        lambda: world.said("driver"),
    )
    filler = fill(small_disk)
    wait(
        lambda: driver.poll() is not None or ": FAILED (" in world.said("driver"),
        lambda: world.said("driver"),
    )
    filler.unlink()
    assert driver.wait(300) == 1, world.said("driver")

    said, rows = world.said("driver"), results.row_keys(out)
    planned = set(results.read_plan(out))
    assert rows and rows < planned, said
    assert "checkpoint not written ([Errno 28] No space left on device" in said
    for key in planned - rows:
        (told,) = [line for line in said.splitlines() if line.startswith("FAILED ") and key in line]
        assert f"its outputs cannot be written to {out} ([Errno 28]" in told
        assert "free space there" in told
    assert "Traceback" not in said
    assert results.failed_keys(out) == set()  # the disk's fault, not the Runs'
    assert {row["key"] for row in results.read_rows([out])} == rows  # all whole
    assert [*out.rglob(".*.tmp"), *out.rglob("*.part")] == []

    again = sweep("again", *command, str(out))
    assert again.wait(300) == 0, world.said("again")
    assert f"6 runs, {len(rows)} done, 0 failed before" in world.said("again")
    whole = world.folder / "undisturbed"
    assert sweep("undisturbed", *command, str(whole)).wait(300) == 0
    assert [*differences(out, whole)] == []
    assert world.fcdd("sync", "mlflow", "sync", str(out)).wait(100) == 0
    counts, keys = children(f"sqlite:///{out / 'mlflow.db'}", "mine")
    assert (counts, keys) == (Counter(FINISHED=6), 6)


def test_start_onto_a_full_disk_is_refused_in_one_line(world: World, small_disk: Path) -> None:
    fill(small_disk)
    driver = world.fcdd("driver", "run", "quickstart", "--out", str(small_disk), "--device", "cpu")
    assert driver.wait(120) == 2
    (line,) = world.said("driver").splitlines()
    assert line.startswith("error: the disk is full (No space left on device")
    assert line.endswith("free space there, then the same command goes on")
