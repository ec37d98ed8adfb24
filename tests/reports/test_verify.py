import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import results
from pipeline.compact import compact
from reports.tables import Options
from reports.verify import Verified, verify
from reports.write import write

Folder = Callable[..., Path]
ROOT = Path(__file__).parents[2]
STEM = "digits_image_auroc"


@pytest.fixture
def folder(folder_of: Folder, with_scores: Callable[[Path], None]) -> Path:
    out = folder_of(
        [({"data.normal_class": n, "seed": seed}, {}) for n in (0, 1) for seed in (0, 1, 2)]
    )
    with_scores(out)
    return out


@pytest.fixture
def report(folder: Path, tmp_path: Path) -> Path:
    write([folder], tmp_path / "report", figures=False)
    return tmp_path / "report"


def faults(report: Path, **options: Any) -> str:
    return "\n".join(verify(report, **options).faults)


def test_untouched_report_is_confirmed(report: Path) -> None:
    assert verify(report) == Verified(num_files=6, num_cells=3, num_runs=6, faults=())


def test_report_and_folder_can_move_together(report: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.move(report, tmp_path / "elsewhere" / "report")
    shutil.move(folder, tmp_path / "elsewhere" / "out")
    assert faults(tmp_path / "elsewhere" / "report") == ""
    shutil.move(tmp_path / "elsewhere" / "out", tmp_path / "far")
    assert "is no output folder" in faults(tmp_path / "elsewhere" / "report")
    assert faults(tmp_path / "elsewhere" / "report", folders=[tmp_path / "far"]) == ""


def test_compacted_rows_give_the_same_report(report: Path, folder: Path) -> None:
    compact(folder)
    assert faults(report) == ""


def test_every_kind_of_edited_table_is_named(report: Path) -> None:
    for suffix in (".md", ".tex", ".tabular.tex", ".csv", ".html"):
        path = report / f"{STEM}{suffix}"
        text = path.read_text()
        path.write_text(text.replace("FCDD", "FCDD+", 1))
        told = faults(report)
        assert f"{STEM}{suffix} was edited after the report was made" in told
        path.write_text(text)
    assert faults(report) == ""


def test_edited_number_is_named_even_with_its_digest(report: Path) -> None:
    """Whoever mends the digest too still has the rows against them."""
    path = report / f"{STEM}.md"
    text = path.read_text()
    value = next(part for part in text.split("| ") if "±" in part).split()[0]
    path.write_text(text.replace(value, "99.9", 1))
    manifest = json.loads((report / "report.json").read_text())
    import hashlib

    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (report / "report.json").write_text(json.dumps(manifest))
    told = faults(report)
    assert "was edited" not in told
    assert f"{STEM}.md does not print what the rows give: line 5 is '| 0 | 99.9" in told


def test_edited_side_car_names_the_cell(report: Path) -> None:
    path = report / f"{STEM}.json"
    side_car = json.loads(path.read_text())
    right = side_car["cells"][1]["mean"]
    side_car["cells"][1]["mean"] = 0.999
    path.write_text(json.dumps(side_car))
    assert f"{STEM}.json: 1, FCDD: mean is 0.999, the rows give {right}" in faults(report)
    path.write_text("{")
    assert f"{STEM}.json is no side-car" in faults(report)


def test_missing_file_is_named(report: Path) -> None:
    (report / f"{STEM}.csv").unlink()
    assert faults(report) == f"{STEM}.csv is missing; make the report again"


def test_stale_cell_is_named_when_a_row_changes(report: Path, folder: Path) -> None:
    row = results.read_row(folder, f"{2:016x}")
    results.write_row(folder, row | {"image_auroc": 0.5})
    told = faults(report)
    assert f"{STEM}.json: 0, FCDD: mean is" in told
    assert f"{STEM}.json: mean, FCDD: mean is" in told
    assert f"{STEM}.md does not print what the rows give: line 5" in told
    assert (
        "AUROC of digits class 0 seed 2 (0000000000000002) is 0.500000 in its row, its scores"
        in told
    )


def test_added_seed_makes_the_report_stale(
    report: Path, folder: Path, folder_of: Folder, with_scores: Callable[[Path], None]
) -> None:
    folder_of([({"data.normal_class": 0, "seed": 3}, {})], first=6)
    with_scores(folder)
    told = faults(report)
    assert "0, FCDD is stale: its runs are 4 now, 3 in the report; added 0000000000000006" in told


def test_row_that_passes_for_another_run_is_named(report: Path, folder: Path) -> None:
    row = results.read_row(folder, f"{3:016x}")
    results.write_row(folder, row | {"training.lr": 0.5})
    assert "row 0000000000000003 says training.lr 0.5, the plan of" in faults(report)


def test_missing_row_is_named(report: Path, folder: Path) -> None:
    (folder / "rows" / f"{0:016x}.parquet").unlink()
    assert "cannot be made again from its rows: 1 of 6 planned runs have no row" in faults(report)


def test_missing_scores_are_named(report: Path, folder: Path) -> None:
    (folder / "scores" / f"{4:016x}.parquet").unlink()
    told = faults(report)
    assert "0000000000000004.parquet of digits class 1 seed 1 is missing, so its metrics" in told


def test_options_of_the_report_are_used_again(folder: Path, tmp_path: Path) -> None:
    options = Options(metrics=("image_ap",), columns="seed", rescore=True, bold="equivalent")
    write([folder], tmp_path / "r", options=options, figures=False)
    assert faults(tmp_path / "r") == ""


def test_edited_option_is_noticed(report: Path) -> None:
    manifest = json.loads((report / "report.json").read_text())
    manifest["options"]["metrics"] = ["image_ap"]
    (report / "report.json").write_text(json.dumps(manifest))
    told = faults(report)
    assert "digits_image_ap.md is missing: the rows give it" in told
    assert f"{STEM}.md is stale: the rows no longer give this table" in told


def test_folder_without_a_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no report: it has no report.json"):
        verify(tmp_path)
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(ValueError, match="is no manifest .*delete it and make the report again"):
        verify(tmp_path)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs", *arguments], capture_output=True, text=True, cwd=ROOT
    )


def test_command_exits_1_and_names_every_fault(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    made = command("report", str(folder), "--out", str(out), "--no-figures")
    assert made.returncode == 0, made.stderr
    assert "1 table, 7 files in" in made.stdout
    right = command("verify", str(out))
    assert right.returncode == 0, right.stderr
    assert "3 cells and 6 files agree with the rows and scores of 6 runs" in right.stdout
    (out / f"{STEM}.md").write_text("| 0 | 100 |")
    wrong = command("verify", str(out), "--folders", str(folder))
    assert wrong.returncode == 1
    assert f"{STEM}.md was edited after the report was made" in wrong.stdout
    assert command("verify", str(tmp_path)).returncode == 2
