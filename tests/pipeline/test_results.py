from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fcdd.config import Run, flatten
from pipeline import results
from pipeline.compact import Compaction, compact, undo
from pipeline.files import remove_unfinished


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

    monkeypatch.setattr("pipeline.files.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        results.write_row(tmp_path, make_row())
    assert list((tmp_path / "rows").iterdir()) == []


def test_what_killed_processes_left_is_removed_and_nothing_else(
    tmp_path: Path, make_row: Any
) -> None:
    results.prepare(tmp_path)
    results.write_row(tmp_path, make_row(key="a" * 16))
    for part in ("rows", "scores", "failures", "."):
        (tmp_path / part / ".fcdd-x1y2.tmp").write_text("half")
    (tmp_path / ".another's.tmp").write_text("theirs")
    remove_unfinished(tmp_path)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert found == {f"rows/{'a' * 16}.parquet", ".another's.tmp"}


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


def some_rows(out: Path, make_row: Any, *, seeds: range) -> list[dict[str, Any]]:
    rows = []
    for seed in seeds:
        rows.append(make_row(run_={"seed": seed}, key=f"{seed:016x}", image_auroc=seed / 100))
        results.write_row(out, rows[-1])
    return rows


def test_compacted_rows_read_like_single_ones(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    rows = some_rows(tmp_path, make_row, seeds=range(5))
    assert compact(tmp_path).num_files_after == 1
    assert len(list((tmp_path / "rows").iterdir())) == 1
    assert results.row_keys(tmp_path) == {row["key"] for row in rows}
    assert results.read_rows([tmp_path]) == rows
    assert results.read_row(tmp_path, rows[3]["key"]) == rows[3]
    results.write_text(results.failure_path(tmp_path, rows[0]["key"]), "an earlier start")
    assert results.failed_keys(tmp_path) == set()


def test_rows_after_a_compaction_join_those_before(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    rows = some_rows(tmp_path, make_row, seeds=range(3))
    compact(tmp_path)
    rows += some_rows(tmp_path, make_row, seeds=range(3, 5))
    assert results.read_rows([tmp_path]) == rows
    assert compact(tmp_path).num_rows == 5
    assert results.read_rows([tmp_path]) == rows
    first = next((tmp_path / "rows").iterdir()).name
    assert compact(tmp_path) == Compaction(5, 1, 1)  # nothing to do: the same file
    assert next((tmp_path / "rows").iterdir()).name == first


def test_undone_compaction_gives_the_single_files_back(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    rows = some_rows(tmp_path, make_row, seeds=range(3))
    results.write_plan(tmp_path, "one", {row["key"]: {"seed": row["seed"]} for row in rows})
    plan = results.read_plan(tmp_path)
    compact(tmp_path)
    undo(tmp_path)
    names = sorted(path.stem for path in (tmp_path / "rows").iterdir())
    assert names == [row["key"] for row in rows]
    assert results.read_rows([tmp_path]) == rows
    assert results.read_plan(tmp_path) == plan
    assert not (tmp_path / "plan.parquet").exists()


def test_interrupted_compaction_leaves_each_row_once(
    tmp_path: Path, make_row: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.prepare(tmp_path)
    rows = some_rows(tmp_path, make_row, seeds=range(3))
    rows[1] = make_row(run_={"seed": 1}, key=rows[1]["key"], image_auroc=float("nan"))
    results.write_row(tmp_path, rows[1])

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            compact(tmp_path)
    assert len(list((tmp_path / "rows").iterdir())) == 4
    assert [row["key"] for row in results.read_rows([tmp_path])] == [row["key"] for row in rows]
    compact(tmp_path)
    assert len(list((tmp_path / "rows").iterdir())) == 1


def test_two_different_rows_of_one_key_are_refused(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    some_rows(tmp_path, make_row, seeds=range(2))
    compact(tmp_path)
    results.write_row(tmp_path, make_row(key=f"{1:016x}", image_auroc=0.75))
    with pytest.raises(ValueError, match="two different rows of run 0000000000000001; delete"):
        results.read_rows([tmp_path])


def test_damaged_compacted_file_is_named(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    some_rows(tmp_path, make_row, seeds=range(3))
    compact(tmp_path)
    path = next((tmp_path / "rows").iterdir())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="compacted-.*cannot be read .*delete it and run"):
        results.read_rows([tmp_path])


def test_compacted_plan_still_tells_what_is_missing(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    rows = some_rows(tmp_path, make_row, seeds=range(2))
    results.write_plan(tmp_path, "one", {row["key"]: {"seed": row["seed"]} for row in rows})
    compact(tmp_path)
    results.write_plan(tmp_path, "two", {rows[0]["key"]: {"seed": 0}, "f" * 16: {"seed": 9}})
    assert results.planned_keys(tmp_path) == {rows[0]["key"], rows[1]["key"], "f" * 16}
    plan = results.read_plan(tmp_path)
    assert plan[rows[0]["key"]] == {"benchmarks": ["one", "two"], "run": {"seed": 0}}
    present = results.row_keys(tmp_path)
    assert results.read_plan(tmp_path, besides=present) == {
        "f" * 16: {"benchmarks": ["two"], "run": {"seed": 9}}
    }


def as_older(path: Path, *without: str) -> None:
    """Rewrites a file of rows as an earlier version would have written it."""
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(list(without)), path)


@pytest.mark.parametrize("single", [True, False])
def test_rows_of_an_older_version_stand_for_the_defaults(
    tmp_path: Path, make_row: Any, single: bool
) -> None:
    results.prepare(tmp_path)
    rows = some_rows(tmp_path, make_row, seeds=range(2))
    if not single:
        compact(tmp_path)
    for path in (tmp_path / "rows").iterdir():
        as_older(path, "watermark.fraction", "training.passes", "data.size")
    assert results.read_rows([tmp_path]) == rows
    assert rows[0]["watermark.fraction"] == 1.0
    assert results.read_table(tmp_path, ["training.passes"])["training.passes"].to_pylist() == [
        1,
        1,
    ]


def test_row_of_another_schema_version_names_the_program_to_use(
    tmp_path: Path, make_row: Any
) -> None:
    results.prepare(tmp_path)
    row = make_row(schema_version=2, commit="c" * 40, **{"version.fcdd": "9.9"})
    results.write_row(tmp_path, row)
    way = f"\\(9.9: git checkout {'c' * 40} && make install\\)"
    with pytest.raises(ValueError, match=f"has schema version 2, this program reads 1; .*{way}"):
        results.read_rows([tmp_path])


def test_foreign_parquet_file_is_named(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    some_rows(tmp_path, make_row, seeds=range(2))
    pq.write_table(pa.table({"price": [1.0]}), tmp_path / "rows" / "shop.parquet")
    first = r"missing \(schema_version, key, data\.name, data\.normal_class, [a-z.]+, \.\.\.\); "
    with pytest.raises(ValueError, match=rf"shop\.parquet is not a file of this .* {first}"):
        results.read_rows([tmp_path])


def test_column_of_another_type_is_named(tmp_path: Path, make_row: Any) -> None:
    results.prepare(tmp_path)
    results.write_row(tmp_path, make_row(key="b" * 16))
    path = tmp_path / "rows" / f"{'b' * 16}.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("image_auroc")
    pq.write_table(table.set_column(place, "image_auroc", pa.array(["high"])), path)
    with pytest.raises(ValueError, match="bbbb.parquet does not hold what its columns are for"):
        results.read_rows([tmp_path])


def test_name_of_the_folder_adds_no_column(tmp_path: Path, make_row: Any) -> None:
    out = tmp_path / "seed=5"  # Arrow would read a column from such a name
    results.prepare(out)
    rows = some_rows(out, make_row, seeds=range(2))
    assert results.read_rows([out]) == rows
    assert results.read_row(out, rows[1]["key"]) == rows[1]


def test_command_compacts_and_undoes(
    tmp_path: Path, make_row: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs.commands.compact import compact as command

    results.prepare(tmp_path)
    rows = some_rows(tmp_path, make_row, seeds=range(3))
    command(str(tmp_path))
    command(str(tmp_path), undo=True)
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: 3 rows, 3 -> 1 files",
        f"{tmp_path}: 3 rows, 1 -> 3 files",
    ]
    assert results.read_rows([tmp_path]) == rows


def test_compacting_what_is_no_output_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no output folder"):
        compact(tmp_path)
