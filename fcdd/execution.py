"""How the steps of training are executed: one operation after the other, compiled, or recorded
once as a CUDA graph and replayed. Decides no result, but for rounding on a GPU.

Nothing of this has run on a GPU yet (docs/performance.md), so each way proves itself before a run
relies on it: `proven` compares its losses with those of the plain one.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

WARM_UP = 3  # real steps before a graph is recorded: kernels are chosen, optimiser states made
_SAME = 0.05  # relative difference of losses that rounding (bfloat16, other kernels) may make

Function = Callable[..., Tensor]
# Makes of a function without arguments, which works on tensors that stay where they are, one that
# does the same again and returns the same tensor, overwritten.
Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


@dataclass(frozen=True)
class Execution:
    """`compiled`: the net by torch.compile, which fuses its layers. `graphs`: whole steps as CUDA
    graphs, so that Python launches one thing per step instead of hundreds. `processes`: how many
    share every step (`fcdd.parallel`)."""

    compiled: bool = False
    graphs: bool = False
    processes: int = 1

    def __str__(self) -> str:
        """The words of the column `execution`."""
        names = ("compiled", "CUDA graphs")
        used = [name for name, on in zip(names, (self.compiled, self.graphs), strict=True) if on]
        if self.processes > 1:
            used.append(f"{self.processes} processes")
        return ", ".join(used) or "eager"

    def ways(self) -> Iterator["Execution"]:
        """This one, and what to fall back to, one after the other; the plain one is left out."""
        if self.compiled:
            yield self
        if self.graphs:
            yield Execution(graphs=True)


EAGER = Execution()


def proven(wanted: Execution, rehearse: Callable[[Execution], Tensor]) -> Execution:
    """The first of `wanted` and its fall-backs that works and whose losses are those of the plain
    way, which is the last resort; logs why one is not used.

    `rehearse` trains a few steps from a state of its own, always the same, and returns the losses.
    Raises torch.OutOfMemoryError, which is no fault of a way.
    """
    if wanted == EAGER:
        return EAGER
    expected = rehearse(EAGER)
    for way in wanted.ways():
        try:
            found = rehearse(way)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ImportError, OSError) as error:  # of compilers, of what graphs lack
            reason = _brief(error)
        else:
            if torch.allclose(found, expected, rtol=_SAME, atol=1e-6):
                return way
            reason = f"its losses are {found.tolist()} instead of {expected.tolist()}"
        logger.error("NOT trained as %r, which may be many times slower: %s", str(way), reason)
    return EAGER


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"


def compiled(function: Function) -> Function:
    """`function` by torch.compile, for each shape anew; graphs are ours to record."""
    return torch.compile(function, dynamic=False)


def cuda_graph(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """`work` recorded, not executed; the function that it returns replays it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = work()

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


def replayed(step: Function, *, record: Recorder) -> Function:
    """`step`, whose arguments are tensors of the same shapes at each call, or None: recorded after
    WARM_UP calls and from then on replayed on copies of its arguments.

    It must read nothing else that changes place, write in place only what outlives it, and return
    a new tensor.
    """
    kept: list[Tensor | None] = []
    calls = 0
    replay: Callable[[], Tensor] | None = None

    def again(*given: Tensor | None) -> Tensor:
        nonlocal calls, replay
        if not kept:
            kept.extend(None if one is None else torch.empty_like(one) for one in given)
        for own, new in zip(kept, given, strict=True):
            if own is not None and new is not None:
                own.copy_(new, non_blocking=True)
        calls += 1
        if calls <= WARM_UP:
            return _aside(lambda: step(*kept), kept)
        if replay is None:
            replay = record(lambda: step(*kept))
        return replay().clone()  # the next one overwrites it

    return again


def _aside(work: Callable[[], Tensor], given: Sequence[Tensor | None]) -> Tensor:
    """`work` on a stream of its own, as what will be recorded must first run; waited for by the
    device, not by the host."""
    if not any(one is not None and one.is_cuda for one in given):
        return work()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        output = work()
    torch.cuda.current_stream().wait_stream(side)
    return output
