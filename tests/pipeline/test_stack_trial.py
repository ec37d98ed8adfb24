"""Stacks of real runs on a CPU: each leaves what a single run leaves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from fcdd.config import Run, change
from fcdd.data.load import load
from fcdd.data.outliers import load_pool
from fcdd.data.task import make_task
from fcdd.training import Epoch
from pipeline import results, stack_trial
from pipeline.outputs import Circumstances, Trial
from pipeline.stack_trial import Ended, execute_stack
from pipeline.trial import DeviceLost, execute

CPU = torch.device("cpu")
COMMIT = {"commit": "test", "dirty": False}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trials(digits_run: Run) -> list[Trial]:
    """Three runs of other seeds and classes, without biases (see `fcdd.stacked`)."""
    base = change(digits_run, {"net.bias": False, "training.batch_size": 64})
    images, pool = (
        load(base.data, None),
        load_pool("photographs", (1, 28, 28), root=None, pool=None),
    )
    runs = [change(base, {"seed": n, "data.normal_class": n}) for n in range(3)]
    return [Trial(str(n) * 16, run, images, pool) for n, run in enumerate(runs)]


def ended(
    trials: list[Trial], out: Path, epochs: dict[str, list[int]] | None = None
) -> list[Ended]:
    results.prepare(out)
    told: dict[str, list[int]] = {} if epochs is None else epochs

    def report_of(key: str) -> Any:
        def add(epoch: Epoch) -> None:
            told.setdefault(key, []).append(epoch.epoch)

        return add

    return list(
        execute_stack(
            trials,
            out=out,
            circumstances=Circumstances(CPU, COMMIT, stack_probe="3 together: tried"),
            reports={trial.key: report_of(trial.key) for trial in trials},
        )
    )


def test_stack_leaves_the_rows_and_files_of_single_runs(
    trials: list[Trial], tmp_path: Path
) -> None:
    epochs: dict[str, list[int]] = {}
    found = ended(trials, tmp_path / "stack", epochs)
    assert [one.key for one in found] == [trial.key for trial in trials]
    assert epochs == {trial.key: [1, 2] for trial in trials}
    results.prepare(tmp_path / "single")
    for trial, one in zip(trials, found, strict=True):
        single = execute(trial, out=tmp_path / "single", device=CPU, commit=COMMIT)
        row = results.read_row(tmp_path / "stack", trial.key)
        assert row == one.row
        assert (row["stack"], row["stack_probe"], row["execution"]) == (
            3,
            "3 together: tried",
            "eager",
        )
        assert (single["stack"], single["stack_probe"]) == (1, None)
        for name in set(row) - results.MEASURED:
            if isinstance(row[name], float) and name in ("image_auroc", "image_ap", "train_loss"):
                assert row[name] == pytest.approx(single[name], abs=2e-3), name
            else:
                assert row[name] == single[name], name
        tables = [results.read_scores(tmp_path / kind, trial.key) for kind in ("stack", "single")]
        scores = [torch.tensor(table["score"].to_pylist()) for table in tables]
        assert_close(scores[0], scores[1], rtol=1e-3, atol=1e-5)
        assert tables[0]["id"] == tables[1]["id"]
        curve = results.read_curve(tmp_path / "stack", trial.key)
        assert [line["epoch"] for line in curve] == [1, 2]
        maps = [results.read_heatmaps(tmp_path / kind, trial.key) for kind in ("stack", "single")]
        assert maps[0]["heatmaps"].shape == maps[1]["heatmaps"].shape == (16, 28, 28)


def test_shares_of_time_add_up_to_that_of_the_stack(trials: list[Trial], tmp_path: Path) -> None:
    rows = [one.row for one in ended(trials, tmp_path)]
    assert all(row is not None for row in rows)
    seconds = [row["train_seconds"] for row in rows if row]
    assert seconds == pytest.approx([seconds[0]] * 3)
    assert sum(seconds) < max(row["total_seconds"] for row in rows if row)


def test_run_that_is_not_finite_fails_alone(trials: list[Trial], tmp_path: Path) -> None:
    sgd = {"training.optimizer": "sgd"}
    runs = [
        change(one.run, sgd | ({"training.lr": 1e38} if n == 1 else {}))
        for n, one in enumerate(trials)
    ]
    given = [
        Trial(one.key, run, one.images, one.pool) for one, run in zip(trials, runs, strict=True)
    ]
    found = ended(given, tmp_path)
    assert isinstance(found[1].error, FloatingPointError)
    assert results.row_keys(tmp_path) == {trials[0].key, trials[2].key}
    assert results.failed_keys(tmp_path) == {trials[1].key}
    text = results.failure_path(tmp_path, trials[1].key).read_text()
    assert text.startswith("FloatingPointError: the loss is ")
    assert "lower training.lr (1e+38)" in text


def test_run_without_its_data_fails_alone(trials: list[Trial], tmp_path: Path) -> None:
    greedy = change(trials[0].run, {"outliers.limit": 5000})
    given = [Trial(trials[0].key, greedy, trials[0].images, trials[0].pool), *trials[1:]]
    found = {one.key: one for one in ended(given, tmp_path)}
    assert "exceeds the 4000 images" in str(found[trials[0].key].error)
    assert results.failed_keys(tmp_path) == {trials[0].key}
    rows = [found[trial.key].row for trial in trials[1:]]
    assert [row["stack"] for row in rows if row] == [2, 2]


def test_stack_that_does_not_fit_into_memory_is_halved_until_it_does(
    trials: list[Trial],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = stack_trial.fit_stacked

    def small(runs: Any, tasks: Any, **rest: Any) -> Any:
        if len(runs) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(runs, tasks, **rest)

    monkeypatch.setattr(stack_trial, "fit_stacked", small)
    found = ended(trials, tmp_path)
    assert [one.row["stack"] for one in found if one.row] == [1, 2, 2]
    assert caplog.messages == [
        "3 runs as one stack do not fit into the memory of the device; 1 and 2 are tried"
    ]


def test_run_that_does_not_fit_alone_fails_and_the_others_do_not(
    trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: Any, **rest: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    real = stack_trial.fit

    def single(run: Run, *args: Any, **rest: Any) -> Any:
        if run.seed == 1:
            raise torch.OutOfMemoryError("out of memory")
        return real(run, *args, **rest)

    monkeypatch.setattr(stack_trial, "fit_stacked", none)
    monkeypatch.setattr(stack_trial, "fit", single)
    ended(trials, tmp_path)
    assert results.failed_keys(tmp_path) == {trials[1].key}
    assert results.row_keys(tmp_path) == {trials[0].key, trials[2].key}


def test_gpu_that_fails_is_no_fault_of_the_runs(
    trials: list[Trial], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **rest: Any) -> Any:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(stack_trial, "fit_stacked", broken)
    with pytest.raises(DeviceLost, match="the GPU failed: CUDA error: unspecified launch failure"):
        ended(trials, tmp_path)
    monkeypatch.setattr("pipeline.trial.fit", broken)
    with pytest.raises(DeviceLost, match="unspecified launch failure"):
        execute(trials[0], out=tmp_path, device=CPU, commit=COMMIT)
    assert results.failed_keys(tmp_path) == set()
    assert results.row_keys(tmp_path) == set()


def test_what_a_stack_has_in_common_lies_on_the_device_once(trials: list[Trial]) -> None:
    tasks = [make_task(one.run, one.images, one.pool, device=CPU) for one in trials]
    copies = stack_trial._sharing(
        stack_trial.replace(
            tasks[1],
            outliers=tasks[1].outliers.clone(),  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
            test_images=tasks[1].test_images + 1,
        ),
        tasks[0],
    )
    assert copies.outliers is tasks[0].outliers
    assert copies.test_images is not tasks[0].test_images
    assert torch.equal(copies.test_images, tasks[1].test_images + 1)
    assert copies.train_images is tasks[1].train_images
