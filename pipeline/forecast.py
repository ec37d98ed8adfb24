"""What a benchmark will cost: runs, hours, memory, disk, and what fits into a budget. No torch.

    seconds of a run = training images * passes * epochs / training images per second
                       + tested images / evaluated images per second + what starting a run costs

The two speeds come from earlier rows of the same work, or from `pipeline.probe`.
"""

import heapq
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcdd.catalog import FIXED_SHAPES
from fcdd.config import Run, flatten
from pipeline import results
from pipeline.sizes import Size, pool_images

# What decides how fast a run is; class, seed, learning rate and the like do not.
_WORK = (
    *("data.name", "data.size", "data.preprocessing", "data.layout", "net.name", "net.bias"),
    *("net.frozen_batch_norm", "net.trunk", "net.trunk_layer", "objective.name", "objective.maps"),
    *("supervision.mode", "supervision.noise", "outliers.source", "training.batch_size"),
    *("training.optimizer", "training.precision", "evaluation.pixels", "threads"),
)
RUN_SECONDS = 0.13  # rows, scores, MLflow and Ray of a run, of one core (docs/performance.md)
START_SECONDS = 15.0  # Ray, and torch in the first workers
_ROW_BYTES = 30_000  # measured: 17,000 to 33,000
_SCORE_BYTES = 15  # of one test image
_EPOCH_BYTES = 500  # a line of the curve, and three metrics in MLflow's SQLite
_HEATMAP_BYTES = 300_000  # the largest measured
_PIXELS_BYTES = 200_000  # histograms, of data with masks


@dataclass(frozen=True)
class Work:
    """Runs of one `Work` train and are evaluated at the same speed on the same machine."""

    values: tuple[object, ...]


@dataclass(frozen=True)
class Rate:
    """How fast one run goes, how much memory its process takes, and where that is known from."""

    train_images_per_second: float
    evaluate_images_per_second: float
    peak_memory_bytes: int
    peak_gpu_bytes: int | None
    source: str


@dataclass(frozen=True)
class Machine:
    """What runs can use: a CPU run takes `threads` of `cores`, else `slots` run side by side."""

    cores: int
    slots: int | None = None


@dataclass(frozen=True)
class Need:
    """What runs take together. `hours` is wall time with the machine to itself; `memory_bytes` of
    the host: worker processes side by side and one copy of images and pools."""

    num_runs: int
    hours: float
    memory_bytes: int
    gpu_bytes: int | None
    disk_bytes: int


@dataclass(frozen=True)
class Choice:
    """Runs that fit into a budget: all of seeds `seeds` (and of `classes`, None for all)."""

    seeds: tuple[int, ...]
    classes: tuple[int, ...] | None
    num_runs: int
    hours: float

    @property
    def only(self) -> str:
        """The options of `fcdd run` that select the runs."""
        seeds = f"--only seed={','.join(map(str, self.seeds))}"
        if self.classes is None:
            return seeds
        return f"{seeds} --only data.normal_class={','.join(map(str, self.classes))}"


def work_of(fields: Run | Mapping[str, Any]) -> Work:
    """The work of a run, or of the row that it left."""
    flat = flatten(fields) if isinstance(fields, Run) else fields
    return Work(tuple(_plain(flat[name]) for name in _WORK))


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def done_runs(runs: Sequence[Run], rows: Iterable[Mapping[str, Any]]) -> list[Run]:
    """Those of `runs` that have a row with all their fields, whatever data it was made on."""
    if not runs:
        return []
    names = list(flatten(runs[0]))
    present = {tuple(_plain(row[name]) for name in names) for row in rows}
    return [run for run in runs if tuple(flatten(run).values()) in present]


def rates_of_rows(folders: Iterable[results.Place], *, device: str) -> dict[Work, Rate]:
    """Per work the medians over the rows in `folders` of runs on `device` ("cpu", "mps", "cuda");
    of peak memory the largest. Raises ValueError as `results.read_table` does."""
    found: dict[Work, list[tuple[results.Place, dict[str, Any]]]] = {}
    for folder in folders:
        for row in results.read_table(folder).to_pylist():
            if (row["device"] if row["device"] in ("cpu", "mps") else "cuda") == device:
                found.setdefault(work_of(row), []).append((folder, row))
    return {work: _rate(rows) for work, rows in found.items()}


def _rate(found: Sequence[tuple[results.Place, Mapping[str, Any]]]) -> Rate:
    rows = [row for _, row in found]
    machines = {f"{r['cpu']}, {r['device']}" for r in rows}
    folders = ", ".join(sorted({str(folder) for folder, _ in found}))
    gpu = [row["peak_gpu_bytes"] for row in rows if row["peak_gpu_bytes"] is not None]
    return Rate(
        statistics.median(row["train_images_per_second"] for row in rows),
        statistics.median(row["num_test"] / row["evaluate_seconds"] for row in rows),
        max(row["peak_memory_bytes"] for row in rows),
        max(gpu, default=None),
        f"{len(rows)} rows of {folders} ({'; '.join(sorted(machines))})",
    )


