"""The lazy import of torchvision, each case in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

REPORT = """
import torch
import fcdd.vision as vision
module = vision.torchvision()
assert vision.torchvision() is module
print(module.NAME, hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms"))
"""
NEEDS_NMS = """
import torch
import torchvision.part
try:
    torch.ops.torchvision.nms
except AttributeError:
    raise RuntimeError("operator torchvision::nms does not exist")
NAME = f"mended after {torchvision.part.imports()} imports"
"""
# Counts in torch, which outlives torchvision's removal from sys.modules.
PART = """
import torch
torch.fake_imports = getattr(torch, "fake_imports", 0) + 1
def imports():
    return torch.fake_imports
"""


def run_python(code: str, *, fake: Path | None = None) -> subprocess.CompletedProcess[str]:
    places = [str(REPOSITORY)] if fake is None else [str(fake), str(REPOSITORY)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-B", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def fake_torchvision(folder: Path, init: str) -> Path:
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(init)
    (package / "part.py").write_text(PART)
    return folder


def test_healthy_torchvision_is_imported_without_defining_schemas(tmp_path):
    done = run_python(REPORT, fake=fake_torchvision(tmp_path, "NAME = 'healthy'"))
    assert done.stdout == "healthy False False\n", done.stderr


def test_missing_operator_is_mended_by_schemas_and_a_fresh_import(tmp_path):
    done = run_python(REPORT, fake=fake_torchvision(tmp_path, NEEDS_NMS))
    assert done.stdout == "mended after 2 imports True True\n", done.stderr


def test_any_other_error_of_the_import_is_raised_on(tmp_path):
    done = run_python(REPORT, fake=fake_torchvision(tmp_path, "raise RuntimeError('CUDA is old')"))
    assert done.returncode != 0
    assert done.stderr.endswith("RuntimeError: CUDA is old\n")


def test_importing_the_module_does_not_import_torchvision():
    done = run_python("import sys, fcdd.vision; print('torchvision' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)
def test_installed_torchvision_offers_its_data_sets():
    done = run_python(
        "import fcdd.vision; print(fcdd.vision.torchvision().datasets.FashionMNIST.__name__)"
    )
    assert done.stdout == "FashionMNIST\n", done.stderr
