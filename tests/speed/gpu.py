"""Measures on one GPU what docs/performance.md needs of one, prints it and writes it as Markdown.

    python tests/speed/gpu.py                 about 10 minutes on an H100-class GPU (an estimate)
    python tests/speed/gpu.py --quick         fewer repetitions, narrower stacks
    python tests/speed/gpu.py --only nets     parts: ceiling, check, nets, stacks, streams, confetti
    python tests/speed/gpu.py --net cifar10   of one spec; may be repeated
Needs `fcdd` with its own dependencies; neither Ray nor MLflow nor pyarrow. All by the clock, the
device waited for. What fails is told in its cell, the rest goes on, and the exit code is 1.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from figures import Figure, per_second, seconds, short, table
from gpu_work import (
    Effort,
    flop_per_image,
    random_task,
    side_by_side,
    steps_alone,
    whole_epochs,
)
from torch import Tensor

from fcdd import steps
from fcdd.config import Run, change
from fcdd.data.batches import batches
from fcdd.data.noise import noise
from fcdd.data.randomness import generator
from fcdd.data.task import Task
from fcdd.execution import EAGER, Execution
from jobs.select import load_spec

PARTS = ("ceiling", "check", "nets", "stacks", "streams", "confetti")
SPECS = ("fmnist_small", "fmnist", "cifar10", "mvtec")  # FCDD_CNN28, _W, CNN32_LW3K, VGG
GRAPHS, ALL = Execution(graphs=True), Execution(compiled=True, graphs=True)


@dataclass
class Setup:
    """What the options say, and the parts that failed."""

    effort: Effort
    batch_size: int | None
    widths: tuple[int, ...]
    specs: tuple[str, ...]
    failed: list[str] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where all is measured."""
        return self.effort.device

    @property
    def ways(self) -> list[tuple[str, Execution]]:
        """Precisions and executions that are compared."""
        plain = [("float32", EAGER), ("bfloat16", EAGER)]
        if self.device.type != "cuda":
            return plain
        return [*plain, ("bfloat16", GRAPHS), ("bfloat16", ALL)]

    def runs(self) -> list[Run]:
        """The first FCDD run of each spec."""
        found = []
        for name in self.specs:
            run = next(run for run in load_spec(name).runs if run.objective.name == "fcdd")
            size = self.batch_size or run.training.batch_size
            changes = {"training.batch_size": size, "training.passes": 1, "protocol": "mended"}
            found.append(change(run, changes))
        return found

    def tried(self, what: str, work: Callable[[], object]) -> str:
        """What `work` returns, as text; or how it failed."""
        try:
            return str(work())
        except torch.OutOfMemoryError:
            return "no memory"
        except RuntimeError as error:
            line = next((one for one in str(error).splitlines() if one.strip()), "")
            self.failed.append(f"{what}: {type(error).__name__}: {line.strip()[:200]}")
            return "failed"
        finally:
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the options and runs the parts one after the other; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be repeated")
    parser.add_argument("--net", choices=SPECS, action="append", help="a spec; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--batch-size", type=int, help="instead of the spec's, for small machines")
    parser.add_argument("--num-batches", type=int, default=25, help="of an epoch (CIFAR-10: 25)")
    parser.add_argument("--widest", type=int, default=64, help="runs in the largest stack")
    parser.add_argument("--out", type=Path, default=Path("results/gpu.md"))
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing of a GPU is measured")
        return 0
    widths = [2**power for power in range(20) if 2**power <= options.widest]
    setup = Setup(
        effort=Effort(torch.device(options.device), 3 if options.quick else 7, options.num_batches),
        batch_size=options.batch_size,
        widths=tuple(widths[::2] if options.quick else widths),
        specs=tuple(options.net or SPECS),
    )
    parts: dict[str, Callable[[Setup], str]] = {
        "ceiling": _ceiling,
        "check": _check,
        "nets": _nets,
        "stacks": _stacks,
        "streams": _streams,
        "confetti": _confetti,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("", encoding="utf-8")
    for part in (_machine, *(parts[name] for name in options.only or PARTS)):
        text = part(setup)
        print(text + "\n", flush=True)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(text + "\n\n")
    for line in setup.failed:
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if setup.failed else 0


def _machine(setup: Setup) -> str:
    name = setup.device.type
    if setup.device.type == "cuda":
        facts = torch.cuda.get_device_properties(setup.device)
        name = f"{facts.name}, {facts.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"
    python = ".".join(map(str, sys.version_info[:3]))
    return (
        f"`tests/speed/gpu.py` on {name}; torch {torch.__version__}, Python {python}. Median "
        "(smallest to largest, n), by the clock."
    )


def _ceiling(setup: Setup) -> str:
    """Matrix products of both precisions, and a copy within the device's memory."""
    side, rows = 8192 if setup.device.type == "cuda" else 256, []
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(side, side, device=setup.device, dtype=dtype) for _ in range(2))
        taken = seconds(lambda a=a, b=b: a @ b, setup.device, n=setup.effort.n)
        teraflop = 2 * side**3 / 1e12
        rows.append(
            [f"product of {side} x {side}, {dtype}, TFLOP/s", str(per_second(teraflop, taken))]
        )
    source = torch.empty(side * side, device=setup.device)
    target = torch.empty_like(source)
    taken = seconds(lambda: target.copy_(source), setup.device, n=setup.effort.n)
    gigabytes = 2 * source.numel() * source.itemsize / 1e9
    rows.append(["copy on the device, GB/s read and written", str(per_second(gigabytes, taken))])
    return f"Ceilings:\n\n{table(['what', 'measured'], rows)}"


