"""`fcdd run` against a real Ray head with token authentication, started here on free ports."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aftermath import differences

from jobs.submitting import without_submission
from pipeline import results, running
from pipeline.sweep import nodes
from pipeline.sweep.nodes import Required, _faults, _look, hold_unless_fit

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
COMMIT = "d" * 40
SHORT = ("--only", "data.normal_class=0", "--only", "seed=0", "--set", "training.epochs=2")


@dataclass(frozen=True)
class Head:
    """Where a cluster answers, and what a command needs to talk to it."""

    dashboard: str
    gcs: str
    environment: dict[str, str]

    def fcdd(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobs", "run", "quickstart", *SHORT, *arguments],
            capture_output=True,
            text=True,
            timeout=240,
            cwd=ROOT,
            env=self.environment | environment,
        )


def free_ports(num: int) -> list[int]:
    sockets = [socket.socket() for _ in range(num)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def marked(value: str) -> list[int]:
    """Processes whose environment holds FCDD_TEST_MARK=`value`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"FCDD_TEST_MARK={value}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """`ray start --head` with a token of its own; ends with the module, `ray stop` is not used."""
    if not Path("/proc/self/environ").exists():
        pytest.skip("finds the cluster's processes in /proc")
    folder, mark = tmp_path_factory.mktemp("head"), uuid.uuid4().hex
    (folder / "token").write_text(secrets.token_hex(32))
    gcs, dashboard, agent = free_ports(3)
    short = tempfile.mkdtemp(prefix="fcdd", dir="/tmp")  # sockets have short paths
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "FCDD_"))}
    environment |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
        "FCDD_TEST_MARK": mark,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--disable-usage-stats", "--num-cpus", "1", "--temp-dir", short, "--port", str(gcs)),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)),
        *("--dashboard-agent-listen-port", str(agent)),
    ]
    with (folder / "log").open("w") as log:
        subprocess.Popen(command, stdout=log, stderr=log, env=environment).returncode = 0
    try:
        address = f"http://127.0.0.1:{dashboard}"
        deadline = time.monotonic() + 120
        while "This command will now block" not in (folder / "log").read_text():
            if time.monotonic() > deadline or not marked(mark):
                pytest.skip(f"no Ray head can start here: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.5)
        yield Head(address, f"127.0.0.1:{gcs}", environment)
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in marked(mark):
                os.kill(process, sign)
            time.sleep(1)
        shutil.rmtree(short, ignore_errors=True)


def test_submitted_job_leaves_its_row_with_the_commit_of_the_sender(
    head: Head, tmp_path: Path
) -> None:
    done = head.fcdd(
        *("--address", head.dashboard, "--out", str(tmp_path / "out"), "--device", "cpu"),
        FCDD_COMMIT=COMMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "quickstart: 1 of 1 rows, mean image AUROC" in done.stdout
    assert done.stderr.count("Ctrl-C leaves it running") == 1
    (row,) = results.read_rows([tmp_path / "out"])
    assert (row["commit"], row["dirty"]) == (COMMIT, False)
    secret = Path(head.environment["RAY_AUTH_TOKEN_PATH"]).read_text()
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes(), path
    assert secret not in done.stdout + done.stderr


def test_job_that_fails_says_so_and_its_exit_code_comes_back(head: Head, tmp_path: Path) -> None:
    done = head.fcdd(
        *("--address", head.dashboard, "--out", str(tmp_path / "out"), "--device", "cpu"),
        *("--set", "training.optimizer=sgd", "--set", "training.lr=1e30", "--no-tracking"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 of 1 runs have no row" in done.stdout
    assert "failed: " in done.stderr
    (failure,) = (tmp_path / "out" / "failures").iterdir()
    assert "FloatingPointError: the loss is" in failure.read_text()


def test_wrong_and_missing_tokens_are_refused_in_one_line(head: Head, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(secrets.token_hex(32))
    for name, told in (("token", "Invalid authentication token"), ("none", "cannot be opened")):
        done = head.fcdd(
            *("--address", head.dashboard, "--out", str(tmp_path / "out")),
            RAY_AUTH_TOKEN_PATH=str(tmp_path / name),
        )
        assert done.returncode == 2
        assert told in done.stderr
        assert "copy the cluster's ~/.ray/auth_token" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_detached_job_prints_its_id_alone(head: Head, tmp_path: Path) -> None:
    done = head.fcdd(
        *("--address", head.dashboard, "--out", str(tmp_path), "--detach", "--no-tracking")
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("raysubmit_")
    assert len(done.stdout.split()) == 1


TWO = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark, expand
benchmark = Benchmark("two", expand(change(base, {"training.epochs": 100}), {"seed": range(3)}))
"""


