import csv
import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import results
from reports.aggregate import Cell, Table
from reports.rows import load
from reports.tables import Options, tables
from reports.write import write

MakeRow = Callable[..., dict[str, Any]]
Folder = Callable[..., Path]
Rows = list[tuple[dict[str, Any], dict[str, Any]]]

# AUROC of (class, seed).
VALUES = {(0, 0): 0.9, (0, 1): 0.8, (0, 2): 0.7, (8, 0): 0.6, (8, 1): 0.7, (8, 2): 0.95}
FMNIST: dict[str, Any] = {"data.name": "fmnist", "outliers.source": "cifar100"}
HSC = {"objective.name": "hsc", "net.name": "CNN28"}


def rows_of(values: dict[tuple[int, int], float], **fields: Any) -> Rows:
    return [
        (
            {**FMNIST, "data.normal_class": number, "seed": seed, **fields},
            {"image_auroc": auroc, "image_ap": auroc / 2},
        )
        for (number, seed), auroc in values.items()
    ]


@pytest.fixture
def folder(folder_of: Folder) -> Path:
    """Fashion-MNIST classes t-shirt/top and bag with three seeds each."""
    return folder_of(rows_of(VALUES))


def made(folder: Path | list[Path], **options: Any) -> list[Table]:
    chosen = Options(**options)
    folders = folder if isinstance(folder, list) else [folder]
    return tables(load(folders, allow_missing=chosen.allow_missing), chosen)


def cell(table: Table, row: int, column: int = 0) -> Cell:
    found = table.cells[row][column]
    assert found is not None
    return found


def test_cells_are_mean_and_sample_standard_deviation_over_seeds(folder: Path) -> None:
    (table,) = made(folder)
    assert table.rows == ("t-shirt/top", "bag", "mean")
    assert table.columns == ("FCDD",)
    first = cell(table, 0)
    assert first.mean == pytest.approx(0.8)
    assert first.std == pytest.approx(0.1)  # ddof 1: sqrt((0.01 + 0 + 0.01) / 2)
    assert first.n == 3
    assert first.keys == tuple(f"{n:016x}" for n in range(3))
    assert first.interval is not None
    assert first.interval[0] < 0.8 < first.interval[1]


def test_mean_row_spreads_over_the_class_means_of_seeds(folder: Path) -> None:
    (table,) = made(folder)
    means = [0.75, 0.75, 0.825]
    mean = cell(table, 2)
    assert table.mean_row
    assert mean.mean == pytest.approx(statistics.mean(means))
    assert mean.std == pytest.approx(statistics.stdev(means))
    assert mean.n == 3


def test_mean_row_takes_the_seeds_that_all_classes_have(folder_of: Folder) -> None:
    (table,) = made(folder_of(rows_of({**VALUES, (8, 3): 0.1})))
    assert cell(table, 1).n == 4
    assert cell(table, 2).n == 3
    assert cell(table, 2).mean == pytest.approx(statistics.mean([0.75, 0.75, 0.825]))


def test_every_metric_can_be_asked_for(folder: Path) -> None:
    (table,) = made(folder, metrics=("image_ap",))
    assert table.stem == "fmnist_image_ap"
    assert cell(table, 0).mean == pytest.approx(0.4)
    with pytest.raises(ValueError, match="no metric 'speed'; known: image_auroc, image_ap, pixel"):
        made(folder, metrics=("speed",))
    with pytest.raises(ValueError, match="no row has pixel_pro, which needs data with masks; pre"):
        made(folder, metrics=("pixel_pro",))


def test_pixel_metrics_come_where_there_are_masks(folder_of: Folder) -> None:
    masks = [
        (
            {"data.name": "textures", "data.normal_class": n, "net.name": "FCDD_CNN224"},
            {"pixel_auroc": 0.5 + n / 10, "image_auroc": 0.9},
        )
        for n in range(2)
    ]
    stems = [table.stem for table in made(folder_of([*masks, *rows_of(VALUES)]))]
    assert stems == [
        *("methods_image_auroc", "fmnist_image_auroc", "textures_image_auroc"),
        "textures_pixel_auroc",
    ]


def test_methods_stand_side_by_side_and_the_best_is_bold(folder_of: Folder) -> None:
    lower = {place: value - 0.05 for place, value in VALUES.items()} | {(8, 0): 0.9}
    (table,) = made(folder_of(rows_of(VALUES) + rows_of(lower, **HSC)))
    assert table.columns == ("FCDD", "HSC")
    assert cell(table, 0, 1).mean == pytest.approx(0.75)
    assert table.bold == {(0, 0), (1, 1), (2, 1)}


