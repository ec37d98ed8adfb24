"""A stand-in for CUDA graphs that runs on a CPU and is as strict as they are."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Recording(TorchDispatchMode):
    """Keeps every operation with its arguments: tensors by place, numbers as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _writes(func):
            for tensor in _tensors((args, kwargs)):
                self._before.append((tensor, tensor.clone()))
        result = func(*args, **kwargs)
        self.operations.append((func, args, kwargs, result))
        return result

    def undo(self) -> None:
        """Puts everything that was written back: a graph is recorded without being executed."""
        with torch.no_grad():
            for tensor, before in reversed(self._before):
                tensor.copy_(before)


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _writes(func: Any) -> bool:
    noted = [a.alias_info for a in func._schema.arguments if a.alias_info is not None]
    return any(one.is_write for one in noted) or "batch_norm" in str(func)  # its statistics


def _is_view(func: Any) -> bool:
    return any(one.alias_info is not None for one in func._schema.returns) and not _writes(func)


@pytest.fixture
def record() -> Callable[[Callable[[], Tensor]], Callable[[], Tensor]]:
    """Records as `fcdd.execution.cuda_graph` does: operations are replayed on the same tensors, and
    whatever Python would decide anew each time stays as it was."""

    def recorded(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        recording = _Recording()
        with recording:
            output = work()
        recording.undo()

        def replay() -> Tensor:
            with torch.no_grad():
                for func, args, kwargs, result in recording.operations:
                    if _is_view(func):
                        continue
                    again = func(*args, **kwargs)
                    for old, new in zip(_tensors(result), _tensors(again), strict=True):
                        if old is not new:
                            old.copy_(new)
            return output

        return replay

    return recorded
