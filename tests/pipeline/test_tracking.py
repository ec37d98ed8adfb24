"""Sweeps under a real `mlflow server` that is lost, stalls and comes back."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fcdd.config import Run
from pipeline import results
from pipeline.sweep.events import Started
from pipeline.tracking.live import Tracker
from pipeline.tracking.store import sync

pytestmark = pytest.mark.services

FCDD = [sys.executable, "-m", "jobs"]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """`mlflow server` on loopback, on SQLite in `folder`, in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self.uri = f"http://127.0.0.1:{self._port}"
        self.store = f"sqlite:///{folder / 'server.db'}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                    *("--host", "127.0.0.1", "--port", str(self._port)),
                    *("--backend-store-uri", self.store),
                    *("--artifacts-destination", str(self._folder / "artifacts")),
                ],
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while not self._healthy():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline, "the server did not start within 90 s"
            time.sleep(0.2)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        """Sends `number` to every process of the server."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    one.start()  # 6 to 17 s, so one for all tests
    yield one
    one.kill()


def children(store: str, benchmark: str) -> list[tuple[str, str]]:
    """(key, status) of every child of `benchmark`, deleted ones included if still RUNNING."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(benchmark)
    assert experiment is not None
    found = client.search_runs(
        [experiment.experiment_id], "tags.role = 'run'", run_view_type=ViewType.ALL
    )
    return [
        (one.data.tags["key"], one.info.status)
        for one in found
        if one.info.lifecycle_stage == "active" or one.info.status == "RUNNING"
    ]


def parents(store: str, benchmark: str) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(benchmark)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.role = 'benchmark'")
    return [one.info.status for one in found]


@pytest.mark.timeout(600)  # on a busy machine
def test_tracking_server_lost_in_mid_sweep_costs_no_row_and_sync_completes_it(
    tmp_path: Path, server: Server
) -> None:
    out = tmp_path / "out"
    command = [
        *(*FCDD, "run", "quickstart", "--out", str(out), "--tracking-uri", server.uri),
        *("--only", "data.normal_class=0,1", "--only", "seed=0,1"),
        *("--set", "training.epochs=40", "--device", "cpu"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        deadline = time.monotonic() + 200
        while not results.row_keys(out) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        server.kill()
        killed_with = len(results.row_keys(out))
        output, errors = run.communicate(timeout=120)
    assert killed_with < 4, "the server outlived the sweep; the test saw nothing"
    assert run.returncode == 0, output + errors
    assert "quickstart: 4 of 4 rows" in output
    assert "tracking lost (" in output
    assert f"`fcdd mlflow sync {out}" in output
    keys = results.row_keys(out)
    assert len(keys) == 4
    finished = Counter(status for _, status in children(server.store, "quickstart"))["FINISHED"]
    assert finished < 4

    server.start()
    synced = subprocess.run(
        [*FCDD, "mlflow", "sync", str(out), "--tracking-uri", server.uri],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert synced.stdout == f"{4 - finished} runs added\n", synced.stderr
    assert sync(out, server.uri) == 0
    assert sorted(children(server.store, "quickstart")) == [(k, "FINISHED") for k in sorted(keys)]
    assert parents(server.store, "quickstart") == ["FINISHED"]


def test_stalled_tracking_server_holds_the_end_up_for_a_bounded_time(
    tmp_path: Path, server: Server, digits_run: Run, make_row: Callable[..., dict[str, Any]]
) -> None:
    keys = [f"{number:016x}" for number in range(50)]
    write_folder(tmp_path, keys[0], make_row)
    tracker = Tracker(
        tmp_path, "stalled", dict.fromkeys(keys, digits_run), done=(), tracking_uri=server.uri
    )
    server.signal(signal.SIGSTOP)
    started = time.monotonic()
    for key in keys:
        tracker.log(Started(key))
    assert time.monotonic() - started < 1
    tracker.close(wait_seconds=0.5)
    assert 0.5 <= time.monotonic() - started < 2
    assert tracker.lost == "the store is more than 0.5 s behind"
    tracker.close(wait_seconds=60)
    # 50 events cost one request of MLFLOW_HTTP_REQUEST_TIMEOUT 5 s, tried twice
    assert time.monotonic() - started < 20
    assert "Read timed out. (read timeout=5)" in tracker.lost

    server.signal(signal.SIGCONT)  # it may still execute the request that the driver gave up
    assert sync(tmp_path, server.uri) == 1
    assert sync(tmp_path, server.uri) == 0
    assert children(server.store, "stalled") == [(keys[0], "FINISHED")]
    assert parents(server.store, "stalled") == ["FINISHED"]


def test_sync_to_a_server_that_does_not_answer_is_one_line_with_the_remedy(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    write_folder(tmp_path, "a" * 16, make_row)
    with pytest.raises(
        ValueError, match=r"^tracking store 'http://\S+' does not answer .*"
    ) as told:
        sync(tmp_path, f"http://127.0.0.1:{free_port()}")
    assert "start it, give another --tracking-uri" in str(told.value)
    assert len(str(told.value).splitlines()) == 1


def test_a_fault_of_the_tracking_thread_is_not_silent(
    tmp_path: Path, digits_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda fault: raised.append(fault.exc_value))
    results.prepare(tmp_path)
    tracker = Tracker(tmp_path, "b", {"known": digits_run}, done=(), tracking_uri=None)
    tracker.log(Started("known"))
    tracker.log(Started("unknown"))
    tracker.close()
    assert tracker.lost == "KeyError: 'unknown'"
    assert [type(one) for one in raised] == [KeyError]


def write_folder(out: Path, key: str, make_row: Callable[..., dict[str, Any]]) -> None:
    """An output folder with the one row `key`, of benchmark "stalled"."""
    results.prepare(out)
    row = make_row(key=key)
    results.write_plan(out, "stalled", {key: {}})
    results.write_curve(out, key, [{"epoch": 1, "train_loss": 0.5, "lr": 0.1, "test_auroc": None}])
    results.write_row(out, row)
