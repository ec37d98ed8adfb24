"""`ray job submit --working-dir . -- python -m jobs run ...` as docs/cluster.md has it, against a
head with token authentication."""

import json
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from victims import World, free_port, wait

from pipeline import results

pytestmark = [
    pytest.mark.services,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc"),
]

DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"
SHORT = ("--only", "data.normal_class=0", "--only", "seed=0", "--set", "training.epochs=2")
COMMIT = "e" * 40


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    one = World(tmp_path_factory.mktemp("head"), mark=uuid.uuid4().hex)
    yield one
    one.end()


@pytest.fixture(scope="module")
def address(world: World) -> Iterator[str]:
    """`ray start --head` with a dashboard; its address."""
    short, port = tempfile.mkdtemp(prefix="fcdd", dir="/tmp"), free_port()
    world.start(
        "head",
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--num-cpus", "1", "--disable-usage-stats", "--temp-dir", short),
            *("--port", str(free_port()), "--dashboard-host", "127.0.0.1"),
            *("--dashboard-port", str(port)),
            *("--dashboard-agent-listen-port", str(free_port())),
        ],
    )
    wait(lambda: "This command will now block" in world.said("head"), lambda: world.said("head"))
    yield f"http://localhost:{port}"
    world.end()
    shutil.rmtree(short, ignore_errors=True)


def submitted(world: World, name: str, address: str, *arguments: str) -> int:
    """The exit code of the documented command with other names in it."""
    command = [
        *("ray", "job", "submit", "--address", address, "--working-dir", "."),
        *("--runtime-env-json", json.dumps({"env_vars": {"FCDD_COMMIT": COMMIT}})),
        *("--", "python", "-m", "jobs", "run", "quickstart", *SHORT, *arguments),
    ]
    return world.start(name, command).wait(300)


def test_the_documentation_has_this_command() -> None:
    assert (
        "ray job submit --address http://localhost:8265 --working-dir . -- python -m jobs run "
        "cifar10 --out /shared/results/cifar10"
    ) in DOCS.read_text()


def test_submitted_job_succeeds_and_its_row_names_the_commit(
    world: World, address: str, tmp_path: Path
) -> None:
    code = submitted(world, "job", address, "--out", str(tmp_path / "out"), "--device", "cpu")
    assert code == 0, world.said("job")
    assert "quickstart: 1 of 1 rows" in world.said("job")
    (row,) = results.read_rows([tmp_path / "out"])
    assert (row["commit"], row["dirty"]) == (COMMIT, False)


def test_submitted_job_that_fails_says_so_and_its_exit_code_comes_back(
    world: World, address: str, tmp_path: Path
) -> None:
    broken = ("--set", "training.optimizer=sgd", "--set", "training.lr=1e30", "--no-tracking")
    code = submitted(
        *(world, "broken", address, *broken, "--out", str(tmp_path / "out"), "--device", "cpu")
    )
    assert code == 1, world.said("broken")
    assert "1 of 1 runs have no row" in world.said("broken")
    (failure,) = (tmp_path / "out" / "failures").iterdir()
    assert "FloatingPointError: the loss is" in failure.read_text()


def test_head_lets_nobody_in_without_its_token(world: World, address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(f"{address}/api/jobs/", timeout=20)
    assert told.value.code == 401
    told.value.close()
    wrong = world.folder / "wrong"
    wrong.write_text("0" * 64)
    command = ["ray", "job", "submit", "--address", address, "--", "true"]
    assert world.start("wrong", command, RAY_AUTH_TOKEN_PATH=wrong).wait(120) != 0
    assert "authentication token" in world.said("wrong")
