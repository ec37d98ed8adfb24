"""Which runs share a stack, and what becomes of a stack that Tune gave up."""

import queue
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import ActorDiedError

from fcdd.config import Run, change
from fcdd.data.streamed import Streamed
from fcdd.data.task import Pool
from pipeline import results, running
from pipeline.benchmark import Resources
from pipeline.stacking import kinds, share_out
from pipeline.sweep.events import Failed, Finished, Progressed, Started
from pipeline.sweep.planned import Planned
from pipeline.sweep.stacks import StackReporter
from pipeline.sweep.widths import stacks_of

KEYS = ["a" * 16, "b" * 16, "c" * 16]


def test_runs_of_one_kind_are_found_in_their_order(digits_run: Run) -> None:
    wide: dict[str, object] = {"net.name": "FCDD_CNN28_W"}
    changes: list[dict[str, object]] = [{"seed": 0}, wide, {"seed": 1, "training.lr": 0.5}]
    changes += [{**wide, "data.normal_class": 1}, {"training.batch_size": 16}, {"seed": 2}]
    runs = [change(digits_run, one) for one in changes]
    assert kinds(runs) == [[0, 2, 5], [1, 3], [4]]
    assert kinds([]) == []


def test_runs_of_a_net_that_draws_random_numbers_stay_alone(digits_run: Run) -> None:
    changes = {
        **{"data.name": "imagenet30", "data.preprocessing": "aug1", "net.name": "CNN224_VGG"},
        **{"outliers.source": "imagenet22k", "objective.name": "hsc", "heatmaps.gauss_std": None},
    }
    drawing = change(digits_run, changes)
    runs = [change(drawing, {"seed": seed}) for seed in range(3)]
    assert kinds(runs) == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("count", "width", "num_gpus", "sizes"),
    [
        (10, 4, 1, [4, 3, 3]),
        (10, 64, 1, [10]),
        (50, 16, 8, [7, 7, 6, 6, 6, 6, 6, 6]),
        (50, 16, 3, [9, 9, 8, 8, 8, 8]),
        (3, 1, 2, [1, 1, 1]),
        (2, 8, 4, [1, 1]),
    ],
)
def test_stacks_are_as_equal_as_possible(
    count: int, width: int, num_gpus: int, sizes: list[int]
) -> None:
    assert share_out(count, width=width, num_gpus=num_gpus) == sizes


@given(st.integers(1, 200), st.integers(1, 80), st.integers(0, 9))
def test_every_run_has_its_place(count: int, width: int, num_gpus: int) -> None:
    sizes = share_out(count, width=width, num_gpus=num_gpus)
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= width
    assert len(sizes) == count or len(sizes) % max(1, num_gpus) == 0


def planned(runs: list[Run], pool: str | None = "photographs") -> list[Planned]:
    return [Planned(f"{n:016x}", run, "digits", pool) for n, run in enumerate(runs)]


def test_the_probe_is_asked_once_per_kind_and_its_answer_goes_with_the_runs(
    digits_run: Run,
) -> None:
    asked: list[tuple[str, int]] = []

    def probe(run: Run, count: int) -> tuple[int, str]:
        asked.append((run.net.name, count))
        return (2, "two") if run.net.name == "FCDD_CNN28" else (1, "one")

    small = [change(digits_run, {"seed": seed}) for seed in range(5)]
    wide = [change(run, {"net.name": "FCDD_CNN28_W"}) for run in small[:2]]
    lone = change(digits_run, {"training.epochs": 9})
    pools = {"photographs": Pool(np.zeros((4, 1, 28, 28), np.uint8), "f")}
    runs = planned([*small, *wide, lone])
    stacks = stacks_of(runs, pools, probe=probe, num_gpus=1)
    assert asked == [("FCDD_CNN28", 5), ("FCDD_CNN28_W", 2)]
    assert [[int(one.key, 16) for one in stack] for stack in stacks] == [
        *([0, 1], [2, 3], [4], [5], [6], [7]),
    ]
    assert [stack[0].stack_probe for stack in stacks] == ["two"] * 3 + ["one"] * 2 + [None]
    assert stacks == stacks_of(runs, pools, probe=probe, num_gpus=1)


