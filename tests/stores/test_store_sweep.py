"""Whole sweeps through Ray into an object store: interrupted, disturbed, and as one on a disk."""

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import children, differences
from s3_server import KEY, SECRET, Server
from victims import World, kill, wait

from pipeline import results, running
from pipeline.places import Stored

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]  # on a busy machine
SPEC = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark
long = change(base, {{"training.epochs": {epochs}, "training.passes": {passes}}})
runs = [change(long, {{"seed": seed}}) for seed in range({runs})]
benchmark = Benchmark("mine", tuple(runs))
"""
OFTEN = ("--device", "cpu", "--checkpoint-every", "0.2s")


@pytest.fixture
def world(tmp_path: Path, credentials: None) -> Iterator[World]:
    one = World(tmp_path, mark=uuid.uuid4().hex)
    yield one
    one.end()


def write_spec(world: World, *, runs: int, epochs: int, passes: int = 1) -> str:
    path = world.folder / "mine.py"
    path.write_text(SPEC.format(runs=runs, epochs=epochs, passes=passes))
    return str(path)


def ended(world: World, name: str, process: "subprocess.Popen[bytes]") -> str:
    """What `name` said, once it has ended well."""
    assert process.wait(400) == 0, world.said(name)
    return world.said(name)


def in_training(world: World, name: str, out: Stored, sweep: "subprocess.Popen[bytes]") -> None:
    """Waits until a run has left a checkpoint."""

    def begun() -> bool:
        assert sweep.poll() is None, world.said(name)
        folders = list((out / "checkpoints").glob("*"))
        return any((folder / "checkpoint.safetensors").exists() for folder in folders)

    wait(begun, lambda: world.said(name), seconds=300)


def report(world: World, folder: Stored | Path, name: str) -> dict[str, bytes]:
    """The files of a report of `folder` but for its manifest, which names the folder."""
    out = world.folder / name
    command = ("report", str(folder), "--out", str(out), "--no-figures")
    ended(world, name, world.fcdd(name, *command))
    ended(world, f"{name}-verified", world.fcdd(f"{name}-verified", "verify", str(out)))
    return {p.name: p.read_bytes() for p in out.iterdir() if p.name != "report.json"}


def test_interrupted_sweep_in_a_store_ends_with_the_rows_and_the_table_of_a_local_one(
    world: World, stored: Stored, server: Server
) -> None:
    spec = write_spec(world, runs=3, epochs=200)  # longer than the second driver needs to be told
    command = ("run", spec, "--out", str(stored), *OFTEN)
    sweep = world.fcdd("first", *command)
    in_training(world, "first", stored, sweep)
    second = world.fcdd("second", *command)
    assert second.wait(120) == 2
    assert f"another `fcdd run` is at work in {stored}: process {sweep.pid}" in world.said("second")
    for process in world.processes():
        kill(process)
    sweep.wait()
    assert len(results.row_keys(stored)) < 3
    before = len(server.seen("PUT"))
    server.slow_down("PUT", times=60, every=3)
    again = ended(world, "again", world.fcdd("again", *command))
    assert len(server.seen("PUT")) - before > 60
    assert "goes on from its checkpoint after epoch" in again
    assert "mine: 3 of 3 rows" in again
    assert (
        f"no live tracking: results go to an object store; later, `fcdd mlflow sync '{stored}"
        in again
    )

    local = world.folder / "local"
    ended(world, "here", world.fcdd("here", "run", spec, "--out", str(local), *OFTEN))
    assert [*differences(stored, local)] == []
    table = report(world, stored, "of-store")
    assert table == report(world, local, "of-local")
    assert {Path(name).suffix for name in table} >= {".tex", ".csv", ".md", ".html"}

    tracking = f"sqlite:///{world.folder / 'later.db'}"
    sync = ("mlflow", "sync", str(stored), "--tracking-uri", tracking)
    assert ended(world, "sync", world.fcdd("sync", *sync)).endswith("3 runs added\n")
    assert ended(world, "sync2", world.fcdd("sync2", *sync)).endswith("0 runs added\n")
    assert children(tracking, "mine") == ({"FINISHED": 3}, 3)

    for name in ("first", "again", "of-store", "sync"):
        assert SECRET not in world.said(name)
        assert KEY not in world.said(name)


def test_server_that_goes_away_for_a_while_costs_nothing(
    world: World, stored: Stored, server: Server
) -> None:
    command = ("run", write_spec(world, runs=2, epochs=150), "--out", str(stored), *OFTEN)
    sweep = world.fcdd("away", *command)
    in_training(world, "away", stored, sweep)
    server.stop()
    wait(lambda: "checkpoint not written" in world.said("away"), lambda: world.said("away"))
    server.start()
    said = ended(world, "away", sweep)
    assert "checkpoint not written (s3://" in said
    assert "it does not answer" in said
    assert "training goes on" in said
    assert "mine: 2 of 2 rows" in said
    assert running.read(stored) == {}
    assert results.failed_keys(stored) == set()


def test_server_that_stays_away_ends_the_sweep_with_one_line_and_nothing_by_half(
    world: World, stored: Stored, server: Server
) -> None:
    command = ("run", write_spec(world, runs=1, epochs=40), "--out", str(stored), *OFTEN)
    sweep = world.fcdd("gone", *command)
    in_training(world, "gone", stored, sweep)
    server.stop()
    try:
        assert sweep.wait(600) in (1, 2)
    finally:
        server.start()
    said = world.said("gone")
    assert "Traceback" not in said
    assert "it does not answer" in said.splitlines()[-1]
    assert results.row_keys(stored) == set()
    assert "mine: 1 of 1 rows" in ended(world, "after", world.fcdd("after", *command))


def test_run_over_its_time_limit_says_in_the_store_where_it_was(
    world: World, stored: Stored
) -> None:
    spec = write_spec(world, runs=1, epochs=100_000, passes=30)
    command = ("run", spec, "--out", str(stored), *OFTEN, "--time-limit", "8s")
    sweep = world.fcdd("endless", *command)
    assert sweep.wait(300) == 1, world.said("endless")
    (key,) = results.failed_keys(stored)
    account = results.failure_path(stored, key).read_text()
    assert account.startswith(f"run {key} failed: it took longer than its time limit")
    assert "in train_epoch" in account
    assert account.endswith("stopped after 8 s, the time limit of a run\n")
    assert list((stored / "running").glob("*")) == []