def test_means_that_print_alike_are_both_bold(folder_of: Folder) -> None:
    nearly = {place: value + 0.0001 for place, value in VALUES.items()}
    (table,) = made(folder_of(rows_of(VALUES) + rows_of(nearly, **HSC)))
    assert table.bold == {(row, column) for row in range(3) for column in range(2)}


def test_bold_equivalent_adds_what_is_not_significantly_worse(folder_of: Folder) -> None:
    best = {(0, seed): 0.9 + 0.01 * seed for seed in range(5)}
    worse = {place: value - 0.1 for place, value in best.items()}  # by 0.1 in every seed
    unsure = {(0, seed): 0.9 + 0.1 * (-1) ** seed - 0.02 for seed in range(5)}
    rows = (
        rows_of(best)
        + rows_of(worse, **HSC)
        + rows_of(unsure, **{"objective.name": "hsc", "net.name": "CNN28_W"})
    )
    (table,) = made(folder_of(rows), bold="equivalent")
    assert table.columns == ("FCDD", "HSC, CNN28", "HSC, CNN28_W")
    assert table.bold == {(0, 0), (0, 2)}
    assert "not significantly lower (95 % interval of the difference paired by seed)" in table.title
    (table,) = made(folder_of(rows), bold="best")
    assert table.bold == {(0, 0)}


def test_methods_by_data_sets_hold_the_mean_over_classes(folder_of: Folder) -> None:
    digits = [({"data.normal_class": n, "seed": 0}, {"image_auroc": 0.5 + n / 10}) for n in (0, 1)]
    first = made(folder_of(rows_of(VALUES) + rows_of(VALUES, **HSC) + digits))[0]
    assert first.stem == "methods_image_auroc"
    assert (first.rows, first.columns) == (("FCDD", "HSC"), ("digits", "Fashion-MNIST"))
    assert cell(first, 0, 0).mean == pytest.approx(0.55)
    assert cell(first, 0, 1).mean == pytest.approx(statistics.mean([0.75, 0.75, 0.825]))
    assert first.cells[1][0] is None  # HSC did not run on digits
    assert any("1 cell has no value: HSC, digits" in note for note in first.notes)
    assert first.bold == {(0, 1), (1, 1)}  # equal values; nothing competes on digits


def test_any_two_fields_can_stand_on_the_axes(folder_of: Folder) -> None:
    folder = folder_of(rows_of(VALUES) + rows_of(VALUES, **HSC))
    (table,) = made(folder, rows="data.normal_class", columns="objective.name")
    assert table.stem == "fmnist_data-normal_class_by_objective-name_image_auroc"
    assert table.columns == ("FCDD", "HSC")
    (table,) = made(folder, rows="objective.name", columns="seed")
    assert (table.rows, table.columns) == (("FCDD", "HSC"), ("0", "1", "2"))
    assert cell(table, 0, 2).mean == pytest.approx(0.825)
    assert cell(table, 0, 2).std is None
    (table,) = made(folder, rows="objective.name", columns="data.normal_class")
    assert table.columns == ("t-shirt/top", "bag", "mean")
    assert table.mean_column
    assert cell(table, 1, 2).mean == pytest.approx(statistics.mean([0.75, 0.75, 0.825]))


def test_axes_that_would_merge_settings_are_refused(folder_of: Folder) -> None:
    slow = rows_of(VALUES, **{"training.lr": 1e-4})
    folder = folder_of(rows_of(VALUES) + slow + rows_of(VALUES, **HSC))
    with pytest.raises(ValueError, match=r"of FCDD would merge runs that differ in training.lr: 0"):
        made(folder, columns="objective.name")
    with pytest.raises(ValueError, match="put training.lr on an axis, or method, which tells all"):
        made(folder, columns="objective.name")
    (table,) = made(folder)
    assert table.columns == ("FCDD, lr 0.0001", "FCDD, lr 0.001", "HSC")


def test_classes_of_two_data_sets_share_no_axis(folder_of: Folder) -> None:
    folder = folder_of([*rows_of(VALUES), ({"data.normal_class": 0}, {})])
    with pytest.raises(ValueError, match=r"class 0 has several names \(0, t-shirt/top\), so rows"):
        made(folder, columns="data.name")


def test_threads_change_float_results_so_they_tell_methods_apart(folder_of: Folder) -> None:
    (table,) = made(folder_of(rows_of(VALUES) + rows_of(VALUES, threads=4)))
    assert table.columns == ("FCDD, threads 1", "FCDD, threads 4")


def test_unknown_and_equal_axes_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="no field 'lr' to put on an axis; known: method, data."):
        made(folder, columns="lr")
    with pytest.raises(ValueError, match="rows and columns are both 'seed'"):
        made(folder, rows="seed", columns="seed")


