"""What very many runs cost the driver, the folder and the reports; printed and written as Markdown.

python tests/speed/scale.py                 10,000 runs on 16 slots: about 25 minutes on 2 cores
python tests/speed/scale.py --num 1000      fewer; --slots, --more-slots 4 48 for other numbers

The runs do not train (`simulated.py`); everything around them is what `fcdd run` does. Slots are
Ray workers on CPUs that Ray believes in. What is said of 1,000 slots is extrapolated.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figures import short, table

from pipeline.environment import machine

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Sweep:
    """A simulated sweep: what `simulated.py` measured of it."""

    num: int
    slots: int
    tracking: bool
    load: float
    told: dict[str, Any]

    def per_run(self, first: float, last: float) -> tuple[float, float]:
        """(driver's processor, wall) milliseconds per run between the shares `first` and `last` of
        the rows."""
        marks = []
        for share in (first, last):
            marks.append(next(one for one in self.told["samples"] if one[3] >= share * self.num))
        (wall_a, cpu_a, _, rows_a), (wall_b, cpu_b, _, rows_b) = marks
        rows = rows_b - rows_a
        return 1000 * (cpu_b - cpu_a) / rows, 1000 * (wall_b - wall_a) / rows

    def row(self) -> list[str]:
        cpu, wall = self.per_run(0.05, 0.98)
        early, late = self.per_run(0.05, 0.25)[0], self.per_run(0.75, 0.98)[0]
        whole = 1000 * self.told["driver_cpu_seconds"] / self.num
        return [
            f"{self.num:,} runs, {self.slots} slots, MLflow {'on' if self.tracking else 'off'}",
            short(wall),
            short(cpu),
            f"{short(early)} / {short(late)}",
            short(whole),
            short(self.told["driver_peak_bytes"] / 1e6),
            short(self.told["wall_seconds"]),
            f"{self.load:.1f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--num", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--more-slots", type=int, nargs="*", default=[2, 48])
    parser.add_argument("--out", type=Path, default=Path("results/scale.md"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("", encoding="utf-8")

    def say(text: str) -> None:
        print(text + "\n", flush=True)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(text + "\n\n")

    facts = machine("cpu")
    say(
        f"`make scale`, {datetime.now(UTC).date().isoformat()}: {os.cpu_count()} cores of "
        f"{facts['cpu']} ({platform.machine()}), Python {facts['version.python']}; n = 1 each."
    )
    with tempfile.TemporaryDirectory(prefix="fcdd-scale-") as name:
        folder = Path(name)
        (folder / "token").write_text("0" * 64)
        few = max(options.num // 10, 100)
        sweeps = [
            simulate(folder / f"slots{slots}", few, slots, tracking=False)
            for slots in options.more_slots
        ]
        sweeps.append(simulate(folder / "off", few, options.slots, tracking=False))
        sweeps.append(simulate(folder / "out", options.num, options.slots, tracking=True))
        header = ["sweep", "wall, ms per run", "driver CPU, ms per run", "early / late"]
        header += ["with start and end", "peak memory, MB", "whole, s", "load before"]
        say(table(header, [sweep.row() for sweep in sweeps]))
        say(threads(sweeps[-1]))
        say(files(folder / "out"))
        say(commands(folder / "out", options.num, options.slots))
        say(many_rows(folder / "out", folder / "many"))
    print(f"written to {options.out}")


def simulate(out: Path, num: int, slots: int, *, tracking: bool) -> Sweep:
    load = os.getloadavg()[0]
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "simulated.py"), "--out", str(out), "--num", str(num)),
            *("--slots", str(slots), "--tracking" if tracking else "--no-tracking"),
        ],
        cwd=ROOT,
        env=environment(out.parent),
        stdout=subprocess.PIPE,
        text=True,
    )
    told = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {"code": done.returncode}
    if told["code"]:
        raise RuntimeError(f"the sweep of {num} runs on {slots} slots ended with {told['code']}")
    return Sweep(num, slots, tracking, load, told)


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "FCDD_"))}
    return kept | {"RAY_AUTH_TOKEN_PATH": str(folder / "token"), "PYTHONPATH": str(ROOT)}


def threads(sweep: Sweep) -> str:
    """Whose processor time it was: each thread's by the run."""
    taken = sorted(sweep.told["threads"].items(), key=lambda one: -one[1])[:5]
    told = ", ".join(f"{name} {short(1000 * seconds / sweep.num)}" for name, seconds in taken)
    return f"Processor milliseconds per run by the driver's threads (last row): {told}."


def files(out: Path) -> str:
    """How many files the folder holds, and their size."""
    found = [path for path in out.rglob("*") if path.is_file()]
    by_part = {part: [p for p in found if p.parent.name == part] for part in ("rows", "scores")}
    plan = (out / "plan.json").stat().st_size
    return (
        f"The folder: {len(found):,} files, {sum(p.stat().st_size for p in found) / 1e6:,.0f} MB "
        f"({len(by_part['rows']):,} rows of {mean_size(by_part['rows'])} bytes, scores "
        f"{mean_size(by_part['scores'])}, mlflow.db {(out / 'mlflow.db').stat().st_size / 1e6:,.0f}"
        f" MB, plan.json {plan / 1e6:,.0f} MB)."
    )


def mean_size(found: list[Path]) -> str:
    return f"{sum(path.stat().st_size for path in found) / max(len(found), 1):,.0f}"


def commands(out: Path, num: int, slots: int) -> str:
    """Seconds of the commands on the folder, before and after `fcdd compact`."""
    again = [str(HERE / "simulated.py"), "--out", str(out), "--num", str(num)]
    again += ["--slots", str(slots)]
    fcdd, report = ["-m", "jobs"], ["--out", str(out.parent / "report"), "--no-figures"]
    sync = [*fcdd, "mlflow", "sync", str(out)]
    completed = timed(sync, out)
    steps = [
        ("`fcdd status`", [*fcdd, "status", str(out)]),
        (
            "`fcdd report --no-figures`",
            [*fcdd, "report", str(out), *report],
        ),
        ("`fcdd mlflow sync`, nothing missing", sync),
        ("the same `fcdd run` again, nothing to do", again),
    ]
    before = {name: timed(command, out) for name, command in steps}
    compaction = timed([*fcdd, "compact", str(out)], out)
    after = {name: timed(command, out) for name, command in steps}
    rows = [[name, short(before[name]), short(after[name])] for name, _ in steps]
    return (
        f"{table(['command', 'as written, s', 'compacted, s'], rows)}\n\n"
        f"`fcdd compact` itself: {short(compaction)} s; `fcdd mlflow sync` of what the sweep left "
        f"to it: {short(completed)} s. Each with its start."
    )


def timed(command: list[str], out: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(out.parent),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return time.perf_counter() - started


def many_rows(out: Path, many: Path) -> str:
    """Seconds to read ten times as many rows, compacted."""
    import pyarrow as pa

    from pipeline import results
    from pipeline.compact import compact

    rows = results.read_table(out)
    results.prepare(many)
    for copy in range(10):
        keys = [f"{copy:x}{key[1:]}" for key in rows["key"].to_pylist()]
        place = rows.column_names.index("key")
        one = rows.set_column(place, rows.schema.field(place), pa.array(keys))
        results.write_file(many / "rows" / f"{results.COMPACTED}{copy}.parquet", one)
    compacting = elapsed(lambda: compact(many))
    whole = elapsed(lambda: results.read_table(many))
    some = elapsed(lambda: results.read_table(many, ["key", "seed", "image_auroc"]))
    shutil.rmtree(many)
    return (
        f"{len(rows) * 10:,} rows in one file: made from ten files in {short(compacting)} s, read "
        f"whole in {short(whole)} s, three columns in {short(some)} s."
    )


def elapsed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
