import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fcdd.config import flatten
from jobs.cli import app
from jobs.select import apply, load_spec
from pipeline import results


def fcdd(*arguments: object) -> str:
    done = CliRunner().invoke(
        app, [str(a) for a in arguments], catch_exceptions=False, env={"COLUMNS": "120"}
    )
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def folder(make_row: Callable[..., dict[str, Any]], tmp_path: Path) -> Path:
    """Rows of two runs of quickstart, at 400 images/s."""
    results.prepare(tmp_path)
    runs = load_spec("quickstart").runs
    for number, run in enumerate(runs[:2]):
        fields = {n: list(v) if isinstance(v, tuple) else v for n, v in flatten(run).items()}
        row = make_row(
            key=f"{number:016}",
            device="cpu",
            train_images_per_second=400.0,
            evaluate_seconds=1.0,
            num_test=900,
            peak_memory_bytes=10**9,
        )
        results.write_row(tmp_path, row | fields)
    plan = {f"{2:016}": runs[2].model_dump(mode="json")}
    results.write_plan(tmp_path, "quickstart", plan)
    return tmp_path


def test_plan_from_rows_counts_runs_and_names_its_source(folder: Path) -> None:
    output = fcdd("plan", "quickstart", "--out", folder, "--device", "cpu", "--cores", 2)
    assert "quickstart: 30 runs, 2 done, 0 failed before, 28 left" in output
    assert f"speed of FCDD_CNN28: 2 rows of {folder}" in output
    # digits have 178 +- 5 images per class, two thirds of them to train: 60 epochs at 400 images/s
    assert re.search(r"28 +│ FCDD_CNN28 +│ digits +│ +400 +│ +1[789] s", output), output


def test_failed_runs_are_not_left_to_do(folder: Path) -> None:
    results.write_text(results.failure_path(folder, f"{2:016}"), "a traceback\n")
    output = fcdd("plan", "quickstart", "--out", folder, "--device", "cpu")
    assert "30 runs, 2 done, 1 failed before, 27 left" in output


def test_budget_prints_a_command_that_selects_what_fits(folder: Path) -> None:
    options = ["quickstart", "--only", "data.normal_class=5,6,7", "--device", "cpu"]
    output = fcdd(
        "plan", *options, "--out", folder / "new", "--from", folder, "--cores", 1, "--budget", "75s"
    )
    # 15 s for the start and three runs of 18 to 19 s
    assert "fits: 3 runs, 1 min: fcdd run quickstart" in output
    command = next(line for line in output.splitlines() if line.startswith("fits: "))
    only = re.findall(r"--only (\S+)", command)
    chosen = apply(load_spec("quickstart"), settings=[], only=only)
    assert {(run.data.normal_class, run.seed) for run in chosen.runs} == {(5, 0), (6, 0), (7, 0)}


def test_budget_too_small_says_what_one_class_takes(folder: Path) -> None:
    output = fcdd("plan", "quickstart", "--out", folder, "--device", "cpu", "--budget", "20s")
    assert re.search(r"nothing fits into 20 s: class '0' of seed 2 alone takes 3\d s", output)


def test_plan_without_rows_probes(tmp_path: Path) -> None:
    output = fcdd(
        "plan", "quickstart", "--out", tmp_path / "new", "--device", "cpu", "--set", "threads=1"
    )
    assert "30 runs, 0 done, 0 failed before, 30 left" in output
    assert "speed of FCDD_CNN28: probe: " in output
    assert not (tmp_path / "new").exists()  # a forecast writes nothing


def test_nothing_left_is_said(folder: Path) -> None:
    output = fcdd(
        *("plan", "quickstart", "--out", folder, "--device", "cpu"),
        *("--only", "data.normal_class=0", "--only", "seed=0,1"),
    )
    assert "2 runs, 2 done, 0 failed before, 0 left" in output
    assert "nothing is left to do" in output


def test_wrong_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="--budget 'soon' is no duration"):
        fcdd("plan", "quickstart", "--budget", "soon")
