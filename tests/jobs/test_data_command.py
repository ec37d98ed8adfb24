"""`fcdd data check`: the tree, the settings and the exit code."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from jobs.commands import data

ROOT = Path(__file__).parents[2]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.delenv("FCDD_POOL", raising=False)  # a user's pool would be checked too
    whole = typer.Typer()
    whole.add_typer(data.app, name="data")
    return whole


def png(seed: int) -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def classes() -> dict[str, bytes]:
    parts = [
        f"{part}/{name}/{i}.png" for part in ("train", "test") for name in "ab" for i in (0, 1)
    ]
    return {part: png(seed) for seed, part in enumerate(parts)}


def check(app: typer.Typer, *arguments: object) -> tuple[int, list[str]]:
    result = CliRunner().invoke(app, ["data", "check", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output.splitlines()


def test_faultless_data_exit_with_0_and_give_the_settings_of_a_run(app, tmp_path):
    code, lines = check(app, write(tmp_path, classes()))
    assert code == 0
    assert lines == [
        "class folders, one_vs_rest, 2 classes, 8 images",
        "└── nothing found",
        f"{tmp_path}: 0 refused, 0 counted, 0 harmless",
        "--set 'data.name=custom' --set 'data.layout=one_vs_rest' "
        """--set 'data.classes=["a", "b"]'""",
    ]


def test_faults_exit_with_1_and_are_drawn_worst_first(app, tmp_path):
    files = classes() | {"train/a/Thumbs.db": b"", "test/b/9.png": b"", "test/b/8.png": png(0)}
    pool = write(tmp_path / "pool", {"1.png": png(99), "2.png": b""})
    code, lines = check(app, write(tmp_path / "data", files), "--pool", pool)
    assert code == 1
    assert lines[:12] == [
        "class folders, one_vs_rest, 2 classes, 10 images",
        "├── refused (a run stops): empty file",
        "│   ├── test/b/9.png",
        "│   └── to do: fetch it again",
        "├── refused (a run stops): test image that is also a training image",
        "│   ├── test/b/8.png: the same picture as train/a/0.png",
        "│   └── to do: delete one of the two: a test image must not be trained on",
        "└── harmless (numbers stay the same): stray file",
        "    ├── train/a/Thumbs.db",
        "    └── to do: it is not read; move it elsewhere",
        f"{pool}: pool, 1 images",
        "└── counted (a run leaves it out and counts it): empty file",
    ]
    assert lines[14] == f"{tmp_path / 'data'}: 2 refused, 1 counted, 1 harmless"


def test_harmless_findings_exit_with_0(app, tmp_path):
    code, lines = check(app, write(tmp_path, classes() | {"train/a/notes.txt": b""}))
    assert code == 0
    assert "1 harmless" in lines[-2]


def test_many_files_of_one_fault_are_counted_and_the_first_shown(app, tmp_path):
    files = classes() | {f"train/a/{i}.png": b"" for i in range(2, 9)}
    _, lines = check(app, write(tmp_path, files), "--shown", "2")
    assert lines[1:6] == [
        "└── refused (a run stops): empty file, 7 times",
        "    ├── train/a/2.png",
        "    ├── train/a/3.png",
        "    ├── and 5 more; --shown 7 shows all",
        "    └── to do: fetch it again",
    ]


def test_names_are_not_taken_for_markup(app, tmp_path):
    _, lines = check(app, write(tmp_path, classes() | {"train/a/[red]x[/red].png": b""}))
    assert "    ├── train/a/[red]x[/red].png" in lines


def test_missing_path_is_one_line(app, tmp_path):
    result = CliRunner().invoke(app, ["data", "check", str(tmp_path / "nowhere")])
    assert isinstance(result.exception, ValueError)
    assert "nowhere does not exist; give a folder or a tar" in str(result.exception)


def test_help_loads_no_torch() -> None:
    code = "import sys, jobs.commands.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
