"""Runs whose worker Ray's memory monitor ends, on a node that is really short of memory."""

import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import children, differences
from victims import World, wait

from pipeline import results, running

GIB = 1 << 30
pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),  # on a busy machine
    pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="reads /proc/meminfo"),
]
SPEC = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark, expand
benchmark = Benchmark("mine", expand(change(base, {"training.epochs": 1_000}), {"seed": range(3)}))
"""
_HOLD = f"""
import sys
held = b"x" * {8 * GIB}
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path, mark=uuid.uuid4().hex)
    (tmp_path / "mine.py").write_text(SPEC)
    yield one
    one.end()


def memory() -> tuple[int, int]:
    """(all, available) memory of this machine, in bytes."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[n].split()[0]) << 10 for n in ("MemTotal", "MemAvailable"))
    return total, available


def test_run_ended_for_memory_is_tried_again_with_a_node_of_its_own(world: World) -> None:
    total, available = memory()
    if available < 12 * GIB:
        pytest.skip(f"{available / GIB:.1f} GiB of memory are free; 12 are needed")
    out = world.folder / "out"
    command = ("run", str(world.folder / "mine.py"), "--device", "cpu", "--out")
    limit = (total - available + 7 * GIB) / total
    driver = world.fcdd(
        "driver", *command, str(out), "--checkpoint-every", "0.5s", RAY_memory_usage_threshold=limit
    )

    def go_on() -> bool:
        assert driver.poll() is None, world.said("driver")
        return True

    def two_saved() -> bool:
        return go_on() and len([*out.glob("checkpoints/*/checkpoint.safetensors")]) == 2

    wait(two_saved, lambda: world.said("driver"))
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        wait(
            lambda: go_on() and "which Ray's memory monitor ended" in world.said("driver"),
            lambda: world.said("driver"),
        )
        holder.kill()
    at_work: list[set[str]] = []

    def ended() -> bool:
        at_work.append(set(running.read(out)))
        return driver.poll() is not None

    wait(ended, lambda: world.said("driver"), seconds=300)
    said = world.said("driver")
    assert driver.returncode == 0, said
    aside = [line.split()[1] for line in said.splitlines() if "a node of its own" in line]
    assert 1 <= len(aside) == len(set(aside)) <= 2, said
    first = max(n for n, keys in enumerate(at_work) if keys - set(aside))  # the others are done
    alone = [keys for keys in at_work[first + 1 :] if keys]
    assert {frozenset(keys) for keys in alone} == {frozenset([key]) for key in aside}
    assert f"run {aside[0]}: goes on from its checkpoint after epoch" in said
    counts, keys = children(f"sqlite:///{out / 'mlflow.db'}", "mine")
    assert (counts, keys) == (Counter(FINISHED=3), 3)
    whole = world.folder / "undisturbed"
    assert world.fcdd("undisturbed", *command, str(whole)).wait(300) == 0
    assert [*differences(out, whole)] == []


def test_run_that_needs_more_memory_than_a_node_has_is_tried_twice_and_reported(
    world: World,
) -> None:
    out = world.folder / "out"
    driver = world.fcdd(
        *("driver", "run", str(world.folder / "mine.py"), "--out", str(out), "--device", "cpu"),
        *("--only", "seed=0", "--max-failures", "9"),
        RAY_memory_usage_threshold=0.02,
    )
    assert driver.wait(300) == 1, world.said("driver")
    said = world.said("driver")
    (key,) = results.read_plan(out)
    assert said.count(f"run {key} lost its worker, which Ray's memory monitor ended") == 1
    assert results.failed_keys(out) == {key}
    account = (out / "failures" / f"{key}.txt").read_text()
    assert account.startswith(
        f"run {key} failed: Ray's memory monitor ended its worker, also when it had its node for "
        "itself"
    )
    assert "the same `fcdd run` command with --retry-failed" in account
    assert "running low on memory" in account  # Ray's own words
    counts, _ = children(f"sqlite:///{out / 'mlflow.db'}", "mine")
    assert counts == Counter(FAILED=1)
