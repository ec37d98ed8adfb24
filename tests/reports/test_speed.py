"""What a report may cost: the limits are stated below, as processor time and peak memory."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import results
from pipeline.files import write_table
from pipeline.schema import PLAN
from reports.methods import RUN

ROOT = Path(__file__).parents[2]
SECONDS = 10.0  # of processor time, on one core; two are allowed
BYTES = 1_000_000_000
NAMES = ("fmnist", "cifar10", "digits", "textures")


def generate(out: Path, row: dict[str, Any], *, settings: int, classes: int, seeds: int) -> None:
    """Compacted rows of `settings` learning rates and objectives on four data sets, made up."""
    results.prepare(out)
    setting, number, seed = (
        axis.ravel()
        for axis in np.meshgrid(*map(np.arange, (settings, classes, seeds)), indexing="ij")
    )
    total = len(setting)
    noise = np.random.default_rng(0).normal(scale=0.05, size=total)
    auroc = np.clip(0.8 + noise + 0.01 * (setting % 7), 0, 1)
    varied: dict[str, Any] = {
        "key": [f"{place:016x}" for place in range(total)],
        "data.name": np.array(NAMES)[setting % 4],
        "data.normal_class": number,
        "class_name": np.char.add("class ", number.astype(str)),
        "seed": seed,
        "training.lr": 1e-3 * (1 + setting // 8),
        "objective.name": np.array(["fcdd", "hsc"])[setting // 4 % 2],
        "image_auroc": auroc,
        "image_ap": auroc,
    }
    columns = [
        pa.array(varied[field.name], field.type)
        if field.name in varied
        else pa.array([row[field.name]], field.type).take(pa.array(np.zeros(total, np.int64)))
        for field in results.SCHEMA
    ]
    write_table(out / "rows" / "compacted-0.parquet", pa.table(columns, schema=results.SCHEMA))
    run: dict[str, Any] = {}
    for name in RUN:
        part, _, field = name.rpartition(".")
        (run.setdefault(part, {}) if part else run)[field] = row[name]
    plan = {
        "key": varied["key"],
        "benchmarks": [["speed"]] * total,
        "run": [json.dumps(run)] * total,
    }
    write_table(out / "plan.parquet", pa.table(plan, schema=PLAN))


def measured(arguments: list[str]) -> tuple[float, int, str]:
    """Processor seconds and peak memory in bytes of a command, and what it printed."""
    code = (
        "import resource, sys; from jobs.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\nelse:\n    code = 0\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        # On Linux ru_maxrss keeps what the test process held when it was forked; VmHWM does not.
        "own = used.ru_maxrss\n"
        "if sys.platform == 'linux':\n"
        "    lines = open('/proc/self/status').read().splitlines()\n"
        "    own = next(line.split()[1] for line in lines if line.startswith('VmHWM'))\n"
        "print('USED', used.ru_utime + used.ru_stime, own)\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    used = next(line for line in done.stdout.splitlines() if line.startswith("USED")).split()
    unit = 1 if sys.platform == "darwin" else 1024
    return float(used[1]), int(used[2]) * unit, done.stdout


@pytest.mark.services
def test_100_000_rows_to_all_tables_in_10_seconds_and_1_gigabyte(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    """Every setting, class and seed of a thousand benchmarks, as `fcdd compact` leaves them."""
    generate(tmp_path / "out", make_row(), settings=1000, classes=10, seeds=10)
    seconds, peak, told = measured(
        ["report", str(tmp_path / "out"), "--out", str(tmp_path / "r"), "--no-figures"]
    )
    assert "100000 rows of 1 folder" in told
    assert seconds < SECONDS
    assert peak < BYTES
    side_car = json.loads((tmp_path / "r" / "fmnist_image_auroc.json").read_text())
    assert len(side_car["cells"]) == 11 * 250
    assert {cell["n"] for cell in side_car["cells"]} == {10}


@pytest.mark.services
def test_help_starts_at_once() -> None:
    """0.5 s of processor time at most: of five starts the quickest, as others use the machine."""
    command = [sys.executable, "-m", "jobs", "report", "--help"]
    assert min(used_by(command) for _ in range(5)) < 0.5


def used_by(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


@pytest.mark.parametrize("command", ["report", "verify", "compact"])
def test_help_loads_no_table_or_plot(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['fcdd', '{command}', '--help']\n"
        "from jobs.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'pyarrow', 'pandas', 'matplotlib', 'scipy', 'torch'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
