import csv
import shutil
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import results
from reports.aggregate import per_class
from reports.latex import escape
from reports.write import write

# AUROC of (class, seed).
VALUES = {(0, 0): 0.9, (0, 1): 0.8, (0, 2): 0.7, (8, 0): 0.6, (8, 1): 0.7, (8, 2): 0.95}
MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path, make_row: MakeRow) -> Path:
    """Fashion-MNIST classes t-shirt/top and bag with three seeds each."""
    out = tmp_path / "out"
    results.prepare(out)
    plan = {}
    for (number, seed), auroc in VALUES.items():
        fields = {"data.name": "fmnist", "data.normal_class": number, "seed": seed}
        row = make_row(run_=fields, key=f"{number}{seed}" * 8, image_auroc=auroc)
        results.write_row(out, row)
        nested: dict[str, Any] = {}
        for name in results.SCHEMA.names[2 : results.SCHEMA.names.index("class_name")]:
            part, _, field = name.rpartition(".")
            (nested.setdefault(part, {}) if part else nested)[field] = row[name]
        plan[row["key"]] = nested
    results.write_plan(out, "test", plan)
    return out


def test_cells_are_mean_and_sample_standard_deviation_over_seeds(folder: Path) -> None:
    (table,) = per_class([folder])
    assert table.classes == ("t-shirt/top", "bag")
    first = table.cells[0]
    assert first is not None
    assert first.mean == pytest.approx(0.8)
    assert first.std == pytest.approx(0.1)  # ddof 1: sqrt((0.01 + 0 + 0.01) / 2)
    assert first.n == 3
    assert first.keys == ("00" * 8, "01" * 8, "02" * 8)


def test_mean_row_spreads_over_the_class_means_of_seeds(folder: Path) -> None:
    (table,) = per_class([folder])
    means = [0.75, 0.75, 0.825]
    assert table.mean is not None
    assert table.mean.mean == pytest.approx(statistics.mean(means))
    assert table.mean.std == pytest.approx(statistics.stdev(means))
    assert table.mean.n == 3


def test_missing_rows_are_named_and_never_look_complete(folder: Path, tmp_path: Path) -> None:
    for seed in range(3):
        (folder / "rows" / f"{f'8{seed}' * 8}.parquet").unlink()
    with pytest.raises(ValueError, match="3 of 6 planned runs have no row: fmnist class 8 seed 0"):
        per_class([folder])
    (table,) = per_class([folder], allow_missing=True)
    assert table.cells[1] is None
    assert table.mean is None
    write([folder], tmp_path / "report", allow_missing=True)
    text = (tmp_path / "report" / "fmnist_fcdd_image_auroc.tabular.tex").read_text()
    assert r"{8} & -- & 0 \\" in text
    assert r"Mean & -- & 0 \\" in text


def test_duplicate_rows_are_named(folder: Path, tmp_path: Path, make_row: MakeRow) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    with pytest.raises(ValueError, match="0000000000000000 .* stands in .*out and in .*copy"):
        per_class([folder, copy])
    fields = {"data.name": "fmnist", "data.normal_class": 0, "seed": 0}
    results.write_row(folder, make_row(run_=fields, key="f" * 16))
    with pytest.raises(ValueError, match="two rows for fmnist class t-shirt/top seed 0"):
        per_class([folder])


def test_nan_and_absent_metrics_are_named(folder: Path, make_row: MakeRow) -> None:
    with pytest.raises(ValueError, match="no metric 'pixel_auroc'; known: image_auroc"):
        per_class([folder], metric="pixel_auroc")
    fields = {"data.name": "fmnist", "data.normal_class": 0, "seed": 0}
    results.write_row(folder, make_row(run_=fields, key="00" * 8, image_auroc=float("nan")))
    with pytest.raises(ValueError, match="image_auroc of fmnist class t-shirt/top seed 0 .*nan"):
        per_class([folder])


def test_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no output folder"):
        per_class([tmp_path])
    results.prepare(tmp_path)
    with pytest.raises(ValueError, match="no rows in"):
        per_class([tmp_path])


def test_settings_get_a_table_each(folder: Path, tmp_path: Path, make_row: MakeRow) -> None:
    fields = {"data.name": "fmnist", "training.epochs": 99}
    results.write_row(folder, make_row(run_=fields, key="e" * 16))
    names = [path.name for path in write([folder], tmp_path / "report")]
    assert "fmnist_fcdd_image_auroc.tex" in names
    assert "fmnist_fcdd_image_auroc-2.tex" in names


def test_planned_setting_without_a_row_stays_visible(folder: Path) -> None:
    plan = results.read_plan(folder)["00" * 8]["run"]
    plan["training"]["epochs"] = 77
    results.write_plan(folder, "more", {"f" * 16: plan})
    tables = per_class([folder], allow_missing=True)
    assert [table.setting["training.epochs"] for table in tables] == [2, 77]
    assert tables[1].cells == (None,)
    assert tables[1].mean is None


def test_folder_without_a_plan_is_refused(folder: Path) -> None:
    (folder / "plan.json").unlink()
    with pytest.raises(ValueError, match="has no plan.json, so missing runs would not be noticed"):
        per_class([folder])


def test_rows_on_different_images_are_refused(folder: Path, make_row: MakeRow) -> None:
    fields = {"data.name": "fmnist", "data.normal_class": 0, "seed": 3}
    results.write_row(folder, make_row(run_=fields, key="f" * 16, data_fingerprint="other"))
    with pytest.raises(ValueError, match="made on different images: .*data_fingerprint other"):
        per_class([folder])


def test_same_rows_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = [path.read_bytes() for path in write([folder], tmp_path / "1")]
    again = [path.read_bytes() for path in write([folder], tmp_path / "2")]
    assert first == again
    assert len(first) == 4


def test_markdown_and_csv_hold_the_numbers(folder: Path, tmp_path: Path) -> None:
    write([folder], tmp_path)
    text = (tmp_path / "fmnist_fcdd_image_auroc.md").read_text()
    assert "| t-shirt/top | 80.0 ± 10.0 | 3 |" in text
    assert "| **mean** | 77.5 ± 4.3 | 3 |" in text
    with open(tmp_path / "fmnist_fcdd_image_auroc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["mean"]) == pytest.approx(0.75)
    assert rows[1]["keys"].split() == ["80" * 8, "81" * 8, "82" * 8]


def test_escape_covers_every_special_character() -> None:
    assert escape("50% & a_b #1 {x} $ ~ ^ \\") == (
        r"50\% \& a\_b \#1 \{x\} \$ \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_document_compiles(folder: Path, tmp_path: Path) -> None:
    write([folder], tmp_path)
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "fmnist_fcdd_image_auroc.tex"],
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "fmnist_fcdd_image_auroc.pdf").stat().st_size > 5000
