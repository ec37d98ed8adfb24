"""Nodes that join a cluster while runs are at work: fit ones help, others end the sweep by name."""

import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from victims import ROOT, Cluster, World, free_port, kill, parent, raylets, wait

from pipeline import results, running

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc"),
]

SPEC = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark, expand
long = change(base, {"training.epochs": 400})
benchmark = Benchmark("mine", expand(long, {"seed": range(4)}))
"""
NO_PACKAGES = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ditable" not in repr(finder)]
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path, mark=uuid.uuid4().hex)
    yield one
    one.end()


def start_node(world: World, address: str, path: Path) -> int:
    """A node whose Python looks for packages in `path` first; its raylet."""
    before = raylets(world)
    world.start(
        "node",
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"),
            *("--address", address, "--disable-usage-stats"),
            *("--dashboard-agent-listen-port", str(free_port())),
        ],
        PYTHONPATH=path,
    )
    wait(lambda: bool(raylets(world) - before), lambda: world.said("node")[-2000:])
    return (raylets(world) - before).pop()


def altered(path: Path) -> str:
    for package in ("fcdd", "pipeline"):
        shutil.copytree(ROOT / package, path / package)
    with (path / "fcdd" / "losses.py").open("a") as file:
        file.write("# another version\n")
    return "has other code of fcdd than the driver"


def lacking(path: Path) -> str:
    (path / "sitecustomize.py").write_text(NO_PACKAGES)
    return "has no fcdd"


def as_it_should_be(path: Path) -> str:
    return ""


@pytest.mark.parametrize("make", [as_it_should_be, altered, lacking])
def test_a_node_that_joins_later_works_if_it_fits_and_else_is_named_before_its_first_run(
    make, world: World, tmp_path: Path
) -> None:
    cluster, out, packages = Cluster(world), tmp_path / "out", tmp_path / "packages"
    packages.mkdir()
    fault = make(packages)
    (tmp_path / "mine.py").write_text(SPEC)
    command = [
        *("env", "-C", str(tmp_path), sys.executable, "-m", "jobs", "run", "mine.py"),
        *("--out", str(out), "--address", cluster.address, "--device", "cpu", "--no-tracking"),
        *("--checkpoint-every", "1s"),
    ]
    try:
        sweep = world.start("sweep", command)

        def at_work() -> bool:
            assert sweep.poll() is None, world.said("sweep")
            return bool(running.read(out))

        wait(at_work, lambda: world.said("sweep")[-2000:])
        node, on_node = start_node(world, cluster.address, packages), 0
        while sweep.poll() is None and not (on_node and not fault):
            on_node += sum(parent(beat["pid"]) == node for beat in running.read(out).values())
            time.sleep(0.05)
        if fault:
            assert sweep.wait(60) == 2, world.said("sweep")
            assert on_node == 0
            told = [line for line in world.said("sweep").splitlines() if line.startswith("error")]
            assert len(told) == 1
            assert f"not every node can do the runs: {socket.gethostname()} {fault}" in told[0]
            assert "mend it or take it out, then the same command goes on" in told[0]
            assert list((out / "failures").iterdir()) == []
            kill(node)
            wait(lambda: node not in raylets(world), lambda: "the node does not end")
            sweep = world.start("sweep", command)
        assert sweep.wait(400) == 0, world.said("sweep")
        assert "mine: 4 of 4 rows" in world.said("sweep")
        assert len(results.row_keys(out)) == 4
    finally:
        world.end()
        cluster.end()