def test_missing_rows_are_named_and_never_look_complete(folder: Path, tmp_path: Path) -> None:
    for number in range(3, 6):
        (folder / "rows" / f"{number:016x}.parquet").unlink()
    with pytest.raises(ValueError, match="3 of 6 planned runs have no row: fmnist class 8 seed 0"):
        made(folder)
    (table,) = made(folder, allow_missing=True)
    assert [cells[0] is None for cells in table.cells] == [False, True, True]
    assert "2 cells have no value: 8, FCDD; mean, FCDD." in table.notes
    write([folder], tmp_path / "report", options=Options(allow_missing=True), figures=False)
    text = (tmp_path / "report" / "fmnist_image_auroc.tabular.tex").read_text()
    assert r"{8} & {\textendash{}} &  \\" in text
    assert r"{mean} & {\textendash{}} &  \\" in text
    assert "2 cells have no value" in text


def test_missing_seed_of_a_class_is_marked(folder: Path, tmp_path: Path) -> None:
    (folder / "rows" / f"{5:016x}.parquet").unlink()
    write([folder], tmp_path, options=Options(allow_missing=True), figures=False)
    text = (tmp_path / "fmnist_image_auroc.md").read_text()
    assert "| bag | 65.0 ± 7.1<sup>a</sup> |" in text
    assert "<sup>a</sup> 2 seeds instead of 3." in text


def test_class_with_one_seed_is_named(folder_of: Folder) -> None:
    (table,) = made(folder_of(rows_of({k: v for k, v in VALUES.items() if k[0] == 0 or k[1] == 0})))
    assert cell(table, 1).std is None
    assert cell(table, 1).interval is None
    (note,) = table.notes
    assert note.startswith("2 cells have one seed, so neither spread nor interval: bag, FCDD; mean")


def test_one_seed_everywhere_has_no_spread(folder_of: Folder) -> None:
    (table,) = made(folder_of(rows_of({(0, 0): 0.9, (8, 0): 0.8})))
    assert [c.std for _, _, c in table.present()] == [None] * 3
    assert "One seed, so without a spread." in table.title
    assert table.notes == ()


def test_duplicate_rows_are_named(folder: Path, tmp_path: Path, make_row: MakeRow) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with pytest.raises(ValueError, match="0000000000000000 .* stands in .*out and in .*copy"):
        made([folder, copy])
    fields = {**FMNIST, "data.normal_class": 0, "seed": 0}
    results.write_row(folder, make_row(run_=fields, key="f" * 16))
    with pytest.raises(ValueError, match="two rows for fmnist class t-shirt/top seed 0: 0+ and f+"):
        made(folder)


def test_folder_given_twice_is_read_once(folder: Path) -> None:
    assert made([folder, folder]) == made(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -0.1])
def test_impossible_metrics_are_named(folder: Path, make_row: MakeRow, value: float) -> None:
    fields = {**FMNIST, "data.normal_class": 0, "seed": 0}
    results.write_row(folder, make_row(run_=fields, key=f"{0:016x}", image_auroc=value))
    with pytest.raises(ValueError, match=r"image_auroc of fmnist class t-shirt/top seed 0 \(0+\)"):
        made(folder)


def test_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no output folder"):
        load([tmp_path])
    results.prepare(tmp_path)
    with pytest.raises(ValueError, match="no rows in"):
        load([tmp_path])


def test_planned_setting_without_a_row_stays_visible(folder: Path) -> None:
    plan = results.read_plan(folder)[f"{0:016x}"]["run"]
    plan["training"]["epochs"] = 77
    results.write_plan(folder, "more", {"f" * 16: plan})
    (table,) = made(folder, allow_missing=True)
    assert table.columns == ("FCDD, epochs 2", "FCDD, epochs 77")
    assert [cells[1] for cells in table.cells] == [None] * 3


def test_plan_of_an_older_version_is_completed_like_its_rows(folder: Path) -> None:
    plan = results.read_plan(folder)[f"{0:016x}"]["run"]
    plan["seed"] = 9
    del plan["watermark"], plan["data"]["size"]
    results.write_plan(folder, "more", {"f" * 16: plan})
    (table,) = made(folder, allow_missing=True)
    assert table.columns == ("FCDD",)  # the same setting as the rows


def test_folder_without_a_plan_is_refused(folder: Path) -> None:
    (folder / "plan.json").unlink()
    with pytest.raises(ValueError, match="has no plan.json, so missing runs would not be noticed"):
        load([folder])