def _check(setup: Setup) -> str:
    """Whether each way trains as the plain one: the largest difference of losses of a few steps."""
    rows = []
    for run in setup.runs():
        cells, plain = [run.net.name], steps._rehearse(run, EAGER, device=setup.device)
        for precision, way in setup.ways[1:]:
            one = change(run, {"training.precision": precision})

            def work(one: Run = one, way: Execution = way, plain: Tensor = plain) -> str:
                found = steps._rehearse(one, way, device=setup.device)
                return f"{float(((found - plain) / plain).abs().max()):.1e}"

            cells.append(setup.tried(f"check of {run.net.name}, {way}", work))
        rows.append(cells)
    header = ["net", *(f"{precision}, {way}" for precision, way in setup.ways[1:])]
    return (
        f"Losses of {steps.REHEARSED_STEPS} steps against float32, eager: largest relative "
        f"difference:\n\n{table(header, rows)}"
    )


def _nets(setup: Setup) -> str:
    """Augmentation alone, a step alone on one batch, and whole epochs of one run."""
    header = ["net, batch, way", "augment", "step", "epoch", "TFLOP/s of steps", "peak GB"]
    rows = []
    for run in setup.runs():
        size = run.training.batch_size
        count = size * setup.effort.num_batches
        task = random_task(run, count, setup.device)
        taken = seconds(
            lambda r=run, t=task: list(batches(r, t, epoch=1)), setup.device, n=setup.effort.n
        )
        for precision, way in setup.ways:
            one = change(run, {"training.precision": precision})
            what = f"{run.net.name}, {size}, {precision}, {way}"
            found: list[Figure] = []
            memory: list[int] = []

            def alone(one: Run = one, way: Execution = way, found: list = found) -> Figure:
                found.append(steps_alone(setup.effort, one, way))
                return found[0]

            step = setup.tried(what, alone)
            epoch = setup.tried(
                what, lambda o=one, t=task, w=way, m=memory: _epochs(setup, [o], t, w, m)
            )
            reached = flop_per_image(run) * found[0].median / 1e12 if found else 0.0
            peak = short(memory[0] / 1e9) if memory else "-"
            rows.append([what, str(per_second(count, taken)), step, epoch, short(reached), peak])
    return f"One run, images/s:\n\n{table(header, rows)}"


def _epochs(setup: Setup, runs: list[Run], task: Task, way: Execution, memory: list) -> Figure:
    return whole_epochs(setup.effort, runs, [task] * len(runs), way, memory)


def _stacks(setup: Setup) -> str:
    """Whole epochs of several runs as one stack, in bfloat16, until more are no faster; the fastest
    width compiled, too, which takes long for each."""
    last = setup.ways[-1][1]
    way = GRAPHS if last == ALL else EAGER
    rows = []
    for run in setup.runs():
        base = change(run, {"training.precision": "bfloat16"})
        best: tuple[float, int] = (0.0, 1)
        for width in setup.widths:
            figure, cells = _stack(setup, base, width, way)
            rows.append(cells)
            if figure is None or figure.median < 1.05 * best[0]:
                break
            best = (figure.median, width)
        if last != way:
            rows.append(_stack(setup, base, best[1], last)[1])
    header = ["net, runs, way", "images/s", "peak GB"]
    return f"Stacks, images/s of all runs together, in epochs:\n\n{table(header, rows)}"


def _stack(setup: Setup, base: Run, width: int, way: Execution) -> tuple[Figure | None, list[str]]:
    runs = [change(base, {"seed": seed}) for seed in range(width)]
    what = f"{base.net.name}, {width}, {way}"
    # Short epochs for many runs; the first steps of each are not recorded, the last ones are.
    num = max(6, setup.effort.num_batches // width) if setup.device.type == "cuda" else 2
    task = random_task(base, base.training.batch_size * num, setup.device)
    found: list[Figure] = []
    memory: list[int] = []

    def work() -> Figure:
        found.append(_epochs(setup, runs, task, way, memory))
        return found[0]

    told = setup.tried(what, work)
    peak = short(memory[0] / 1e9) if memory else "-"
    return (found[0] if found else None), [what, told, peak]


def _streams(setup: Setup) -> str:
    """Steps of several runs, each its own graph on a stream of its own: the other way to fill a
    GPU."""
    if setup.device.type != "cuda":
        return "Streams: only on a GPU."
    rows = []
    for run in setup.runs():
        one = change(run, {"training.precision": "bfloat16"})
        cells = [run.net.name]
        for width in setup.widths:
            cells.append(
                setup.tried(
                    f"{width} streams of {run.net.name}",
                    lambda o=one, w=width: side_by_side(setup.effort, o, w),
                )
            )
        rows.append(cells)
    header = ["net", *(f"{width}" for width in setup.widths)]
    return f"Graphs on streams, steps alone, images/s of all together:\n\n{table(header, rows)}"


def _confetti(setup: Setup) -> str:
    """Confetti alone, at the size that MVTec-AD is stored at."""
    count = 128 if setup.device.type == "cuda" else 4

    def draw() -> Tensor:
        return noise(
            "confetti",
            count,
            shape=(3, 240, 240),
            stream=generator(0, "speed"),
            colours="mended",
            device=setup.device,
        )

    made = setup.tried(
        "confetti", lambda: per_second(count, seconds(draw, setup.device, n=setup.effort.n))
    )
    return f"Confetti 240 x 240, batches of {count}: {made} images/s."


if __name__ == "__main__":
    sys.exit(main())
