"""Training of one run (docs/method.md section 6)."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import assert_never

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

from fcdd import objectives
from fcdd.checkpoint import Checkpoints, Progress, State, restore_checkpoint, save_checkpoint
from fcdd.config import Run
from fcdd.data.batches import batches
from fcdd.data.task import Task
from fcdd.evaluation import image_scores
from fcdd.heatmaps import Spread
from fcdd.metrics import auroc
from fcdd.nets.build import build
from fcdd.nets.drawing import seeded_layers


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed: number from 1, mean loss, learning rate, test AUROC if asked for."""

    epoch: int
    train_loss: float
    lr: float
    test_auroc: float | None = None


@dataclass(frozen=True)
class Fit:
    """A trained net, its epochs, and the seconds spent training (without test curves)."""

    net: nn.Module
    epochs: list[Epoch] = field(default_factory=list)
    train_seconds: float = 0.0


def fit(
    run: Run,
    task: Task,
    *,
    device: torch.device,
    weights: Path | None = None,
    report: Callable[[Epoch], None] = lambda epoch: None,
    checkpoints: Checkpoints | None = None,
) -> Fit:
    """Trains the run's net for its epochs, calling `report` after each.

    With `checkpoints` it goes on from the checkpoint that is there, if it fits, reporting the
    epochs in it once more, and replaces it from time to time. The caller sets the number of threads
    (`run.threads`). Raises FloatingPointError naming epoch and step when the loss is not finite.
    """
    # channels-last: 1.1 to 1.5 times the images/s of the default on CPUs (docs/performance.md)
    net = build(run, weights=weights).to(device)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(run, net)
    schedule = make_schedule(run, optimizer)
    upsampling = objectives.spread(run, net, device=device) if run.objective.maps else None
    state = State(net, optimizer, schedule)
    earlier = restore_checkpoint(checkpoints, state) if checkpoints else None
    epochs = [Epoch(**epoch) for epoch in earlier.epochs] if earlier else []
    train_seconds = earlier.train_seconds if earlier else 0.0
    for epoch in epochs:
        report(epoch)
    saved = time.monotonic()
    for number in range(len(epochs) + 1, run.training.epochs + 1):
        started = time.perf_counter()
        lr = schedule.get_last_lr()[0]
        with seeded_layers(run, epoch=number, device=device):
            train_loss = train_epoch(
                run, task, net=net, optimizer=optimizer, epoch=number, upsampling=upsampling
            )
        schedule.step()
        train_seconds += time.perf_counter() - started
        test_auroc = _test_auroc(run, task, net=net, epoch=number)
        epochs.append(Epoch(number, train_loss, float(lr), test_auroc))
        if checkpoints and time.monotonic() - saved >= checkpoints.every_seconds:
            progress = Progress([asdict(epoch) for epoch in epochs], train_seconds)
            save_checkpoint(checkpoints, state, progress=progress)
            saved = time.monotonic()
        report(epochs[-1])
    return Fit(net, epochs, train_seconds)


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
) -> float:
    """One epoch; returns the mean loss per image. Waits for the device once, at the end.

    `upsampling` is the run's spread of anomaly maps, which the pixel-level loss needs.
    """
    net.train()
    losses, sizes = [], []
    for batch in batches(run, task, epoch=epoch):
        outputs = net(batch.inputs.contiguous(memory_format=torch.channels_last))
        loss = objectives.loss(run, outputs, batch=batch, upsampling=upsampling)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        sizes.append(len(batch.inputs))
    values = torch.stack(losses).double().cpu()
    if not bool(values.isfinite().all()):
        step = int((~values.isfinite()).nonzero()[0]) + 1
        raise FloatingPointError(
            f"the loss is {values[step - 1].item()} in epoch {epoch}, step {step}; "
            f"lower training.lr ({run.training.lr:g}) or change data.preprocessing"
        )
    weights = torch.tensor(sizes, dtype=torch.float64)
    return float((values * weights).sum() / weights.sum())


def make_optimizer(run: Run, net: nn.Module) -> Optimizer:
    """SGD with Nesterov momentum 0.9, or Adam with L2 weight decay, on all parameters.

    Frozen ones are among them, as published: without a gradient neither optimiser moves them, and
    weight decay does not either.
    """
    lr, weight_decay = run.training.lr, run.training.weight_decay
    match run.training.optimizer:
        case "sgd":  # Liznerski et al. 2021, App. D
            return SGD(
                net.parameters(), lr=lr, weight_decay=weight_decay, momentum=0.9, nesterov=True
            )
        case "adam":
            return Adam(net.parameters(), lr=lr, weight_decay=weight_decay)
        case unknown:
            assert_never(unknown)


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
