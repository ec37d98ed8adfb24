"""Parameters, buffers and moments of several runs of one net, as tensors [R, ...]."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcdd.stacked_optimisers import Moments


@dataclass(frozen=True)
class Stack:
    """Parameters, buffers and the optimiser's moments of R runs, each tensor [R, ...]."""

    learnt: dict[str, Tensor]
    frozen: dict[str, Tensor]
    buffers: dict[str, Tensor]
    moments: Moments

    def select(self, places: Tensor) -> "Stack":
        """The stack of the runs at `places` (int64 [k], on the device)."""

        def chosen(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: tensor.detach().index_select(0, places).requires_grad_(tensor.requires_grad)
                for name, tensor in tensors.items()
            }

        moments = {
            name: tuple(tensor.index_select(0, places) for tensor in pair)
            for name, pair in self.moments.items()
        }
        return Stack(chosen(self.learnt), chosen(self.frozen), chosen(self.buffers), moments)

    def unstack(self, place: int, net: nn.Module) -> None:
        """Copies what the run at `place` has learnt into its `net`."""
        state = {
            name: tensor.detach()[place]
            for tensors in (self.learnt, self.frozen, self.buffers)
            for name, tensor in tensors.items()
        }
        net.load_state_dict(state)


def stack_nets(nets: Sequence[nn.Module]) -> Stack:
    """The stack of nets of one architecture, its optimiser not started."""
    named = [dict(net.named_parameters()) for net in nets]
    buffers = [dict(net.named_buffers()) for net in nets]
    learnt, frozen = {}, {}
    for name, parameter in named[0].items():
        stacked = _stacked([one[name].detach() for one in named])
        if parameter.requires_grad:
            learnt[name] = stacked.requires_grad_()
        else:
            frozen[name] = stacked
    return Stack(
        learnt,
        frozen,
        {name: torch.stack([one[name] for one in buffers]) for name in buffers[0]},
        {name: (torch.zeros_like(t), torch.zeros_like(t)) for name, t in learnt.items()},
    )


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """[R, ...]; kernels of convolutions lie as one grouped convolution of channels-last images
    reads them."""
    if tensors[0].dim() != 4:
        return torch.stack(list(tensors))
    joined = torch.cat(list(tensors)).contiguous(memory_format=torch.channels_last)
    return joined.unflatten(0, (len(tensors), -1))


def put_back(stack: Stack, part: Stack, places: Tensor) -> None:
    """Copies `part`, which was selected from `stack` at `places`, back into it."""
    for whole, some in ((stack.learnt, part.learnt), (stack.buffers, part.buffers)):
        for name, tensor in whole.items():
            tensor.index_copy_(0, places, some[name])
    for name, pair in stack.moments.items():
        for tensor, some in zip(pair, part.moments[name], strict=True):
            tensor.index_copy_(0, places, some)
