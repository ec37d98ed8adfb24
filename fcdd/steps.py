"""One step of training: a batch in, its loss out, the net changed."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

from fcdd import objectives
from fcdd.config import Run, change
from fcdd.data.batches import Batch
from fcdd.execution import EAGER, Execution, Recorder, compiled, cuda_graph, proven, replayed
from fcdd.heatmaps import Spread
from fcdd.nets.build import architecture
from fcdd.nets.drawing import drawing_layers
from fcdd.parallel import Team

logger = logging.getLogger(__name__)

Step = Callable[[Batch], Tensor]  # the loss, a scalar on the device, without a graph behind it

REHEARSED_STEPS = 6  # warm-up, the one that is recorded, and two more
REHEARSED_LR = 1e-4  # whatever the run's is: no loss may grow without bound on random inputs
_proven: dict[tuple[object, ...], Execution] = {}  # of this process: a worker does many runs


def make_step(
    run: Run,
    net: nn.Module,
    optimizer: Optimizer,
    *,
    upsampling: Spread | None,
    execution: Execution = EAGER,
    record: Recorder = cuda_graph,
    team: Team | None = None,
) -> Step:
    """The step of `run`. `upsampling` is the run's spread of anomaly maps, which the pixel-level
    loss needs. With a `team` it is shared by its processes, each of which takes the same batches.

    With graphs, `optimizer` must be made for them (`make_optimizer`); batches that are shorter, as
    the last one of an epoch, take the plain way.
    """
    forward = compiled(net) if execution.compiled else net

    def changed(
        call: Callable[..., Tensor], inputs: Tensor, labels: Tensor, maps: Tensor | None
    ) -> Tensor:
        if team:
            outputs = team.outputs(lambda rows: outputs_of(run, call, rows), inputs)
        else:
            outputs = outputs_of(run, call, inputs)
        batch = Batch(inputs, labels, maps)
        loss = objectives.loss(run, outputs, batch=batch, upsampling=upsampling)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if team:
            team.sum_gradients(net)
        optimizer.step()
        return loss.detach()

    def fast(inputs: Tensor, labels: Tensor, maps: Tensor | None) -> Tensor:
        return changed(forward, inputs, labels, maps)

    def recorded(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        with _capturable(optimizer):
            return record(work)

    whole = replayed(fast, record=recorded) if execution.graphs else fast

    def step(batch: Batch) -> Tensor:
        inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
        if len(inputs) == run.training.batch_size:
            return whole(inputs, batch.labels, batch.maps)
        return changed(net, inputs, batch.labels, batch.maps)

    return step


def outputs_of(run: Run, net: Callable[..., Tensor], inputs: Tensor) -> Tensor:
    """The net's outputs in training, by `training.precision`; the loss is always computed in the
    precision of parameters, float32."""
    match run.training.precision:
        case "float32":
            return net(inputs)
        case "bfloat16":
            # Without its cache of converted weights, each of which is used once, and which a graph
            # would go on reading.
            with torch.autocast(inputs.device.type, torch.bfloat16, cache_enabled=False):
                outputs = net(inputs)
            return outputs.float()
        case unknown:
            assert_never(unknown)


def make_optimizer(run: Run, net: nn.Module, *, graphs: bool = False) -> Optimizer:
    """SGD with Nesterov momentum 0.9, or Adam with L2 weight decay, on all parameters.

    Frozen ones are among them, as published: without a gradient neither optimiser moves them, and
    weight decay does not either. With `graphs` the learning rate is a tensor that recorded steps
    read (`set_rate`), and each step one kernel.
    """
    parameters = list(net.parameters())
    weight_decay = run.training.weight_decay
    lr: float | Tensor = run.training.lr
    if graphs:
        lr = torch.tensor(lr, dtype=torch.float32, device=parameters[0].device)
    fused = True if graphs else None
    match run.training.optimizer:
        case "sgd":  # Liznerski et al. 2021, App. D
            return SGD(
                parameters,
                lr=lr,
                weight_decay=weight_decay,
                momentum=0.9,
                nesterov=True,
                fused=fused,
            )
        case "adam":
            return Adam(parameters, lr=lr, weight_decay=weight_decay, fused=fused)
        case unknown:
            assert_never(unknown)


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Sets the learning rate; in place where it is a tensor, which recorded steps read."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        elif group["fused"]:  # of a checkpoint, which holds a number
            group["lr"] = torch.tensor(lr, dtype=torch.float32, device=group["params"][0].device)
        else:
            group["lr"] = lr


@contextmanager
def _capturable(optimizer: Optimizer) -> Iterator[None]:
    """Within it Adam may be recorded. Its states lie on the device as it is fused; the mark alone
    would make it warn of every step that is not recorded."""
    marked = [group for group in optimizer.param_groups if "capturable" in group]
    for group in marked:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in marked:
            group["capturable"] = False


def execution_for(run: Run, wanted: Execution, *, device: torch.device) -> Execution:
    """`wanted`, or what of it works here for runs like `run`, from a few steps on random inputs.

    Asked once per kind of run and process. Nets with layers that draw random numbers are trained
    the plain way.
    """
    if wanted == EAGER:
        return EAGER
    kind = (run.net, run.objective, run.heatmaps, run.data.shape, run.training.batch_size)
    kind = (*kind, run.training.optimizer, run.training.precision, wanted, str(device))
    if kind not in _proven:
        with torch.device("meta"):  # only the kinds of layers count
            drawing = drawing_layers(architecture(run.net, size=run.data.shape[1:]))
        if drawing:
            logger.warning("not trained as %r: %s draws random numbers", str(wanted), drawing[0])
            _proven[kind] = EAGER
            return EAGER
        _proven[kind] = proven(wanted, lambda way: _rehearse(run, way, device=device))
    return _proven[kind]


def random_batch(run: Run, *, device: torch.device) -> Batch:
    """A batch of noise; every second image, and every pixel of its map, is anomalous."""
    size, (c, h, w) = run.training.batch_size, run.data.shape
    labels = torch.arange(size, device=device) % 2 > 0
    maps = labels.float().view(-1, 1, 1, 1).expand(-1, 1, h, w).contiguous()
    return Batch(
        torch.randn((size, c, h, w), device=device),
        labels,
        maps if run.objective.maps else None,
    )


def _rehearse(run: Run, way: Execution, *, device: torch.device) -> Tensor:
    """The losses of a few steps of a net of its own; float64 [steps], on the host."""
    run = change(run, {"training.lr": REHEARSED_LR})
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        net = architecture(run.net, size=run.data.shape[1:]).to(device)
        net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        net.train()
        upsampling = objectives.spread(run, net, device=device) if run.objective.maps else None
        optimizer = make_optimizer(run, net, graphs=way.graphs)
        step = make_step(run, net, optimizer, upsampling=upsampling, execution=way)
        losses = [step(random_batch(run, device=device)) for _ in range(REHEARSED_STEPS)]
    return torch.stack(losses).double().cpu()
