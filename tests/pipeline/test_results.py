from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcdd.config import Run, flatten
from pipeline import results


def test_schema_holds_exactly_the_fields_of_a_run_in_their_order(digits_run: Run) -> None:
    names = results.SCHEMA.names
    first, after = names.index("data.name"), names.index("class_name")
    assert names[first:after] == list(flatten(digits_run))


def test_row_survives_writing_and_reading(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    row = make_row(key="a" * 16)
    results.write_row(tmp_path, row)
    assert results.read_rows([tmp_path]) == [row]
    assert results.row_keys(tmp_path) == {"a" * 16}


def test_row_with_other_columns_is_refused(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    with pytest.raises(ValueError, match="these differ: \\['speed'\\]"):
        results.write_row(tmp_path, {**make_row(), "speed": 1})


def test_interrupted_writing_leaves_nothing_behind(
    tmp_path: Path, make_row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.prepare(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.results.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_row(tmp_path, make_row())
    assert list((tmp_path / "rows").iterdir()) == []


def test_corrupt_row_is_named_with_its_remedy(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    results.write_row(tmp_path, make_row(key="b" * 16))
    path = tmp_path / "rows" / f"{'b' * 16}.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{'b' * 16}.parquet cannot be read .*delete it"):
        results.read_rows([tmp_path])


def test_row_under_another_name_is_refused(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    results.write_row(tmp_path, make_row(key="b" * 16))
    rows = tmp_path / "rows"
    (rows / f"{'b' * 16}.parquet").rename(rows / f"{'c' * 16}.parquet")
    with pytest.raises(ValueError, match="does not hold the one row of its name"):
        results.read_rows([tmp_path])


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ValueError, match="cannot be written .*--out"):
        results.prepare(tmp_path / "out")


def test_second_benchmark_adds_to_the_plan(tmp_path: Path, digits_run: Run) -> None:
    results.prepare(tmp_path)
    nested = digits_run.model_dump(mode="json")
    results.write_plan(tmp_path, "one", {"k1": nested})
    results.write_plan(tmp_path, "two", {"k1": nested, "k2": nested})
    plan = results.read_plan(tmp_path)
    assert plan["k1"]["benchmarks"] == ["one", "two"]
    assert plan["k2"] == {"benchmarks": ["two"], "run": nested}
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ValueError, match="is no plan"):
        results.read_plan(tmp_path)


def test_scores_curves_and_heatmaps_survive(tmp_path: Path) -> None:
    results.prepare(tmp_path)
    scores = {"id": [0, 1], "class": [3, 4], "label": [0, 1], "score": [0.25, 0.5]}
    results.write_scores(
        tmp_path,
        "k",
        {n: np.array(v) for n, v in scores.items()} | {"label": np.array([0, 1], np.uint8)},
    )
    assert results.read_scores(tmp_path, "k").to_pydict() == scores
    epochs = [{"epoch": 1, "train_loss": 0.5, "lr": 0.1, "test_auroc": None}]
    results.write_curve(tmp_path, "k", epochs)
    assert results.read_curve(tmp_path, "k") == epochs
    results.write_heatmaps(tmp_path, "k", heatmaps=np.ones((2, 3, 3), np.float16))
    assert results.read_heatmaps(tmp_path, "k")["heatmaps"].tolist() == [[[1.0] * 3] * 3] * 2