def test_rows_on_different_images_are_refused(folder: Path, make_row: MakeRow) -> None:
    fields = {**FMNIST, "data.normal_class": 0, "seed": 3}
    results.write_row(folder, make_row(run_=fields, key="f" * 16, data_fingerprint="other"))
    with pytest.raises(ValueError, match="made on different images: .*data_fingerprint other"):
        made(folder)


def test_fingerprint_per_class_is_one_data_set(folder_of: Folder) -> None:
    rows = [
        (f, c | {"data_fingerprint": f"of {f['data.normal_class']}"}) for f, c in rows_of(VALUES)
    ]
    (table,) = made(folder_of(rows))
    assert table.provenance["data_fingerprint"] == ("of 0", "of 8")


@pytest.mark.parametrize("column", ["commit", "protocol"])
def test_mixed_commits_and_protocols_are_refused_unless_asked_for(
    folder_of: Folder, column: str
) -> None:
    rows = rows_of(VALUES)
    if column == "commit":
        rows[0][1]["commit"] = "0123abc"
    else:
        published = {"objective.one_label_batches": "published", "heatmaps.upsampling": "published"}
        rows = rows + rows_of(VALUES, protocol="published", **published)
    folder = folder_of(rows)
    with pytest.raises(ValueError, match=f"come from 2 {column}s: .*mix them with --allow-mixed"):
        made(folder)
    (table,) = made(folder, allow_mixed=True)
    assert any(note.startswith(f"Rows are mixed: 2 {column}s") for note in table.notes)


def test_older_rows_go_into_tables(folder: Path) -> None:
    for path in (folder / "rows").iterdir():
        table = pq.read_table(path)
        pq.write_table(table.drop_columns(["watermark.kind", "data.size", "objective.maps"]), path)
    (table,) = made(folder)
    assert table.columns == ("FCDD",)
    assert cell(table, 0).n == 3


def test_same_rows_give_the_same_bytes(folder_of: Folder, tmp_path: Path) -> None:
    rows = rows_of(VALUES) + rows_of(VALUES, **HSC)
    first, second = folder_of(rows), tmp_path / "elsewhere"
    shutil.copytree(first, second)
    for path in sorted((second / "rows").iterdir(), reverse=True):  # another order on disk
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    made_of = []
    for number, folder in enumerate((first, second)):
        paths = write([folder], tmp_path / f"{number}", figures=False)
        made_of.append({p.name: p.read_bytes() for p in paths if p.name != "report.json"})
    assert made_of[0] == made_of[1]
    assert {name.partition(".")[2] for name in made_of[0]} == {
        *("tex", "tabular.tex", "md", "html", "csv", "json"),
    }


def test_markdown_csv_and_side_car_hold_the_numbers(folder: Path, tmp_path: Path) -> None:
    write([folder], tmp_path, figures=False)
    text = (tmp_path / "fmnist_image_auroc.md").read_text()
    assert "| t-shirt/top | 80.0 ± 10.0 |" in text
    assert "| **mean** | 77.5 ± 4.3 |" in text
    with open(tmp_path / "fmnist_image_auroc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["mean"]) == pytest.approx(0.75)
    assert rows[1]["keys"].split() == [f"{n:016x}" for n in range(3, 6)]
    side_car = json.loads((tmp_path / "fmnist_image_auroc.json").read_text())
    assert side_car["metric"] == "image_auroc"
    assert side_car["cells"][1]["mean"] == pytest.approx(0.75)
    assert side_car["cells"][2]["keys"] == [f"{n:016x}" for n in range(6)]
    assert "2000 resamples from numpy generators of seed 0" in side_car["how"]
    assert side_car["provenance"]["seed"] == ["0", "1", "2"]
    assert side_car["common"]["training.lr"] == 1e-3


def test_provenance_stands_below_the_table(folder: Path, tmp_path: Path) -> None:
    write([folder], tmp_path, figures=False)
    comments = [
        line
        for line in (tmp_path / "fmnist_image_auroc.tabular.tex").read_text().splitlines()
        if line.startswith("% ")
    ]
    for start in ("commit", "version.torch", "cpu", "device", "seed", "determinism", "protocol"):
        assert any(line.startswith(f"% {start}: ") for line in comments), start
    assert any("epochs 2" in line for line in comments)


def test_report_leaves_no_table_of_an_earlier_one(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    write([folder], out, options=Options(metrics=("image_ap",)), figures=False)
    (out / "mine.txt").write_text("kept")
    write([folder], out, figures=False)
    assert not (out / "fmnist_image_ap.tex").exists()
    assert (out / "fmnist_image_auroc.tex").exists()
    assert (out / "mine.txt").read_text() == "kept"


def test_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--out .*file.* cannot be written"):
        write([folder], tmp_path / "file", figures=False)
