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
from torch.func import functional_call, vmap

from fcdd import objectives
from fcdd.config import Run
from fcdd.data.batches import Batch, batches
from fcdd.data.task import Task
from fcdd.evaluation import image_scores
from fcdd.metrics import auroc
from fcdd.nets.build import build
from fcdd.stacked_nets import Stack, put_back, stack_nets
from fcdd.stacked_optimisers import OptimizerName, coefficients, update
from fcdd.training import Epoch, Fit, make_optimizer, make_schedule

# What the runs of a stack have in common. Seed, nominal class, learning rate, weight decay,
# schedule and what replaces nominal images may differ.
_COMMON = ("net", "objective", "heatmaps", "threads", "protocol")
_COMMON_TRAINING = ("epochs", "batch_size", "optimizer")

_Loss = Callable[[dict[str, Tensor], dict[str, Tensor], Batch], Tensor]


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
) -> list[Fit | Exception]:
    """Per run what `fcdd.training.fit` returns, or the FloatingPointError of a run whose loss was
    not finite; the others go on without it.

    `reports`, one per run, are called after each epoch. `train_seconds` is each run's share of the
    time that the stack took. Waits for the device once per epoch. Raises ValueError for runs that
    cannot be stacked, and for nets with layers that draw random numbers.
    """
    if reason := why_not_stacked(runs):
        raise ValueError(f"these runs cannot be trained as one stack: {reason}; train them singly")
    nets = [_net(run, device, weights) for run in runs]
    _refuse_drawing(runs[0], nets[0])
    members = [
        _Member(place, run, task, net, _rates(run, net))
        for place, (run, task, net) in enumerate(zip(runs, tasks, nets, strict=True))
    ]
    outcomes: list[Fit | Exception] = [Fit(net) for net in nets]
    epochs: list[list[Epoch]] = [[] for _ in runs]
    seconds = [0.0] * len(runs)
    stack = stack_nets(nets)
    loss = _loss(runs[0], nets[0], device)
    for number in range(1, runs[0].training.epochs + 1):
        started = time.perf_counter()
        losses = _train_epoch(members, stack, loss, epoch=number, device=device)
        share = (time.perf_counter() - started) / len(members)
        alive = []
        for member, (values, sizes) in zip(members, losses, strict=True):
            seconds[member.place] += share
            if error := _not_finite(member.run, values, epoch=number):
                outcomes[member.place] = error
                continue
            mean = float((values * sizes).sum() / sizes.sum())
            alive.append((member, mean))
        if len(alive) < len(members):
            kept = {member.place for member, _ in alive}
            places = [place for place, member in enumerate(members) if member.place in kept]
            members = [member for member, _ in alive]
            stack = stack.select(torch.tensor(places, dtype=torch.int64, device=device))
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
        outcomes[member.place] = Fit(member.net, epochs[member.place], seconds[member.place])
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


def _refuse_drawing(run: Run, net: nn.Module) -> None:
    names = [type(module).__name__ for module in net.modules()]
    drawing = [name for name in names if "Drop" in name or name == "StochasticDepth"]
    if drawing:
        raise ValueError(
            f"net.name {run.net.name!r} has {drawing[0]}, which draws random numbers for each run "
            "of its own; train such runs singly"
        )


def _rates(run: Run, net: nn.Module) -> list[float]:
    """The learning rate of each epoch, from the schedule that a single run has."""
    optimizer = make_optimizer(run, net)
    schedule = make_schedule(run, optimizer)
    rates = []
    for _ in range(run.training.epochs):
        rates.append(float(schedule.get_last_lr()[0]))
        optimizer.step()  # moves nothing: there are no gradients
        schedule.step()
    return rates


