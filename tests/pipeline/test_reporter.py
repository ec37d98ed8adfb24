"""What becomes of a run that Tune gave up."""

import json
import queue
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import results, running
from pipeline.sweep.events import Failed, Finished
from pipeline.sweep.reporter import Reporter

KEY = "a" * 16
BEAT = {"host": "h", "pid": 1, "started_at": "t", "epoch": 3, "epochs": 9, "beat_at": "12:30"}


def given_up(folder: Path, account: str, *, failures: int = 2) -> Any:
    """What the reporter reads of a Tune trial whose last failure Ray tells as `account`."""
    path = folder / "error.txt"
    path.write_text(f"Failure # 1 (occurred at 12:00)\nfirst\nFailure # 2 (at 12:01)\n{account}\n")
    return SimpleNamespace(
        config={"trial": {"key": KEY}}, num_failures=failures, error_file=str(path)
    )


def report(out: Path, account: str, **how: bool) -> list[Any]:
    events: queue.Queue[Any] = queue.Queue()
    Reporter(events, out, **how).on_trial_error(1, [], given_up(out, account))
    return list(events.queue)


DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: Trainable"
MEMORY = "Ray killed 1 worker(s) ... killed due to the node running low on memory.\nray::train"


def raised(error: Exception) -> str:
    return f"ray::Trainable.train() (pid=1)\n  File ...\n{type(error).__name__}: {error}"


def test_lost_worker_writes_the_failure_file_and_removes_its_heartbeat(tmp_path: Path) -> None:
    results.prepare(tmp_path)
    running.write(tmp_path, KEY, BEAT)
    (event,) = report(tmp_path, DIED)
    assert isinstance(event, Failed)
    text = results.failure_path(tmp_path, KEY).read_text()
    assert "the worker process was lost, 2 times in a row" in text
    assert "--retry-failed" in text
    assert "Last heartbeat: 12:30, epoch 3 of 9, process 1 on h." in text
    assert running.read(tmp_path) == {}


def test_worker_of_which_ray_says_nothing_still_leaves_an_account(tmp_path: Path) -> None:
    results.prepare(tmp_path)
    trial = given_up(tmp_path, "")
    events: queue.Queue[Any] = queue.Queue()
    Reporter(events, tmp_path).on_trial_error(1, [], trial)
    text = results.failure_path(tmp_path, KEY).read_text()
    assert "the kernel, Ray's memory monitor or a lost node ended the worker" in text
    assert "None" not in text


def test_run_stopped_for_its_time_says_where_it_was_before_another_worker_begins(
    tmp_path: Path,
) -> None:
    results.prepare(tmp_path)
    running.write(tmp_path, KEY, BEAT)
    (tmp_path / "running" / f"{KEY}.overtime.txt").write_text("line 7 in train_epoch")
    events: queue.Queue[Any] = queue.Queue()
    Reporter(events, tmp_path, time_limit_seconds=9).on_trial_recover(
        1, [], given_up(tmp_path, DIED)
    )
    text = results.failure_path(tmp_path, KEY).read_text()
    assert "line 7 in train_epoch" in text
    assert text.endswith("stopped after 9 s, the time limit of a run\n")
    assert list((tmp_path / "running").iterdir()) == []
    assert events.empty()


def test_traceback_of_a_run_is_not_overwritten(tmp_path: Path) -> None:
    results.prepare(tmp_path)
    results.write_text(results.failure_path(tmp_path, KEY), "the traceback")
    report(tmp_path, raised(RuntimeError("this run failed before")))
    assert results.failure_path(tmp_path, KEY).read_text() == "the traceback"


def test_error_outside_of_the_run_is_told_as_such(tmp_path: Path) -> None:
    results.prepare(tmp_path)
    assert report(tmp_path, raised(ImportError("no module"))) == [
        Failed(KEY, "ImportError: no module")
    ]
    text = results.failure_path(tmp_path, KEY).read_text()
    assert "an error outside of the run" in text
    assert "ImportError: no module" in text
    assert "worker process was lost" not in text