def test_runs_whose_pool_is_decoded_beside_training_stay_alone(digits_run: Run) -> None:
    def probe(run: Run, count: int) -> tuple[int, str]:
        raise AssertionError("nothing is to be probed")

    streamed = object.__new__(Streamed)
    runs = planned([change(digits_run, {"seed": seed}) for seed in range(3)])
    stacks = stacks_of(runs, {"photographs": Pool(streamed, "f")}, probe=probe, num_gpus=1)
    assert [len(stack) for stack in stacks] == [1, 1, 1]


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "all"])
def test_runs_per_gpu_that_cannot_work_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="neither 'auto' nor a whole number of at least 1"):
        Resources(runs_per_gpu=wrong)


# what is reported of a stack


def stack(tmp_path: Path, *, text: str = "") -> Any:
    """What the reporter reads of a Tune trial of three runs."""
    error = tmp_path / "error.txt"
    error.write_text(f"Failure # 1 (occurred at now)\n{text or ActorDiedError()}\n")
    return SimpleNamespace(
        config={"trial": {"key": KEYS[0], "runs": [{"key": key} for key in KEYS]}},
        error_file=str(error),
    )


def test_events_are_those_of_single_runs_and_an_end_is_told_once(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(tmp_path)
    events: queue.Queue[Any] = queue.Queue()
    reporter, trial = StackReporter(events, tmp_path), stack(tmp_path)
    reporter.on_trial_start(1, [], trial)
    row, epochs = make_row(key=KEYS[0]), [{"epoch": 1}]
    results.write_row(tmp_path, row)
    result = {"epochs": {KEYS[1]: epochs}, "notes": [], "rows": [row], "failed": {KEYS[1]: "x"}}
    for _ in range(2):  # as from a worker that was lost before it was told that it was heard
        reporter.on_trial_result(1, [], trial, dict(result))
    results.write_row(tmp_path, make_row(key=KEYS[2]))
    reporter.on_trial_complete(1, [], trial)
    assert list(events.queue) == [
        *(Started(key) for key in KEYS),
        Progressed(KEYS[1], epochs),
        Finished(KEYS[0], row),
        Failed(KEYS[1], "x"),
        Progressed(KEYS[1], epochs),
        Finished(KEYS[2], results.read_row(tmp_path, KEYS[2])),
    ]
    assert reporter.aside == set()


def test_runs_that_a_stack_left_open_are_put_aside(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    results.prepare(tmp_path)
    (tmp_path / "running").mkdir(exist_ok=True)
    results.write_row(tmp_path, make_row(key=KEYS[0]))
    results.write_text(results.failure_path(tmp_path, KEYS[1]), "FloatingPointError: inf")
    running.write(tmp_path, KEYS[2], {"epoch": 3})
    events: queue.Queue[Any] = queue.Queue()
    reporter = StackReporter(events, tmp_path)
    reporter.on_trial_error(1, [], stack(tmp_path))
    first, second = events.queue
    assert isinstance(first, Finished) and first.key == KEYS[0]
    assert isinstance(second, Failed) and second.key == KEYS[1]
    assert reporter.aside == {KEYS[2]}
    assert running.read(tmp_path) == {}
    (message,) = caplog.messages
    assert message.endswith("1 runs are tried singly")


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("", True),  # killed
        ("ray::ImplicitFunc.train()\npipeline.trial.DeviceLost: the GPU failed: gone", True),
        ("ray::ImplicitFunc.train()\nRuntimeError: vmap knows no such layer", False),
    ],
)
def test_stack_is_tried_again_as_one_only_where_that_may_help(
    tmp_path: Path, text: str, again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    results.prepare(tmp_path)
    trial = stack(tmp_path, text=text)
    StackReporter(queue.Queue(), tmp_path).on_trial_recover(1, [], trial)
    assert trial.config["trial"].get("ended", False) is not again
    lost = "GPU" if "DeviceLost" in text else "worker"
    assert (f"the stack of run {KEYS[0]} lost its {lost}" in caplog.text) is again


def test_stack_over_its_time_is_not_tried_again_as_one(tmp_path: Path) -> None:
    results.prepare(tmp_path)
    running.write(tmp_path, KEYS[0], {"epoch": 3})
    results.write_text(running.overtime_path(tmp_path, KEYS[0]), "in train_epoch")
    trial = stack(tmp_path)
    StackReporter(queue.Queue(), tmp_path).on_trial_recover(1, [], trial)
    assert trial.config["trial"]["ended"]