def _loss(run: Run, net: nn.Module, device: torch.device) -> _Loss:
    """The losses [R] of stacked parameters, buffers (updated in place) and batches."""
    upsampling = objectives.spread(run, net, device=device) if run.objective.maps else None

    def one(
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        inputs: Tensor,
        labels: Tensor,
        maps: Tensor | None,
    ) -> Tensor:
        outputs = functional_call(net, (parameters, buffers), (inputs,))
        batch = Batch(inputs, labels, maps)
        return objectives.loss(run, outputs, batch=batch, upsampling=upsampling)

    def every(parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch) -> Tensor:
        dims = (0, 0, 0, 0, None if batch.maps is None else 0)
        call = vmap(one, in_dims=dims)
        return call(parameters, buffers, batch.inputs, batch.labels, batch.maps)

    return every


def _train_epoch(
    members: Sequence[_Member], stack: Stack, loss: _Loss, *, epoch: int, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """One epoch of all; per run the loss and the size of each batch, float64 on the host."""
    for member in members:
        member.net.train()
    num_steps = max(member.steps_per_epoch for member in members)
    kind = members[0].run.training.optimizer
    dtype = next(iter(stack.learnt.values())).dtype
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
    for step in range(num_steps):
        given = [next(one, None) for one in served]
        for place, batch in enumerate(given):
            sizes[step, place] = 0 if batch is None else len(batch.inputs)
        losses[step] = _train_step(given, stack, loss, kind=kind, factors=factors[step])
    values = losses.double().cpu()
    found = []
    for place, member in enumerate(members):
        taken = member.steps_per_epoch
        member.steps += taken
        found.append((values[:taken, place], sizes[:taken, place]))
    return found


def _train_step(
    given: Sequence[Batch | None],
    stack: Stack,
    loss: _Loss,
    *,
    kind: OptimizerName,
    factors: Tensor,
) -> Tensor:
    """One step of every run that has a batch; losses [R], 0 where there was none.

    Batches of one size make one call: at the end of an epoch some runs have a shorter batch, or
    none left.
    """
    groups: dict[int, list[int]] = {}
    for place, batch in enumerate(given):
        if batch is not None:
            groups.setdefault(len(batch.inputs), []).append(place)
    losses = factors.new_zeros(len(given))
    for places in groups.values():
        whole = len(places) == len(given)
        chosen = torch.tensor(places).to(factors.device, non_blocking=True)
        part = stack if whole else stack.select(chosen)
        values = loss({**part.learnt, **part.frozen}, part.buffers, _joined(given, places))
        gradients = torch.autograd.grad(values.sum(), list(part.learnt.values()), allow_unused=True)
        with torch.no_grad():
            update(kind, part.learnt, gradients, part.moments, factors[chosen])
            losses.index_copy_(0, chosen, values.detach())
            if not whole:
                put_back(stack, part, chosen)
    return losses


def _joined(given: Sequence[Batch | None], places: Sequence[int]) -> Batch:
    chosen = [batch for place in places if (batch := given[place]) is not None]
    maps = [batch.maps for batch in chosen if batch.maps is not None]
    return Batch(
        torch.stack([batch.inputs for batch in chosen]),
        torch.stack([batch.labels for batch in chosen]),
        torch.stack(maps) if maps else None,
    )


def _not_finite(run: Run, values: Tensor, *, epoch: int) -> FloatingPointError | None:
    """The error that `fcdd.training.train_epoch` raises of these losses, in the same words."""
    if bool(values.isfinite().all()):
        return None
    step = int((~values.isfinite()).nonzero()[0]) + 1
    return FloatingPointError(
        f"the loss is {values[step - 1].item()} in epoch {epoch}, step {step}; "
        f"lower training.lr ({run.training.lr:g}) or change data.preprocessing"
    )


def _test_auroc(member: _Member, stack: Stack, place: int, *, epoch: int) -> float | None:
    every = member.run.evaluation.test_every
    if every == 0 or epoch % every:
        return None
    stack.unstack(place, member.net)
    images, task = member.task.test_images, member.task
    return auroc(task.test_labels, image_scores(member.run, member.net, images, task=task))
