"""Layers that draw random numbers while they train: dropout and stochastic depth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fcdd.config import Run
from fcdd.data.randomness import generator


@contextmanager
def seeded_layers(run: Run, *, epoch: int, device: torch.device) -> Iterator[None]:
    """Within it such layers draw from a stream of the run's seed and `epoch`, so that a resumed run
    equals an undisturbed one; PyTorch's global generators are left as they were.

    PyTorch's layers know only its global generators. Needed for CNN224_VGG* and AE224_VGG*, and for
    those trunks of FCDD_TRUNK that have such layers.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(generator(run.seed, f"layers of epoch {epoch}").initial_seed())
        yield


def drawing_layers(net: nn.Module) -> list[str]:
    """The types of the layers of `net` that draw random numbers while they train."""
    names = [type(module).__name__ for module in net.modules()]
    return [name for name in names if "Drop" in name or name == "StochasticDepth"]
