"""One step of several runs at once (docs/performance.md, "Stacks")."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from fcdd import objectives
from fcdd.config import Run
from fcdd.data.batches import Batch
from fcdd.execution import EAGER, Execution, Recorder, compiled, cuda_graph, proven, replayed
from fcdd.nets.build import architecture
from fcdd.stacked_nets import Stack, put_back, stack_nets
from fcdd.stacked_optimisers import coefficients, update
from fcdd.steps import REHEARSED_LR, REHEARSED_STEPS, outputs_of, random_batch

# Takes a batch of each run, None where it has none left, and the factors [R, 3] of this step
# (`fcdd.stacked_optimisers.coefficients`); returns the losses [R], 0 where there was no batch.
StackStep = Callable[[Sequence[Batch | None], Tensor], Tensor]

_proven: dict[tuple[object, ...], Execution] = {}


def make_stack_step(
    run: Run,
    net: nn.Module,
    stack: Stack,
    *,
    execution: Execution = EAGER,
    record: Recorder = cuda_graph,
) -> StackStep:
    """The step of `stack`, of whose runs `run` is one and `net` the architecture.

    Batches of one size make one call: at the end of an epoch some runs have a shorter batch, or
    none left. Only steps of all runs with whole batches are compiled or recorded.
    """
    kind = run.training.optimizer
    losses_of = _losses(run, net, device=next(iter(stack.learnt.values())).device)
    quick = compiled(losses_of) if execution.compiled else losses_of

    def change(part: Stack, given: Sequence[Tensor | None], call: Callable[..., Tensor]) -> Tensor:
        inputs, labels, maps, factors = given
        assert factors is not None
        values = call({**part.learnt, **part.frozen}, part.buffers, inputs, labels, maps)
        gradients = torch.autograd.grad(values.sum(), list(part.learnt.values()), allow_unused=True)
        with torch.no_grad():
            update(kind, part.learnt, gradients, part.moments, factors)
        return values.detach()

    def fast(*given: Tensor | None) -> Tensor:
        return change(stack, given, quick)

    whole = replayed(fast, record=record) if execution.graphs else fast

    def step(given: Sequence[Batch | None], factors: Tensor) -> Tensor:
        groups = _by_size(given)
        if len(groups) == 1 and len(groups.get(run.training.batch_size, ())) == len(given):
            return whole(*_joined(given, range(len(given))), factors)
        losses = factors.new_zeros(len(given))
        for places in groups.values():
            chosen = torch.tensor(places).to(factors.device, non_blocking=True)
            part = stack if len(places) == len(given) else stack.select(chosen)
            values = change(part, (*_joined(given, places), factors[chosen]), losses_of)
            with torch.no_grad():
                losses.index_copy_(0, chosen, values)
                if part is not stack:
                    put_back(stack, part, chosen)
        return losses

    return step


def _losses(run: Run, net: nn.Module, *, device: torch.device) -> Callable[..., Tensor]:
    """The losses [R] of stacked parameters, buffers (updated in place) and batches."""
    upsampling = objectives.spread(run, net, device=device) if run.objective.maps else None

    def one(
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        inputs: Tensor,
        labels: Tensor,
        maps: Tensor | None,
    ) -> Tensor:
        def forward(images: Tensor) -> Tensor:
            return functional_call(net, (parameters, buffers), (images,))

        outputs = outputs_of(run, forward, inputs)
        batch = Batch(inputs, labels, maps)
        return objectives.loss(run, outputs, batch=batch, upsampling=upsampling)

    def every(
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        inputs: Tensor,
        labels: Tensor,
        maps: Tensor | None,
    ) -> Tensor:
        dims = (0, 0, 0, 0, None if maps is None else 0)
        return vmap(one, in_dims=dims)(parameters, buffers, inputs, labels, maps)

    return every


def _by_size(given: Sequence[Batch | None]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for place, batch in enumerate(given):
        if batch is not None:
            groups.setdefault(len(batch.inputs), []).append(place)
    return groups


def _joined(
    given: Sequence[Batch | None], places: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Inputs [k, b, c, h, w], labels and maps of the batches at `places`. The inputs lie in memory
    as [b, h, w, k * c], which is what a grouped convolution of channels-last images reads."""
    chosen = [batch for place in places if (batch := given[place]) is not None]
    inputs = torch.stack([batch.inputs for batch in chosen], dim=1).flatten(1, 2)  # [b, k * c, ...]
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    maps = [batch.maps for batch in chosen if batch.maps is not None]
    return (
        inputs.unflatten(1, (len(chosen), -1)).movedim(1, 0),
        torch.stack([batch.labels for batch in chosen]),
        torch.stack(maps) if maps else None,
    )


def stack_execution_for(
    run: Run, wanted: Execution, *, num_runs: int, device: torch.device
) -> Execution:
    """`wanted`, or what of it works here for a stack of `num_runs` runs like `run`; asked once per
    kind of stack and process."""
    if wanted == EAGER:
        return EAGER
    kind = (run.net, run.objective, run.heatmaps, run.data.shape, run.training.batch_size)
    kind = (*kind, run.training.optimizer, run.training.precision, wanted, num_runs, str(device))
    if kind not in _proven:
        _proven[kind] = proven(
            wanted, lambda way: _rehearse(run, way, num_runs=num_runs, device=device)
        )
    return _proven[kind]


def _rehearse(run: Run, way: Execution, *, num_runs: int, device: torch.device) -> Tensor:
    """The losses of a few steps of nets of their own; float64 [steps, R], on the host."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        nets = [
            architecture(run.net, size=run.data.shape[1:]).to(device).train()
            for _ in range(num_runs)
        ]
        stack = stack_nets(nets)
        step = make_stack_step(run, nets[0], stack, execution=way)
        factors = coefficients(
            run.training.optimizer,
            lr=REHEARSED_LR,
            weight_decay=run.training.weight_decay,
            steps=range(1, REHEARSED_STEPS + 1),
        )
        factors = factors.float()[:, None].repeat(1, num_runs, 1).to(device)  # [steps, R, 3]
        losses = [
            step([random_batch(run, device=device) for _ in nets], one).clone() for one in factors
        ]
    return torch.stack(losses).double().cpu()
