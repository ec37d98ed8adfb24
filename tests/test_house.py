"""The rules of the house: layers, size of files, empty package files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("fcdd", "pipeline", "jobs", "reports")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_layers_and_doors_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_has_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_package_files_import_nothing() -> None:
    for path in FILES:
        if path.name == "__init__.py":
            assert "import" not in path.read_text(), path


def test_reading_a_spec_and_reporting_load_no_heavy_package() -> None:
    code = (
        "import sys, jobs.cli, reports.write; from jobs.select import load_spec, spec_names; "
        "[load_spec(name) for name in spec_names()]; "
        "heavy = {'torch', 'ray', 'mlflow', 'torchvision', 'sklearn'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