def test_run_whose_worker_was_lost_after_its_row_is_finished(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(tmp_path)
    running.write(tmp_path, KEY, BEAT)
    (tmp_path / "checkpoints" / KEY).mkdir(parents=True)
    results.write_row(tmp_path, make_row(key=KEY))
    (event,) = report(tmp_path, DIED)
    assert isinstance(event, Finished)
    assert event.row == results.read_row(tmp_path, KEY)
    assert running.read(tmp_path) == {}
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert results.failed_keys(tmp_path) == set()


def test_row_and_epochs_go_into_the_event_and_leave_the_result_that_tune_keeps(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    events: queue.Queue[Any] = queue.Queue()
    trial = SimpleNamespace(config={"trial": {"key": KEY}})
    row, epochs = make_row(key=KEY), [{"epoch": 1}]
    result = {"row": json.dumps(row), "epochs": epochs, "done": True}
    Reporter(events, tmp_path).on_trial_result(1, [], trial, result)
    assert list(events.queue) == [Finished(KEY, row, epochs)]
    assert result == {"done": True}


def test_lost_worker_that_is_replaced_is_logged_and_one_that_raised_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reporter = Reporter(queue.Queue(), tmp_path)
    reporter.on_trial_recover(1, [], given_up(tmp_path, raised(RuntimeError("x"))))
    assert caplog.messages == []
    reporter.on_trial_recover(1, [], given_up(tmp_path, DIED))
    (message,) = caplog.messages
    assert message.startswith(f"run {KEY} lost its worker (")
    assert message.endswith("another goes on from its checkpoint if it left one")


def test_run_ended_for_memory_is_put_aside_once_and_fails_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results.prepare(tmp_path)
    running.write(tmp_path, KEY, BEAT)
    events: queue.Queue[Any] = queue.Queue()
    trial, reporter = given_up(tmp_path, MEMORY), Reporter(events, tmp_path)
    reporter.on_trial_recover(1, [], trial)
    assert trial.config["trial"]["ended"]  # the attempt that Tune makes now
    Path(trial.error_file).write_text(raised(RuntimeError("this attempt is not made")))
    reporter.on_trial_error(1, [], trial)
    assert reporter.aside == {KEY}
    assert events.empty() and results.failed_keys(tmp_path) == set()
    assert running.read(tmp_path) == {}
    (message,) = caplog.messages
    assert message.startswith(f"run {KEY} lost its worker, which Ray's memory monitor ended")

    (event,) = report(tmp_path, MEMORY, alone=True)
    assert isinstance(event, Failed)
    text = results.failure_path(tmp_path, KEY).read_text()
    assert "also when it had its node for itself" in text
    assert "running low on memory" in text


def test_outputs_that_cannot_be_written_are_told_and_leave_no_failure_file(tmp_path: Path) -> None:
    results.prepare(tmp_path)
    account = "ray::train()\npipeline.trial.NotWritten: run a is trained, but; free space there"
    assert report(tmp_path, account) == [Failed(KEY, "run a is trained, but; free space there")]
    assert results.failed_keys(tmp_path) == set()


def test_failure_file_that_cannot_be_written_ends_no_sweep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results.prepare(tmp_path)
    (tmp_path / "failures").rmdir()
    (event,) = report(tmp_path, DIED)
    assert isinstance(event, Failed)
    assert "its failure file is not written" in caplog.text


def test_worker_lost_after_its_row_is_not_replaced(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    results.prepare(tmp_path)
    results.write_row(tmp_path, make_row(key=KEY))
    trial = given_up(tmp_path, DIED)
    Reporter(queue.Queue(), tmp_path).on_trial_recover(1, [], trial)
    assert trial.config["trial"]["ended"]
    assert caplog.messages == []
