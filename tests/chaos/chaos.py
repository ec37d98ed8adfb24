"""Kills workers, nodes, drivers and the tracking server under a sweep: it must end as if nothing
had happened.

python tests/chaos/chaos.py --folder DIR            one round: 40 runs, 12 workers, 4 servers,
                                                    2 nodes and 2 drivers killed
python tests/chaos/chaos.py --folder DIR --times 10 ten rounds, each with another seed
options: --seed, --runs, --worker, --server, --node, --driver (how many), --run-seconds
"""

import argparse
import os
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from aftermath import children, differences
from kills import VICTIMS, Kill, Moment, draw
from victims import MARK, Cluster, Server, World, kill, parent, wait

from fcdd.config import change
from fcdd.data.load import load
from fcdd.data.outliers import load_pool
from jobs.cli import SWITCHES
from jobs.specs.quickstart import base
from pipeline import results, running
from pipeline.trial import Trial, execute

_EPOCHS = 40  # of a run, at least
_SPEC = """
from jobs.specs.quickstart import base
from fcdd.config import change
from pipeline.benchmark import Benchmark, expand
short = change(base, {"training.epochs": EPOCHS})
runs = expand(short, {"seed": range(400), "data.normal_class": range(10)})
benchmark = Benchmark("chaos", runs[:NUM])
"""
_KILLS = {"worker": 12, "server": 4, "node": 2, "driver": 2}


def main() -> int:
    """Reads the options, plays the rounds and returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where logs and results go")
    parser.add_argument("--times", type=int, default=1, help="rounds")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument(
        "--run-seconds",
        type=float,
        default=4.0,
        help="how long a run lasts, at least: all kills have to happen before the end",
    )
    parser.add_argument("--mark", default=uuid.uuid4().hex, help=f"value of {MARK}")
    for victim in VICTIMS:
        parser.add_argument(f"--{victim}", type=int, default=_KILLS[victim], help="kills")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    spec = options.folder.resolve() / "chaos.py"
    epochs = max(_EPOCHS, round(options.run_seconds / seconds_of_an_epoch()))
    spec.write_text(_SPEC.replace("NUM", str(options.runs)).replace("EPOCHS", str(epochs)))
    undisturbed = options.folder.resolve() / "undisturbed"
    sweep_undisturbed(World(options.folder.resolve(), mark=options.mark), spec, undisturbed)
    wrong = 0
    for seed in range(options.seed, options.seed + options.times):
        kills = draw(seed, kills={v: getattr(options, v) for v in VICTIMS}, num_runs=options.runs)
        folder = options.folder.resolve() / f"seed-{seed}"
        folder.mkdir()
        world = World(folder, mark=options.mark)
        started = time.monotonic()
        try:
            told = Round(world, spec, seed).play(kills, undisturbed)
        finally:
            world.end()
        wrong += bool(told)
        print(f"seed {seed}: {time.monotonic() - started:.0f} s; " + ("; ".join(told) or "sound"))
        if told:
            print(f"its logs and results: {folder}", flush=True)
    print(f"{options.times - wrong} of {options.times} rounds sound")
    return 1 if wrong else 0


def seconds_of_an_epoch() -> float:
    """How long one of the sweep's takes this machine, with nothing beside it."""
    run = change(base, {"training.epochs": 10})
    pool = load_pool("photographs", (1, 28, 28), root=None, pool=None)
    with tempfile.TemporaryDirectory(prefix="fcdd-chaos-") as folder:
        results.prepare(Path(folder))
        row = execute(
            Trial("0" * 16, run, load(run.data, None), pool),
            out=Path(folder),
            device=torch.device("cpu"),
            commit={"commit": "0" * 40, "dirty": False},
        )
    return row["train_seconds"] / 10


def sweep_undisturbed(world: World, spec: Path, out: Path) -> None:
    """The same sweep on this machine, without a cluster, left alone."""
    arguments = ("run", str(spec), "--out", str(out), "--device", "cpu", "--no-tracking")
    try:
        if world.fcdd("undisturbed", *arguments).wait(1800):
            raise RuntimeError(world.said("undisturbed"))
    finally:
        world.end()


