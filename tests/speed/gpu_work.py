"""What is measured of one GPU: steps, epochs and stacks of runs on random images."""

import itertools
import time
from dataclasses import dataclass

import numpy as np
import torch
from figures import Figure, per_second, seconds, wait
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fcdd import stacked, steps, training
from fcdd.config import Run, change
from fcdd.data.task import Images, Pool, Task, make_task
from fcdd.execution import Execution
from fcdd.nets.build import architecture
from fcdd.objectives import spread
from fcdd.training import Epoch


@dataclass(frozen=True)
class Effort:
    """Where, how often and on how many batches at a time."""

    device: torch.device
    n: int
    num_batches: int


def steps_alone(effort: Effort, run: Run, way: Execution) -> Figure:
    """Images/s of steps on one batch that is there already."""
    step = made_step(effort, run, way)
    batch = steps.random_batch(run, device=effort.device)

    def some() -> None:
        for _ in range(effort.num_batches):
            step(batch)

    taken = seconds(some, effort.device, n=effort.n)
    return per_second(run.training.batch_size * effort.num_batches, taken)


def made_step(effort: Effort, run: Run, way: Execution) -> steps.Step:
    """A step of a net of its own that moves next to nothing."""
    torch.manual_seed(0)
    net = architecture(run.net, size=run.data.shape[1:]).to(effort.device).train()
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    upsampling = spread(run, net, device=effort.device) if run.objective.maps else None
    optimizer = steps.make_optimizer(run, net, graphs=way.graphs)
    steps.set_rate(optimizer, 1e-9)  # random images would make weights grow
    return steps.make_step(run, net, optimizer, upsampling=upsampling, execution=way)


def side_by_side(effort: Effort, run: Run, width: int) -> Figure:
    """Images/s of `width` runs together, each step a graph on a stream of its own."""
    made = [made_step(effort, run, Execution(graphs=True)) for _ in range(width)]
    given = [steps.random_batch(run, device=effort.device) for _ in made]
    for step, batch in zip(made, given, strict=True):
        for _ in range(5):  # recorded one after the other
            step(batch)
    streams = [torch.cuda.Stream() for _ in made]

    def some() -> None:
        for _ in range(effort.num_batches):
            for step, batch, stream in zip(made, given, streams, strict=True):
                with torch.cuda.stream(stream):
                    step(batch)
        for stream in streams:
            torch.cuda.current_stream().wait_stream(stream)

    taken = seconds(some, effort.device, n=effort.n)
    return per_second(run.training.batch_size * effort.num_batches * width, taken)


def whole_epochs(
    effort: Effort, runs: list[Run], tasks: list[Task], way: Execution, memory: list[int]
) -> Figure:
    """Images/s of all runs in whole epochs, after two of warm-up; appends the peak memory. Raises
    RuntimeError where `way` is not what they were trained by."""
    training.build = stacked.build = _untrained
    changes = {
        **{"training.epochs": effort.n + 2, "training.lr": 1e-9, "evaluation.test_every": 0},
        **{"training.schedule": "exponential", "training.lr_milestones": []},
    }
    runs = [change(run, changes) for run in runs]
    times: list[float] = []

    def tell(epoch: Epoch) -> None:
        wait(effort.device)
        times.append(time.perf_counter())

    if effort.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(effort.device)
    if len(runs) == 1:
        found = training.fit(runs[0], tasks[0], device=effort.device, report=tell, execution=way)
    else:
        reports = [tell, *[lambda epoch: None] * (len(runs) - 1)]
        found = stacked.fit_stacked(
            runs, tasks, device=effort.device, reports=reports, execution=way
        )[0]
    if isinstance(found, Exception):
        raise RuntimeError(str(found)) from found
    if found.execution != way:
        raise RuntimeError(f"trained as {str(found.execution)!r}, not as {str(way)!r}")
    if effort.device.type == "cuda":
        memory.append(torch.cuda.max_memory_allocated(effort.device))
    images = len(tasks[0].train_images) * len(runs)
    return Figure(tuple(images / (end - start) for start, end in itertools.pairwise(times[1:])))


def _untrained(run: Run, **rest: object) -> nn.Module:
    """The net without pretrained weights, which cost nothing once loaded."""
    return architecture(run.net, size=run.data.shape[1:])


def flop_per_image(run: Run) -> float:
    """Operations of an image in a step, forward and backward; counted without computing."""
    with torch.device("meta"):
        net = architecture(run.net, size=run.data.shape[1:]).train()
        inputs = torch.empty((2, *run.data.shape))
    with FlopCounterMode(display=False) as counter:
        net(inputs).sum().backward()
    return counter.get_total_flops() / 2


def random_task(run: Run, count: int, device: torch.device) -> Task:
    """`count` random nominal training images, and as many of a pool where the run has one."""
    stream = np.random.default_rng(0)
    c, (h, w) = run.data.shape[0], run.data.raw_size

    def pixels(n: int) -> np.ndarray:
        return stream.integers(0, 256, (n, c, h, w), np.uint8)

    images = Images(
        pixels(count),
        np.full(count, run.data.normal_class),
        pixels(4),
        np.full(4, run.data.normal_class),
        fingerprint="random",
        train_anomalous=np.zeros(count, bool),
        test_anomalous=np.arange(4) % 2 > 0,
    )
    pool = None if run.outliers.source == "none" else Pool(pixels(count), "random")
    return make_task(run, images, pool, device=device)
