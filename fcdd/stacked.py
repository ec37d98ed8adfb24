"""Several runs of one net trained as one stack, to fill a GPU that a single small net leaves idle
(docs/performance.md).

The parameters of R runs lie in tensors [R, ...] and one step of all is one vectorised call of the
net (`torch.func.vmap`; convolutions become grouped ones). Each run keeps its own seed, data, order,
learning rate and weight decay. What comes out is what `fcdd.training.fit` returns for each run, up
to float32 rounding; tests state the tolerance.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fcdd.config import Run
from fcdd.data.batches import batches
from fcdd.data.task import Task
from fcdd.evaluation import image_scores
from fcdd.execution import EAGER, Execution
from fcdd.metrics import auroc
from fcdd.nets.build import architecture, build
from fcdd.nets.drawing import drawing_layers
from fcdd.stacked_nets import Stack, stack_nets
from fcdd.stacked_optimisers import coefficients
from fcdd.stacked_steps import StackStep, make_stack_step, stack_execution_for
from fcdd.training import Epoch, Fit, learning_rates, not_finite

# What the runs of a stack have in common. Seed, nominal class, learning rate, weight decay,
# schedule and what replaces nominal images may differ.
_COMMON = ("net", "objective", "heatmaps", "threads", "protocol")
_COMMON_TRAINING = ("epochs", "batch_size", "optimizer", "precision")


def why_never_stacked(run: Run) -> str | None:
    """Why `run` cannot be part of any stack; None if it can."""
    with torch.device("meta"):  # only the kinds of layers count
        drawing = drawing_layers(architecture(run.net, size=run.data.shape[1:]))
    if not drawing:
        return None
    return (
        f"net.name {run.net.name!r} has {drawing[0]}, which draws random numbers for each run of "
        "its own"
    )


def why_not_stacked(runs: Sequence[Run]) -> str | None:
    """Why `runs` cannot be trained as one stack, in words that name the field; None if they can."""
    first = runs[0]
    for run in runs[1:]:
        for name in _COMMON:
            if getattr(run, name) != getattr(first, name):
                return f"{name} differs: {getattr(first, name)!r} and {getattr(run, name)!r}"
        for name in _COMMON_TRAINING:
            one, other = getattr(first.training, name), getattr(run.training, name)
            if one != other:
                return f"training.{name} differs: {one!r} and {other!r}"
        if run.data.shape != first.data.shape:
            return f"image shapes differ: {first.data.shape} and {run.data.shape}"
    return None


def fit_stacked(
    runs: Sequence[Run],
    tasks: Sequence[Task],
    *,
    device: torch.device,
    reports: Sequence[Callable[[Epoch], None]] | None = None,
    weights: Path | None = None,
    execution: Execution = EAGER,
) -> list[Fit | Exception]:
    """Per run what `fcdd.training.fit` returns, or the FloatingPointError of a run whose loss was
    not finite; the others go on without it.

    `reports`, one per run, are called after each epoch. `train_seconds` is each run's share of the
    time that the stack took. Waits for the device once per epoch. Raises ValueError for runs that
    cannot be stacked, and for nets with layers that draw random numbers.
    """
    if reason := why_never_stacked(runs[0]) or why_not_stacked(runs):
        raise ValueError(f"these runs cannot be trained as one stack: {reason}; train them singly")
    nets = [_net(run, device, weights) for run in runs]
    execution = stack_execution_for(runs[0], execution, num_runs=len(runs), device=device)
    members = [
        _Member(place, run, task, net, learning_rates(run))
        for place, (run, task, net) in enumerate(zip(runs, tasks, nets, strict=True))
    ]
    outcomes: list[Fit | Exception] = [Fit(net) for net in nets]
    epochs: list[list[Epoch]] = [[] for _ in runs]
    seconds = [0.0] * len(runs)
    stack = stack_nets(nets)
    step = make_stack_step(runs[0], nets[0], stack, execution=execution)
    for number in range(1, runs[0].training.epochs + 1):
        started = time.perf_counter()
        losses = _train_epoch(members, step, epoch=number, device=device)
        share = (time.perf_counter() - started) / len(members)
        alive = []
        for member, (values, sizes) in zip(members, losses, strict=True):
            seconds[member.place] += share
            if not bool(values.isfinite().all()):
                outcomes[member.place] = not_finite(member.run, values, epoch=number)
                continue
            mean = float((values * sizes).sum() / sizes.sum())
            alive.append((member, mean))
        if len(alive) < len(members):
            kept = {member.place for member, _ in alive}
            places = [place for place, member in enumerate(members) if member.place in kept]
            members = [member for member, _ in alive]
            stack = stack.select(torch.tensor(places, dtype=torch.int64, device=device))
            step = make_stack_step(runs[0], nets[0], stack, execution=execution)
        for place, (member, mean) in enumerate(alive):
            test_auroc = _test_auroc(member, stack, place, epoch=number)
            lr = member.rates[number - 1]
            epochs[member.place].append(Epoch(number, mean, lr, test_auroc))
            if reports:
                reports[member.place](epochs[member.place][-1])
        if not members:
            break
    for place, member in enumerate(members):
        stack.unstack(place, member.net)
        found = Fit(member.net, epochs[member.place], seconds[member.place], execution)
        outcomes[member.place] = found
    return outcomes


@dataclass
class _Member:
    """A run of the stack; `place` is where its outcome goes, `steps` how many it has taken."""

    place: int
    run: Run
    task: Task
    net: nn.Module
    rates: list[float]  # learning rate of each epoch
    steps: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, the last one shorter."""
        images = len(self.task.train_images) * self.run.training.passes
        return -(-images // self.run.training.batch_size)


def _net(run: Run, device: torch.device, weights: Path | None) -> nn.Module:
    net = build(run, weights=weights).to(device)
    return net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _train_epoch(
    members: Sequence[_Member], step: StackStep, *, epoch: int, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """One epoch of all; per run the loss and the size of each batch, float64 on the host."""
    for member in members:
        member.net.train()
    num_steps = max(member.steps_per_epoch for member in members)
    kind = members[0].run.training.optimizer
    dtype = next(members[0].net.parameters()).dtype
    factors = torch.stack(
        [
            coefficients(
                kind,
                lr=member.rates[epoch - 1],
                weight_decay=member.run.training.weight_decay,
                steps=range(member.steps + 1, member.steps + num_steps + 1),
            )
            for member in members
        ],
        dim=1,
    )  # [steps, R, 3]
    factors = factors.to(dtype).to(device, non_blocking=True)
    served = [batches(member.run, member.task, epoch=epoch) for member in members]
    losses = torch.zeros((num_steps, len(members)), dtype=dtype, device=device)
    sizes = torch.zeros((num_steps, len(members)), dtype=torch.float64)
    for number in range(num_steps):
        given = [next(one, None) for one in served]
        for place, batch in enumerate(given):
            sizes[number, place] = 0 if batch is None else len(batch.inputs)
        losses[number] = step(given, factors[number])
    values = losses.double().cpu()
    found = []
    for place, member in enumerate(members):
        taken = member.steps_per_epoch
        member.steps += taken
        found.append((values[:taken, place], sizes[:taken, place]))
    return found


def _test_auroc(member: _Member, stack: Stack, place: int, *, epoch: int) -> float | None:
    every = member.run.evaluation.test_every
    if every == 0 or epoch % every:
        return None
    stack.unstack(place, member.net)
    images, task = member.task.test_images, member.task
    return auroc(task.test_labels, image_scores(member.run, member.net, images, task=task))