@pytest.mark.timeout(900)  # on a busy machine
def test_two_nodes_share_the_runs_and_a_lost_node_costs_nothing(head: Head, tmp_path: Path) -> None:
    spec, out = tmp_path / "two.py", tmp_path / "out"
    spec.write_text(TWO)
    second = start_node(head, tmp_path / "log")
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "jobs", "run", str(spec), "--out", str(out), "--no-tracking"),
            *("--device", "cpu", "--address", head.gcs, "--checkpoint-every", "0.5s"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=head.environment | {"FCDD_COMMIT": COMMIT},
    ) as sweep:
        deadline = time.monotonic() + 150
        while True:
            at_work = {beat["pid"]: key for key, beat in running.read(out).items()}
            lost = [key for pid, key in at_work.items() if parent(pid) in second]
            if (  # one run on each node, and what is about to be lost has a checkpoint
                len(at_work) == 2
                and len(lost) == 1
                and (results.checkpoint_path(out, lost[0]) / "checkpoint.safetensors").exists()
            ):
                break
            assert sweep.poll() is None and time.monotonic() < deadline, sweep.communicate()
            time.sleep(0.05)
        worker = next(pid for pid, key in at_work.items() if key == lost[0])
        for process in (worker, *second):  # a node is lost with all that is on it
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        assert not (out / "rows" / f"{lost[0]}.parquet").exists()
        output, _ = sweep.communicate(timeout=200)
    assert sweep.returncode == 0, output
    assert "two: 3 of 3 rows" in output
    assert f"run {lost[0]}: goes on from its checkpoint after epoch" in output, output
    here = tmp_path / "here"
    fcdd(head, "run", str(spec), "--out", str(here), "--no-tracking", "--device", "cpu")
    assert [*differences(out, here)] == []
    for folder in (out, here):
        fcdd(head, "report", str(folder), "--out", str(tmp_path / "report" / folder.name))
    assert contents(tmp_path / "report" / "out") == contents(tmp_path / "report" / "here")


def fcdd(head: Head, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobs", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env=head.environment | {"FCDD_COMMIT": COMMIT},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """The tables and figures of a report by their paths: all but what names the output folder and
    the hours of its runs."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    del found["report.json"], found["index.html"]
    assert {Path(name).suffix for name in found} >= {".tex", ".csv", ".md", ".html"}
    return found


def start_node(head: Head, log: Path) -> list[int]:
    """A second node on this machine; its processes."""
    (agent,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"),
        *("--address", head.gcs, "--dashboard-agent-listen-port", str(agent)),
        "--disable-usage-stats",
    ]
    before = marked(head.environment["FCDD_TEST_MARK"])
    with log.open("w") as file:
        subprocess.Popen(command, stdout=file, stderr=file, env=head.environment).returncode = 0
    deadline = time.monotonic() + 90
    while "This command will now block" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.5)
    return sorted(set(marked(head.environment["FCDD_TEST_MARK"])) - set(before))


def parent(pid: int) -> int:
    """The process that started `pid`, of a worker its node; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def refused(*arguments: str, **environment: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_ADDRESS", "FCDD_"))}
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "run", "quickstart", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=kept | environment,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def test_addresses_that_cannot_work_are_refused_at_once(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"))
    (port,) = free_ports(1)
    assert "use auto or host:port" in refused("--address", "ray://h:10001", *out)
    assert "no cluster can be joined" in refused("--address", f"127.0.0.1:{port}", *out)
    http = f"http://127.0.0.1:{port}"
    assert f"{http} does not answer" in refused("--address", http, *out)
    assert "absolute path" in refused("--address", http, "--out", "results")
    assert "absolute path" in refused("--address", http)
    assert "give --address http" in refused("--detach", *out)


def test_ray_without_a_token_needs_a_word(tmp_path: Path) -> None:
    told = refused("--out", str(tmp_path), RAY_AUTH_MODE="disabled")
    assert "or say --insecure" in told


def test_options_of_the_submission_do_not_travel() -> None:
    sent = ["run", "mine.py", "--address", "http://h", "--out", "/o", "--detach", "--set", "a=--x"]
    assert without_submission(sent) == ["run", "mine.py", "--out", "/o", "--set", "a=--x"]
    assert without_submission(["run", "--address=http://h", "--insecure"]) == ["run"]


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (lambda there: None, []),
        (lambda there: there["versions"].update(torch="0.1"), ["has torch 0.1, the driver "]),
        (lambda there: there["versions"].update(fcdd=None), ["has no fcdd"]),
        (lambda there: there.update(code="x"), ["has other code of fcdd than the driver"]),
        (lambda there: there["seen"].update({"/o/.probe": False}), ["does not see /o"]),
        (lambda there: there["seen"].update({"/w.pt": False}), ["does not see /w.pt"]),
    ],
)
def test_what_a_node_lacks_is_named(
    change: Callable[[dict[str, Any]], None], faults: list[str]
) -> None:
    here, there = (_look()(("fcdd", "torch"), []) for _ in range(2))
    there["seen"] = {"/o/.probe": True, "/w.pt": True}
    change(there)
    required = Required(here["code"], tuple(here["versions"].items()))
    found = list(_faults(required, there, out="/o/.probe"))
    assert len(found) == len(faults)
    assert all(one.startswith(told) for one, told in zip(found, faults, strict=True))


def test_worker_whose_code_changed_says_so_before_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    here = _look()(("fcdd", "torch", "numpy"), [])
    versions = tuple(here["versions"].items())
    told: list[str] = []
    hold_unless_fit(Required(here["code"], versions), told.append)
    assert told == []
    monkeypatch.setattr(nodes, "_HELD_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="^node .* has other code of fcdd than the driver$"):
        hold_unless_fit(Required("x", versions), told.append)
    (line,) = told
    assert f"node {socket.gethostname()} has other code of fcdd than the driver; if that " in line
    assert "end it with Ctrl-C, and the same command goes on" in line
