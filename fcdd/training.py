"""Training of one run (docs/method.md section 6)."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

from fcdd import objectives
from fcdd.checkpoint import Checkpoints, Progress, State, restore_checkpoint, save_checkpoint
from fcdd.config import Run
from fcdd.data.batches import batches
from fcdd.data.task import Task
from fcdd.evaluation import image_scores
from fcdd.execution import EAGER, Execution
from fcdd.heatmaps import Spread
from fcdd.metrics import auroc
from fcdd.nets.build import build
from fcdd.nets.drawing import seeded_layers
from fcdd.parallel import Team, shared_norms
from fcdd.steps import Step, execution_for, make_step, set_rate
from fcdd.steps import make_optimizer as make_optimizer


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed: number from 1, mean loss, learning rate, test AUROC if asked for."""

    epoch: int
    train_loss: float
    lr: float
    test_auroc: float | None = None


@dataclass(frozen=True)
class Fit:
    """A trained net, its epochs, the seconds spent training (without test curves), and how its
    steps were executed."""

    net: nn.Module
    epochs: list[Epoch] = field(default_factory=list)
    train_seconds: float = 0.0
    execution: Execution = EAGER


def fit(
    run: Run,
    task: Task,
    *,
    device: torch.device,
    weights: Path | None = None,
    report: Callable[[Epoch], None] = lambda epoch: None,
    checkpoints: Checkpoints | None = None,
    execution: Execution = EAGER,
    team: Team | None = None,
) -> Fit:
    """Trains the run's net for its epochs, calling `report` after each.

    With `checkpoints` it goes on from the checkpoint that is there, if it fits, reporting the
    epochs in it once more, and replaces it from time to time. The caller sets the number of threads
    (`run.threads`). Steps are executed as `execution` says, or as much of it as works here; those
    of a `team`, all of whose processes call this alike, one operation after the other. Raises
    FloatingPointError naming epoch and step when the loss is not finite, and RuntimeError if the
    processes of a `team` found different checkpoints.
    """
    if team:
        execution = Execution(processes=team.size)
    else:
        execution = execution_for(run, execution, device=device)
    # channels-last: 1.1 to 1.5 times the images/s of the default on CPUs (docs/performance.md)
    net = build(run, weights=weights).to(device)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(run, net, graphs=execution.graphs)
    clock = _clock(run) if execution.graphs else optimizer
    schedule = make_schedule(run, clock)
    upsampling = objectives.spread(run, net, device=device) if run.objective.maps else None
    state = State(net, optimizer, schedule)
    earlier = restore_checkpoint(checkpoints, state) if checkpoints else None
    epochs = [Epoch(**epoch) for epoch in earlier.epochs] if earlier else []
    train_seconds = earlier.train_seconds if earlier else 0.0
    if team:
        team.check_same(len(epochs), what="the epochs of the checkpoint that each found")
    for epoch in epochs:
        report(epoch)
    step = make_step(run, net, optimizer, upsampling=upsampling, execution=execution, team=team)
    saved = time.monotonic()
    for number in range(len(epochs) + 1, run.training.epochs + 1):
        started = time.perf_counter()
        lr = float(schedule.get_last_lr()[0])
        if execution.graphs:
            set_rate(optimizer, lr)
            set_rate(clock, lr)
            clock.step()  # moves nothing: there is no gradient
        with (
            seeded_layers(run, epoch=number, device=device),
            shared_norms(net) if team else nullcontext(),
        ):
            train_loss = train_epoch(
                run, task, net=net, optimizer=optimizer, epoch=number, step=step
            )
        schedule.step()
        train_seconds += time.perf_counter() - started
        test_auroc = _test_auroc(run, task, net=net, epoch=number)
        epochs.append(Epoch(number, train_loss, lr, test_auroc))
        due = checkpoints and time.monotonic() - saved >= checkpoints.every_seconds
        if checkpoints and due and (team is None or team.leads):
            progress = Progress([asdict(epoch) for epoch in epochs], train_seconds)
            save_checkpoint(checkpoints, state, progress=progress)
            saved = time.monotonic()
        report(epochs[-1])
    return Fit(net, epochs, train_seconds, execution)


def _clock(run: Run) -> Optimizer:
    """What carries the schedule of an optimiser whose rate is a tensor of float32."""
    return SGD([nn.Parameter(torch.zeros(1))], lr=run.training.lr)


def _test_auroc(run: Run, task: Task, *, net: nn.Module, epoch: int) -> float | None:
    every = run.evaluation.test_every
    if every == 0 or epoch % every:
        return None
    return auroc(task.test_labels, image_scores(run, net, task.test_images, task=task))


def train_epoch(
    run: Run,
    task: Task,
    *,
    net: nn.Module,
    optimizer: Optimizer,
    epoch: int,
    upsampling: Spread | None = None,
    step: Step | None = None,
) -> float:
    """One epoch; returns the mean loss per image. Waits for the device once, at the end.

    `upsampling` is the run's spread of anomaly maps, which the pixel-level loss needs; without a
    `step` the plain one of these is taken.
    """
    net.train()
    step = step or make_step(run, net, optimizer, upsampling=upsampling)
    losses, sizes = [], []
    for batch in batches(run, task, epoch=epoch):
        losses.append(step(batch))
        sizes.append(len(batch.inputs))
    values = torch.stack(losses).double().cpu()
    if not bool(values.isfinite().all()):
        raise not_finite(run, values, epoch=epoch)
    weights = torch.tensor(sizes, dtype=torch.float64)
    return float((values * weights).sum() / weights.sum())


def not_finite(run: Run, losses: Tensor, *, epoch: int) -> FloatingPointError:
    """The error of an epoch with these `losses` of its steps, on the host, of which one is not
    finite."""
    step = int((~losses.isfinite()).nonzero()[0]) + 1
    return FloatingPointError(
        f"the loss is {losses[step - 1].item()} in epoch {epoch}, step {step}; "
        f"lower training.lr ({run.training.lr:g}) or change data.preprocessing"
    )


def learning_rates(run: Run) -> list[float]:
    """The learning rate of each epoch."""
    clock = _clock(run)
    schedule = make_schedule(run, clock)
    rates = []
    for _ in range(run.training.epochs):
        rates.append(float(schedule.get_last_lr()[0]))
        clock.step()  # moves nothing: there is no gradient
        schedule.step()
    return rates


def make_schedule(run: Run, optimizer: Optimizer) -> LRScheduler:
    """lr * factor^epoch, or lr * factor at each milestone; stepped once per epoch."""
    factor = run.training.lr_factor
    match run.training.schedule:
        case "exponential":
            return LambdaLR(optimizer, lambda epoch: factor**epoch)
        case "milestones":
            return MultiStepLR(optimizer, list(run.training.lr_milestones), gamma=factor)
        case unknown:
            assert_never(unknown)
