"""The whole pipeline through the real Ray Tune, MLflow and Parquet, on scikit-learn's digits."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fcdd.config import Run, change
from fcdd.data.load import load
from fcdd.data.outliers import load_pool
from pipeline import results, running
from pipeline.trial import Trial, execute

COMMIT = {"commit": "test", "dirty": False}


def fcdd(*arguments: str, timeout: float = 200) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs", *arguments], capture_output=True, text=True, timeout=timeout
    )


def trial(run: Run, key: str = "k" * 16) -> Trial:
    pool = load_pool("photographs", (1, 28, 28), root=None, pool=None)
    return Trial(key, run, load(run.data, None), pool)


@pytest.mark.parametrize("preprocessing", ["lcn", "lcnaug1", "aug1"])
def test_same_run_twice_gives_the_same_row_and_scores(
    tmp_path: Path, digits_run: Run, preprocessing: str
) -> None:
    run = change(digits_run, {"data.preprocessing": preprocessing})
    rows = []
    for name in ("first", "second"):
        results.prepare(tmp_path / name)
        rows.append(
            execute(trial(run), out=tmp_path / name, device=torch.device("cpu"), commit=COMMIT)
        )
        torch.rand(3)  # the state of the global generator must not matter
    same = [{k: v for k, v in row.items() if k not in results.MEASURED} for row in rows]
    assert same[0] == same[1]
    key = rows[0]["key"]
    first, second = (results.read_scores(tmp_path / name, key) for name in ("first", "second"))
    assert first.equals(second)
    maps = [results.read_heatmaps(tmp_path / name, key)["heatmaps"] for name in ("first", "second")]
    assert (maps[0] == maps[1]).all()
    assert maps[0].shape == (16, 28, 28)


def test_another_seed_gives_another_row(tmp_path: Path, digits_run: Run) -> None:
    results.prepare(tmp_path)
    losses = [
        execute(
            trial(change(digits_run, {"seed": seed}), key=str(seed) * 16),
            out=tmp_path,
            device=torch.device("cpu"),
            commit=COMMIT,
        )["train_loss"]
        for seed in (1, 2)
    ]
    assert losses[0] != losses[1]


def test_non_finite_loss_names_epoch_and_step_in_the_failure_file(
    tmp_path: Path, digits_run: Run
) -> None:
    run = change(digits_run, {"training.optimizer": "sgd", "training.lr": 1e30})
    results.prepare(tmp_path)
    with pytest.raises(FloatingPointError, match=r"the loss is \w+ in epoch 1, step \d"):
        execute(trial(run), out=tmp_path, device=torch.device("cpu"), commit=COMMIT)
    assert "FloatingPointError" in results.failure_path(tmp_path, "k" * 16).read_text()
    assert results.row_keys(tmp_path) == set()


def test_test_curve_is_recorded_when_asked_for_and_changes_no_number(
    tmp_path: Path, digits_run: Run
) -> None:
    results.prepare(tmp_path)
    cpu = torch.device("cpu")
    plain = execute(trial(digits_run), out=tmp_path, device=cpu, commit=COMMIT)
    curved = change(digits_run, {"evaluation.test_every": 2})
    row = execute(trial(curved, key="c" * 16), out=tmp_path, device=cpu, commit=COMMIT)
    assert row["image_auroc"] == plain["image_auroc"]
    curve = results.read_curve(tmp_path, "c" * 16)
    assert [epoch["test_auroc"] for epoch in curve] == [None, row["image_auroc"]]


def test_limited_outliers_are_nested_and_seeded(digits_run: Run) -> None:
    from fcdd.data.task import make_task

    def outliers(limit: int, seed: int) -> set[bytes]:
        run = change(digits_run, {"outliers.limit": limit, "seed": seed})
        one = trial(run)
        task = make_task(run, one.images, one.pool, device=torch.device("cpu"))
        assert isinstance(task.outliers, torch.Tensor)
        return {image.numpy().tobytes() for image in task.outliers}

    assert len(outliers(4, 0)) == 4
    assert outliers(4, 0) < outliers(8, 0)
    assert outliers(4, 0) != outliers(4, 1)
    with pytest.raises(ValueError, match="exceeds the 4000 images of pool 'photographs'"):
        outliers(4001, 0)


@pytest.mark.services  # a cluster of one node, for a minute
def test_sweep_fails_loudly_goes_on_and_shows_every_run_in_mlflow(tmp_path: Path) -> None:
    out = tmp_path / "out"
    spec = tmp_path / "mine.py"
    spec.write_text(
        "from jobs.specs.quickstart import base\n"
        "from fcdd.config import change\n"
        "from pipeline.benchmark import Benchmark, expand\n"
        "base = change(base, {'training.epochs': 2})\n"
        "bad = change(base, {'training.optimizer': 'sgd', 'training.lr': 1e30})\n"
        "benchmark = Benchmark('mine', (bad, *expand(base, {'seed': range(3)})))\n"
    )
    done = fcdd("run", str(spec), "--out", str(out), "--device", "cpu")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 of 4 rows" in done.stdout
    assert "FAILED digits '0' seed 0" in done.stdout
    (failure,) = (out / "failures").iterdir()
    assert str(failure) in done.stdout
    assert "FloatingPointError: the loss is" in failure.read_text()
    assert len(results.read_plan(out)) == 4
    assert len(results.read_rows([out])) == 3
    assert statuses(out) == {"FINISHED": 3, "FAILED": 1}

    before = {path: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    again = fcdd("run", str(spec), "--out", str(out), "--device", "cpu")
    assert again.returncode == 1
    assert "3 done, 1 failed before, 0 to do" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}

    report = fcdd("report", str(out), "--out", str(tmp_path / "report"))
    assert report.returncode == 2
    assert "1 of 4 planned runs have no row: digits class 0 seed 0" in report.stderr

    copy = tmp_path / "copy"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns("mlflow.db"))
    synced = fcdd("mlflow", "sync", str(copy))
    assert synced.stdout.strip() == "3 runs added"
    assert fcdd("mlflow", "sync", str(copy)).stdout.strip() == "0 runs added"
    assert statuses(copy) == {"FINISHED": 3}


@pytest.mark.timeout(600)  # on a busy machine
@pytest.mark.services
def test_interrupted_sweep_keeps_its_rows_and_the_same_command_goes_on(
    tmp_path: Path, marked_environment: dict[str, str]
) -> None:
    out, spec = tmp_path / "out", tmp_path / "mine.py"
    spec.write_text(
        "from jobs.specs.quickstart import base\n"
        "from fcdd.config import change\n"
        "from pipeline.benchmark import Benchmark, expand\n"
        "short = change(base, {'training.epochs': 2})\n"
        "long = expand(change(base, {'training.epochs': 150}), {'seed': (1, 2)})\n"
        "benchmark = Benchmark('mine', (short, *long))\n"
    )
    command = [sys.executable, "-m", "jobs", "run", str(spec), "--out", str(out), "--device", "cpu"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=marked_environment
    ) as run:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not (results.row_keys(out) and running.read(out)):
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 130, errors
    assert "stopped; finished runs are kept, the same command goes on" in errors
    rows = {row["key"]: row for row in results.read_rows([out])}
    assert 1 <= len(rows) < 3

    (out / "running" / ".fcdd-killed.tmp").write_text("{")  # as of a worker killed while it wrote
    again = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env=marked_environment
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert f"{len(rows)} done, 0 failed before, {3 - len(rows)} to do" in again.stdout
    after = {row["key"]: row for row in results.read_rows([out])}
    assert len(after) == 3
    assert {key: after[key] for key in rows} == rows
    assert list((out / "running").iterdir()) == []
    assert statuses(out) == {"FINISHED": 3}


def statuses(out: Path) -> dict[str, int]:
    from collections import Counter

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    assert experiment.artifact_location == (out / "mlartifacts").as_uri()
    children = client.search_runs([experiment.experiment_id], "tags.role = 'run'")
    parents = client.search_runs([experiment.experiment_id], "tags.role = 'benchmark'")
    assert len(parents) == 1
    for child in children:
        assert client.list_artifacts(child.info.run_id) == []  # nothing is uploaded, so no pickle
        assert child.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert {"dataset", "class", "seed", "method", "key"} <= set(child.data.tags)
        if child.info.status == "FINISHED":
            history = client.get_metric_history(child.info.run_id, "train_loss")
            row = results.read_row(out, child.data.tags["key"])
            epochs = range(1, row["training.epochs"] + 1)
            assert [metric.step for metric in history] == list(epochs)
            assert child.data.metrics["image_auroc"] == pytest.approx(row["image_auroc"])
            assert child.data.params["training.lr"] == str(row["training.lr"])
    return dict(Counter(child.info.status for child in children))