class Round:
    """One sweep on two nodes with a tracking server, and what is done to it."""

    def __init__(self, world: World, spec: Path, seed: int) -> None:
        self._world, self._generator = world, random.Random(f"victims {seed}")
        self._out = world.folder / "out"
        self._server = Server(world)
        self._cluster = Cluster(world)
        self._cluster.start_node()
        self._server.wait()
        self._arguments = (
            *("run", str(spec), "--out", str(self._out), "--device", "cpu"),
            *("--address", self._cluster.address, "--tracking-uri", self._server.uri),
            *("--checkpoint-every", "0.3s", "--max-failures", "9"),
        )
        self._driver = world.fcdd("driver", *self._arguments)

    def play(self, kills: list[Kill], undisturbed: Path) -> list[str]:
        """Kills, waits for the end, completes the tracking store, and says what is wrong."""
        done = Counter()
        for one in kills:
            self._wait(lambda one=one: len(self._rows()) >= one.num_rows)
            getattr(self, f"_kill_{one.victim}")(one.moment)
            done[one.victim] += 1
            with self._world.log("kills").open("a") as log:
                print(one, "done at", len(self._rows()), "rows", file=log)
        code = self._driver.wait(600)
        self._server.wait()
        sync = ("mlflow", "sync", str(self._out), "--tracking-uri", self._server.uri)
        synced = self._world.fcdd("sync", *sync).wait(300)
        told = [*differences(self._out, undisturbed)]
        if code or synced:
            told.append(f"exit codes: {code} of the driver, {synced} of the sync")
        counts, keys = children(self._server.store, "chaos")
        rows = len(self._rows())
        if counts != {"FINISHED": rows} or keys != rows:
            told.append(f"children: {dict(counts)}, {keys} keys")
        killed = ", ".join(f"{done[victim]} {victim}s" for victim in VICTIMS)
        print(
            f"killed {killed}; {rows} rows; {counts['FINISHED']} FINISHED children, "
            f"{counts.total() - counts['FINISHED']} others",
            flush=True,
        )
        return told

    def _kill_worker(self, moment: Moment) -> None:
        self._kill_at(moment, under=None)

    def _kill_node(self, moment: Moment) -> None:
        self._kill_at(moment, under=self._cluster.raylet)
        self._cluster.start_node()

    def _kill_server(self, moment: Moment) -> None:
        self._server.wait()
        self._at(moment, under=None)
        self._server.kill()
        self._server.start()

    def _kill_driver(self, moment: Moment) -> None:
        self._server.wait()  # a start needs it, or --no-tracking
        self._at(moment, under=None)
        self._driver.kill()
        self._driver.wait(60)
        self._driver = self._world.fcdd("driver", *self._arguments)

    def _kill_at(self, moment: Moment, *, under: int | None) -> None:
        """Kills a worker at `moment`, or the raylet `under`, with which its workers end."""
        while True:
            worker = self._at(moment, under=under)
            if kill(worker if under is None else under):
                return

    def _at(self, moment: Moment, *, under: int | None) -> int:
        """A worker whose run is at `moment`, of the node whose raylet is `under` if one is given;
        waits for it. The moment "scored" is short: once two more runs have gone by without it, any
        will do."""
        found: list[int] = []
        enough = len(self._rows()) + 2

        def look() -> bool:
            keys = self._keys_at(moment)
            if moment == "scored" and len(self._rows()) >= enough:
                keys |= self._keys_at("begun")
            beats = running.read(self._out) if keys else {}
            for key in keys & set(beats):
                node = parent(beats[key]["pid"])
                if node and under in (None, node):
                    found.append(beats[key]["pid"])
            return bool(found)

        self._wait(look)
        return self._generator.choice(sorted(found))

    def _keys_at(self, moment: Moment) -> set[str]:
        if moment == "saved":
            with suppress(FileNotFoundError):  # a run ended while its folder was looked into
                return {path.parent.name for path in self._out.glob("checkpoints/*/*.safetensors")}
            return set()
        if moment == "scored":
            return self._keys("scores") - self._rows()
        return {path.stem for path in self._out.glob("running/*.json")}

    def _wait(self, condition: Callable[[], bool]) -> None:
        def told() -> str:
            return f"nothing more happens: {self._world.said('driver')[-3000:]}"

        def due() -> bool:
            if self._driver.poll() is not None:
                raise RuntimeError(f"the driver ended: {self._world.said('driver')}")
            return condition()

        wait(due, told, seconds=600)

    def _rows(self) -> set[str]:
        return self._keys("rows")

    def _keys(self, part: str) -> set[str]:
        return {path.stem for path in (self._out / part).glob("*.parquet")}


if __name__ == "__main__":
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    sys.exit(main())
