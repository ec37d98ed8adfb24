"""Sweeps under a real `mlflow server` that is lost, stalls and comes back."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fcdd.config import Run
from pipeline import results
from pipeline.sweep.events import Failed, Finished, Progressed, Started
from pipeline.tracking import live
from pipeline.tracking.live import Tracker
from pipeline.tracking.store import sync

pytestmark = pytest.mark.services

FCDD = [sys.executable, "-m", "jobs"]


@pytest.fixture(scope="module")
def server(mlflow_server: Callable[..., Any]) -> Any:
    one = mlflow_server()
    one.start()  # 6 to 17 s, so one for all tests
    return one


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


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.timeout(600)  # on a busy machine
def test_tracking_server_lost_in_mid_sweep_costs_no_row_and_sync_completes_it(
    tmp_path: Path, server: Any
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
    tmp_path: Path, server: Any, digits_run: Run, make_row: Callable[..., dict[str, Any]]
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
    # 50 events cost one request of MLFLOW_HTTP_REQUEST_TIMEOUT 5 s, tried twice; the end one more
    assert time.monotonic() - started < 40
    assert "Read timed out. (read timeout=5)" in tracker.lost

    server.signal(signal.SIGCONT)  # it may still execute the request that the driver gave up
    assert sync(tmp_path, server.uri) == 1
    assert sync(tmp_path, server.uri) == 0
    assert children(server.store, "stalled") == [(keys[0], "FINISHED")]
    assert parents(server.store, "stalled") == ["FINISHED"]


def test_live_tracking_goes_on_with_a_server_that_was_restarted(
    tmp_path: Path,
    server: Any,
    digits_run: Run,
    make_row: Callable[..., dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_work, later, failed = (letter * 16 for letter in "abc")
    for key in (at_work, later):
        write_folder(tmp_path, key, make_row, benchmark="restarted")
    runs = dict.fromkeys((at_work, later, failed), digits_run)
    tracker = Tracker(tmp_path, "restarted", runs, done=(), tracking_uri=server.uri)
    tracker.log(Started(at_work))
    wait_for(lambda: children(server.store, "restarted") == [(at_work, "RUNNING")])
    server.kill()
    tracker.log(Progressed(at_work, results.read_curve(tmp_path, at_work)))
    wait_for(lambda: tracker.lost is not None)
    tracker.log(Failed(failed, "it raised"))
    server.start()
    monkeypatch.setattr(live, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(tracker, "_try_at", 0.0)
    tracker.log(Started(later))
    wait_for(lambda: tracker.lost is None)
    for key in (at_work, later):
        tracker.log(Finished(key, results.read_row(tmp_path, key)))
    tracker.close()
    assert tracker.lost is None
    assert sorted(children(server.store, "restarted")) == [
        (at_work, "FINISHED"),
        (later, "FINISHED"),
        (failed, "FAILED"),
    ]
    assert sync(tmp_path, server.uri) == 0
    assert dict(children(server.store, "restarted"))[failed] == "FAILED"


def test_sync_to_a_server_that_does_not_answer_is_one_line_with_the_remedy(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    write_folder(tmp_path, "a" * 16, make_row)
    with pytest.raises(
        ValueError, match=r"^tracking store 'http://\S+' does not answer .*"
    ) as told:
        sync(tmp_path, "http://127.0.0.1:1")
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
    tracker.log(Failed("unknown", "x"))
    tracker.close()
    assert tracker.lost == "KeyError: 'unknown'"
    assert [type(one) for one in raised] == [KeyError]


def write_folder(
    out: Path, key: str, make_row: Callable[..., dict[str, Any]], *, benchmark: str = "stalled"
) -> None:
    """An output folder with the row `key` of `benchmark`."""
    results.prepare(out)
    row = make_row(key=key)
    results.write_plan(out, benchmark, {key: {}})
    results.write_curve(out, key, [{"epoch": 1, "train_loss": 0.5, "lr": 0.1, "test_auroc": None}])
    results.write_row(out, row)


def test_a_short_run_has_the_child_of_a_long_one(
    tmp_path: Path, digits_run: Run, make_row: Callable[..., dict[str, Any]]
) -> None:
    """A run that ends at once is entered when it is done; its child says the same."""
    from mlflow import MlflowClient

    short, long = "a" * 16, "b" * 16
    for key in (short, long):
        write_folder(tmp_path, key, make_row)
    epochs = {key: results.read_curve(tmp_path, key) for key in (short, long)}
    rows = {key: results.read_row(tmp_path, key) for key in (short, long)}
    runs: dict[str, Run] = {short: digits_run, long: digits_run}
    tracker = Tracker(tmp_path, "b", runs, done=(), tracking_uri=None)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    tracker.log(Started(short))
    tracker.log(Finished(short, rows[short], epochs[short]))
    tracker.log(Started(long))
    wait_for(lambda: (long, "RUNNING") in children(store, "b"))
    tracker.log(Progressed(long, epochs[long]))
    tracker.log(Finished(long, rows[long]))
    tracker.close()
    assert tracker.lost is None
    assert sorted(children(store, "b")) == [(short, "FINISHED"), (long, "FINISHED")]
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("b")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], "tags.role = 'run'")
    data = {one.data.tags["key"]: one for one in found}
    assert data[short].data.params == data[long].data.params
    assert data[short].data.metrics == data[long].data.metrics
    different = {"key", "mlflow.runName"}
    tags = [{k: v for k, v in one.data.tags.items() if k not in different} for one in data.values()]
    assert tags[0] == tags[1]
    assert tags[0]["commit"] == rows[short]["commit"]
    for one in data.values():
        history = client.get_metric_history(one.info.run_id, "train_loss")
        assert [point.step for point in history] == [line["epoch"] for line in epochs[short]]
