"""The chaos test, in its short form; `make chaos` repeats it with other seeds and more kills."""

import itertools
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aftermath import differences
from kills import VICTIMS, Victim, draw
from victims import World

from pipeline import results

KILLS: dict[Victim, int] = {"worker": 12, "server": 4, "node": 2, "driver": 2}


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    if not Path("/proc/self/environ").exists():
        pytest.skip("finds processes in /proc")
    value = uuid.uuid4().hex
    yield value
    World(tmp_path, mark=value).end()  # what the program left, if it was ended itself


@pytest.mark.services
@pytest.mark.timeout(1200)  # on a busy machine
def test_forty_runs_end_as_undisturbed_whatever_is_killed(tmp_path: Path, mark: str) -> None:
    program = Path(__file__).with_name("chaos.py")
    done = subprocess.run(
        [
            *(sys.executable, str(program), "--folder", str(tmp_path / "chaos"), "--mark", mark),
            *("--run-seconds", "2.5"),  # enough for the kills of this seed
        ],
        capture_output=True,
        text=True,
        timeout=1100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    killed, verdict = done.stdout.splitlines()[:2]
    assert killed == (
        "killed 12 workers, 4 servers, 2 nodes, 2 drivers; 40 rows; 40 FINISHED children, 0 others"
    )
    assert verdict.startswith("seed 0: ") and verdict.endswith(" s; sound")


@pytest.mark.parametrize("seed", range(20))
def test_kills_are_those_of_the_seed_and_due_before_the_end(seed: int) -> None:
    kills = draw(seed, kills=KILLS, num_runs=40)
    assert kills == draw(seed, kills=KILLS, num_runs=40)
    assert kills != draw(seed + 1, kills=KILLS, num_runs=40)
    assert Counter(one.victim for one in kills) == KILLS
    due = [one.num_rows for one in kills]
    assert due == sorted(due) and due[0] >= 0 and due[-1] <= 32
    servers = [place for place, one in enumerate(kills) if one.victim == "server"]
    assert min(b - a for a, b in itertools.pairwise(servers)) > 3
    assert set(KILLS) == set(VICTIMS)


def test_every_difference_to_an_undisturbed_sweep_is_told(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    """Of seven runs, each but the first is wrong in one way."""
    keys = [letter * 16 for letter in "abcdefg"]
    for name in ("out", "undisturbed"):
        folder = tmp_path / name
        results.prepare(folder)
        results.write_plan(folder, "x", {key: {"seed": 1} for key in keys})
        for key in keys:
            results.write_row(folder, make_row(key=key, train_seconds=len(name)))
            for part, kind in (("scores", "parquet"), ("curves", "parquet"), ("heatmaps", "npz")):
                (folder / part / f"{key}.{kind}").write_bytes(key.encode())
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    assert list(differences(out, undisturbed)) == []
    results.write_row(out, make_row(key=keys[1], image_auroc=0.25))
    (out / "scores" / f"{keys[2]}.parquet").write_bytes(b"other")
    (out / "rows" / f"{keys[3]}.parquet").unlink()
    results.write_row(out, make_row(key="9" * 16))
    (out / "failures" / f"{keys[4]}.txt").write_text("x")
    (out / "checkpoints" / keys[5]).mkdir(parents=True)
    (out / "running").mkdir()
    (out / "running" / f"{keys[6]}.json").write_text("{}")
    assert list(differences(out, undisturbed)) == [
        f"run {'9' * 16}: a row of no planned run",
        f"run {keys[3]}: no row",
        f"run {keys[1]}: image_auroc is 0.25, not 0.5",
        f"run {keys[2]}: scores differ",
        f"failures/ holds {keys[4]}.txt",
        f"checkpoints/ holds {keys[5]}",
        f"running/ holds {keys[6]}.json",
        "a driver or a worker did not sign off",
    ]
