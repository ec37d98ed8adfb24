"""One run trained by several processes, each on its rows of every batch.

Each process draws whole batches, the same ones, and passes its rows through its copy of the net.
Outputs are gathered, so that each computes the loss of the whole batch, whatever the objective;
gradients are summed, and BatchNorm takes its statistics over the whole batch. So a team trains as
one process does, but for the order of additions (docs/method.md, section 6).

PyTorch's SyncBatchNorm works on GPUs only; this works with every backend of torch.distributed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fcdd.config import Run
from fcdd.nets.build import architecture
from fcdd.nets.drawing import drawing_layers


@dataclass(frozen=True)
class Team:
    """The processes of torch.distributed's default group, and which of them this is."""

    rank: int
    size: int

    @classmethod
    def of_this_process(cls) -> "Team":
        """The team that this process has joined (torch.distributed.init_process_group)."""
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes what all have."""
        return self.rank == 0

    def rows(self, b: int) -> slice:
        """This process's rows of a batch of `b`: neighbours, none where b is smaller than team."""
        return slice(self.rank * b // self.size, (self.rank + 1) * b // self.size)

    def outputs(self, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        """The outputs [b, ...] of whole `inputs` [b, ...], of which each process computes its rows;
        gradients flow into those alone."""
        rows = self.rows(len(inputs))
        return _Gathered.apply(forward(inputs[rows]), rows.start, len(inputs))

    def leader_says(self, yes: bool) -> bool:
        """What the leading process passes as `yes`, in all of them."""
        word = torch.tensor([yes], dtype=torch.uint8, device=self._device())
        dist.broadcast(word, src=0)
        return bool(word.item())

    def check_same(self, number: int, *, what: str) -> None:
        """Raises RuntimeError unless `number`, which is `what`, is the same in all processes."""
        ends = torch.tensor([number, -number], device=self._device())
        dist.all_reduce(ends, op=dist.ReduceOp.MAX)
        most, least = int(ends[0]), -int(ends[1])
        if most != least:
            raise RuntimeError(f"the processes of a team differ in {what}: {least} to {most}")

    @staticmethod
    def _device() -> str:
        """Where messages have to lie: NCCL takes them from GPUs alone."""
        return "cuda" if dist.get_backend() == "nccl" else "cpu"

    def sum_gradients(self, net: nn.Module) -> None:
        """Replaces each gradient with its sum over the team, all in one message."""
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(whole)
        parts = whole.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))


def why_not_parallel(run: Run) -> str | None:
    """Why a team cannot train `run` as one process would; None where it can."""
    if run.training.batch_size < 2:
        return "training.batch_size is 1"
    with torch.device("meta"):  # only the kinds of layers count
        drawing = drawing_layers(architecture(run.net, size=run.data.shape[1:]))
    if drawing:
        return f"{run.net.name} has {drawing[0]}, which would draw other numbers in each process"
    return None


@contextmanager
def shared_norms(net: nn.Module) -> Iterator[None]:
    """Within it the BatchNorm of `net`, in training mode, takes the statistics of the team's whole
    batch. Modules stay the same objects, and are afterwards what they were."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    for module in norms:
        setattr(module, "forward", _shared(module))  # noqa: B010
    try:
        yield
    finally:
        for module in norms:
            del module.forward


def _shared(norm: _BatchNorm) -> Callable[[Tensor], Tensor]:
    own = norm.forward

    def forward(x: Tensor) -> Tensor:
        return _normalised(norm, x) if norm.training else own(x)

    return forward


def _normalised(norm: _BatchNorm, x: Tensor) -> Tensor:
    """BatchNorm of this process's rows `x` [b, c, ...] by mean and variance of all rows, the
    variance from the differences to the mean; statistics in float32 at least."""
    dims = [dim for dim in range(x.dim()) if dim != 1]
    shape = [1, -1] + [1] * (x.dim() - 2)
    wide = x if x.dtype == torch.float64 else x.float()
    number = wide.new_full((1,), x.numel() // x.shape[1])
    sums = _Sum.apply(torch.cat([wide.sum(dims), number]))
    number = sums[-1].detach()
    mean = sums[:-1] / number
    centred = wide - mean.view(shape)
    variance = _Sum.apply(centred.square().sum(dims)) / number
    if norm.track_running_stats:
        _follow(norm, mean.detach(), variance.detach() * number / (number - 1))
    result = centred * (variance + norm.eps).rsqrt().view(shape)
    if norm.affine:
        result = result * norm.weight.view(shape) + norm.bias.view(shape)
    return result.to(x.dtype)


@torch.no_grad()
def _follow(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """The running statistics take a step towards those of a batch (variance by n - 1)."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share: Any = norm.momentum  # None: the mean over all batches
    if share is None:
        share = 1 / norm.num_batches_tracked.to(mean.dtype)
    norm.running_mean.lerp_(mean, share)
    norm.running_var.lerp_(variance, share)


class _Sum(torch.autograd.Function):
    """The sum over the team; its gradient is the sum over the team of what flows back."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole


class _Gathered(torch.autograd.Function):
    """The rows of all processes, one after the other. Each computes the same loss of all of them,
    so a row's gradient is in the process that it came from, and not to be summed."""

    @staticmethod
    def forward(ctx: Any, part: Tensor, start: int, b: int) -> Tensor:
        ctx.rows = slice(start, start + len(part))
        whole = part.new_zeros((b, *part.shape[1:]))
        whole[ctx.rows] = part
        dist.all_reduce(whole)  # every row has one process that is not 0 there: exact
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0][ctx.rows].contiguous(), None, None