def run_seconds(run: Run, size: Size, rate: Rate) -> float:
    """Wall seconds of one run: training, evaluation, test curves, and what starting it costs."""
    training = run.training
    tested = 1 + (training.epochs // run.evaluation.test_every if run.evaluation.test_every else 0)
    return (
        size.num_train * training.passes * training.epochs / rate.train_images_per_second
        + size.num_test * tested / rate.evaluate_images_per_second
        + RUN_SECONDS
    )


def disk_bytes(run: Run, size: Size, *, masks: bool) -> int:
    """What a run leaves in the output folder: row, scores, curve, heatmaps, histograms, MLflow."""
    return (
        _ROW_BYTES
        + _SCORE_BYTES * size.num_test
        + _EPOCH_BYTES * run.training.epochs
        + _HEATMAP_BYTES
        + (_PIXELS_BYTES if masks else 0)
    )


def need(
    runs: Sequence[Run],
    sizes: Mapping[str, Size],
    rates: Mapping[Work, Rate],
    *,
    machine: Machine,
    masked: Iterable[str] = (),
) -> Need:
    """What `runs` take on `machine`. `sizes` by `data_of`; `masked` names data sets with masks."""
    costs = [
        (run, run_seconds(run, sizes[data_of(run)], rates[work_of(run)]), rates[work_of(run)])
        for run in runs
    ]
    if not costs:
        return Need(0, 0.0, 0, None, 0)
    masks, width = set(masked), min(side_by_side(machine, runs), len(runs))
    seconds = _seconds_to_the_last((seconds for _, seconds, _ in costs), width)
    if machine.slots is None:  # runs of different width
        seconds = max(seconds, sum(s * run.threads for run, s, _ in costs) / machine.cores)
    gpu = [rate.peak_gpu_bytes for _, _, rate in costs if rate.peak_gpu_bytes is not None]
    workers = sorted((rate.peak_memory_bytes for _, _, rate in costs), reverse=True)
    return Need(
        num_runs=len(runs),
        hours=(START_SECONDS + seconds) / 3600,
        memory_bytes=sum(workers[:width]) + data_bytes(runs, sizes),
        gpu_bytes=max(gpu) * width if gpu else None,
        disk_bytes=sum(
            disk_bytes(run, sizes[data_of(run)], masks=run.data.name in masks) for run in runs
        ),
    )


def _seconds_to_the_last(runs: Iterable[float], slots: int) -> float:
    """When the last of `runs` ends, each begun in its order by the slot that is free first."""
    free = [0.0] * slots
    for seconds in runs:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def side_by_side(machine: Machine, runs: Sequence[Run]) -> int:
    """How many of the runs execute at once; at least 1."""
    fewest = min(run.threads for run in runs)
    return max(1, machine.cores // fewest if machine.slots is None else machine.slots)


def data_of(run: Run) -> str:
    """Names the images of a run: data set, class, and input size."""
    return f"{run.data.name} {run.data.normal_class} {run.data.raw_size}"


def data_bytes(runs: Iterable[Run], sizes: Mapping[str, Size]) -> int:
    """Bytes of all images and pools of `runs`, each loaded once per machine."""
    images, pools = {}, {}
    for run in runs:
        pixels = run.data.shape[0] * run.data.raw_size[0] * run.data.raw_size[1]
        shared = run.data.name in FIXED_SHAPES  # one copy for all classes
        images[run.data.name if shared else data_of(run)] = sizes[data_of(run)].num_loaded * pixels
        pools[run.outliers.source, pixels] = pool_images(run) * pixels
    return sum(images.values()) + sum(pools.values())


def within(
    hours: float,
    runs: Sequence[Run],
    sizes: Mapping[str, Size],
    rates: Mapping[Work, Rate],
    *,
    machine: Machine,
) -> list[Choice]:
    """What fits into `hours`: whole seeds over all classes first, then classes of the next seed.

    Seeds and classes come in the order of `runs`. Empty when not even one class of one seed fits.
    """

    def cost(chosen: Sequence[Run]) -> float:
        return need(chosen, sizes, rates, machine=machine).hours

    seeds = list(dict.fromkeys(run.seed for run in runs))
    whole: list[Run] = []
    choices: list[Choice] = []
    taken = 0
    for taken in range(len(seeds) + 1):
        more = [run for run in runs if run.seed in seeds[: taken + 1]]
        if taken == len(seeds) or cost(more) > hours:
            break
        whole = more
    if whole:
        choices.append(Choice(tuple(seeds[:taken]), None, len(whole), cost(whole)))
    if taken == len(seeds):
        return choices
    following = [run for run in runs if run.seed == seeds[taken]]
    part: list[Run] = []
    classes: list[int] = []
    for number in dict.fromkeys(run.data.normal_class for run in following):
        more = [*part, *(run for run in following if run.data.normal_class == number)]
        if cost([*whole, *more]) > hours:
            break
        part, classes = more, [*classes, number]
    if part:
        choices.append(Choice((seeds[taken],), tuple(classes), len(part), cost(part)))
    return choices
