"""tests/speed/gpu.py, which is meant for a GPU, on a CPU and with tiny sizes."""

import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
# A machine with a GPU that has what the method needs and nothing else.
BARE = """
import sys

sys.modules |= dict.fromkeys(sys.argv[1].split(","))  # None: there is none
sys.path.insert(0, "tests/speed")
import gpu
sys.exit(gpu.main(sys.argv[2:]))
"""
MISSING = "ray,mlflow,pyarrow,pandas,typer,rich,torchvision,sklearn,seaborn,matplotlib"


def gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BARE, MISSING, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)


def test_it_measures_every_part_with_the_method_alone(tmp_path: Path) -> None:
    out = tmp_path / "gpu.md"
    tiny = ("--batch-size", "4", "--num-batches", "2", "--widest", "2", "--net", "fmnist_small")
    done = gpu("--device", "cpu", "--quick", *tiny, "--out", str(out))
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert text.strip() == done.stdout.strip()
    assert f"on cpu; torch {torch.__version__}" in text
    lines = [line.split(" | ") for line in text.splitlines()]
    nets = [line for line in lines if line[0].startswith("| FCDD_CNN28, 4, ")]
    assert [line[0] for line in nets] == [
        "| FCDD_CNN28, 4, float32, eager",
        "| FCDD_CNN28, 4, bfloat16, eager",
    ]
    for _, augment, step, epoch, *_ in nets:
        assert all("n = 3)" in figure for figure in (augment, step, epoch))
    assert [line[0] for line in lines if "FCDD_CNN28, 1, " in line[0]] == ["| FCDD_CNN28, 1, eager"]
    assert "Confetti 240 x 240" in text
    assert "failed" not in text


def test_without_a_gpu_one_line_says_so(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        return
    done = gpu("--out", str(tmp_path / "gpu.md"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no GPU here: nothing of a GPU is measured\n"
    assert not (tmp_path / "gpu.md").exists()
