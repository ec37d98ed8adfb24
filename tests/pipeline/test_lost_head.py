"""The head of a cluster killed under a driver that has joined it."""

import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import children
from victims import Cluster, World, kill, wait

from pipeline import results

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),  # on a busy machine
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc"),
]
SPEC = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark, expand
benchmark = Benchmark("mine", expand(change(base, {"training.epochs": 200}), {"seed": range(2)}))
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path, mark=uuid.uuid4().hex)
    yield one
    one.end()


def test_lost_head_is_told_in_one_line_and_the_same_command_goes_on_with_another(
    world: World,
) -> None:
    spec, out = world.folder / "mine.py", world.folder / "out"
    spec.write_text(SPEC)

    def start(name: str) -> "tuple[Cluster, subprocess.Popen[bytes]]":
        cluster = Cluster(world)
        options = ("--device", "cpu", "--checkpoint-every", "0.5s", "--address", cluster.address)
        return cluster, world.fcdd(name, "run", str(spec), "--out", str(out), *options)

    cluster, driver = start("first")
    wait(
        lambda: (
            driver.poll() is not None or bool([*out.glob("checkpoints/*/checkpoint.safetensors")])
        ),
        lambda: world.said("first"),
    )
    assert driver.poll() is None, world.said("first")
    for process in world.processes() - {driver.pid}:
        kill(process)
    assert driver.wait(120) == 1, world.said("first")
    cluster.end()
    lines = [line for line in world.said("first").splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, world.said("first")
    assert lines[0].startswith(f"error: Ray's head at {cluster.address} is gone (")
    assert "the same command goes on" in lines[0]
    assert "Traceback" not in world.said("first")
    assert results.row_keys(out) == results.failed_keys(out) == set()
    counts, _ = children(f"sqlite:///{out / 'mlflow.db'}", "mine")
    assert counts["RUNNING"] == 0

    another, driver = start("second")
    assert driver.wait(300) == 0, world.said("second")
    another.end()
    assert "goes on from its checkpoint after epoch" in world.said("second")
    assert len(results.row_keys(out)) == 2
    counts, keys = children(f"sqlite:///{out / 'mlflow.db'}", "mine")
    assert (counts, keys) == (Counter(FINISHED=2), 2)
