"""SGD with Nesterov momentum, and Adam, on parameters of R runs stacked to [R, ...].

The arithmetic is that of torch.optim, with a learning rate, weight decay and step of each run.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, assert_never

import torch
from torch import Tensor

Moments = dict[str, tuple[Tensor, ...]]  # per parameter two tensors of its shape; SGD uses one
OptimizerName = Literal["sgd", "adam"]

_MOMENTUM = 0.9
_BETAS = (0.9, 0.999)  # torch.optim.Adam's defaults, and its eps
_EPS = 1e-8


def coefficients(
    kind: OptimizerName, *, lr: float, weight_decay: float, steps: Iterable[int]
) -> Tensor:
    """float64 [number of steps, 3]: what `update` needs of one run at each of its `steps` (from 1):
    weight decay, step size, and the square root of Adam's second bias correction.

    Made on the host before an epoch, so that no step waits.
    """
    rows = []
    for step in steps:
        match kind:
            case "sgd":
                rows.append((weight_decay, lr, 1.0))
            case "adam":
                first, second = (1 - beta**step for beta in _BETAS)
                rows.append((weight_decay, lr / first, math.sqrt(second)))
            case unknown:
                assert_never(unknown)
    return torch.tensor(rows, dtype=torch.float64)


def update(
    kind: OptimizerName,
    parameters: dict[str, Tensor],
    gradients: Sequence[Tensor | None],
    moments: Moments,
    factors: Tensor,
) -> None:
    """One step in place. `factors` [R, 3] are one step of `coefficients` of each run; parameters
    without a gradient stay, as in torch.optim."""
    for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        if gradient is None:
            continue
        shape = (-1, *[1] * (parameter.dim() - 1))
        weight_decay, step_size, correction = (column.view(shape) for column in factors.unbind(1))
        first, second = moments[name]
        gradient = gradient + weight_decay * parameter
        match kind:
            case "sgd":
                first.mul_(_MOMENTUM).add_(gradient)
                parameter.sub_(step_size * (gradient + _MOMENTUM * first))
            case "adam":
                first.lerp_(gradient, 1 - _BETAS[0])
                second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
                parameter.sub_(step_size * first / ((second.sqrt() / correction) + _EPS))
            case unknown:
                assert_never(unknown)
