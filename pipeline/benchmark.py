"""A named list of runs, and how a grid becomes one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

from fcdd.config import Run, change


@dataclass(frozen=True)
class Resources:
    """How runs share a machine, beside their `threads`; none of it decides a result.

    `runs_per_gpu` runs train on one GPU at once: as one stack (`fcdd.stacked`) where they can, else
    side by side; "auto" takes for each kind of run the number that a probe finds fastest.
    `gpus_per_run` GPUs train one run together, each with its share of every batch: for large
    images; nothing shares those GPUs. `compile`: nets are compiled and steps recorded as CUDA
    graphs, but not on several GPUs. All of this means nothing on a CPU. Raises ValueError for a
    number below 1, and if several runs are to share several GPUs.
    """

    runs_per_gpu: int | Literal["auto"] = "auto"
    gpus_per_run: int = 1
    compile: bool = True

    def __post_init__(self) -> None:
        given = self.runs_per_gpu
        if given != "auto" and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
            raise ValueError(
                f"runs_per_gpu {given!r} is neither 'auto' nor a whole number of at least 1; "
                "1 trains one run after the other"
            )
        several = self.gpus_per_run
        if not isinstance(several, int) or isinstance(several, bool) or several < 1:
            raise ValueError(f"gpus_per_run {several!r} is not a whole number of at least 1")
        if several > 1 and given not in ("auto", 1):
            raise ValueError(
                f"runs_per_gpu {given} and gpus_per_run {several} exclude each other; leave one "
                "of them out"
            )


@dataclass(frozen=True)
class Benchmark:
    """Runs that belong to one table or figure. Raises ValueError when there is none."""

    name: str
    runs: tuple[Run, ...]
    resources: Resources = field(default_factory=Resources)

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError(
                f"benchmark {self.name!r} has no runs; give expand() values to go over"
            )


def expand(base: Run, over: Mapping[str, Iterable[object]]) -> tuple[Run, ...]:
    """One Run per combination of the values of the dotted fields `over`; the last varies fastest.

    Raises ValueError for an unknown field or impossible value.
    """
    fields = list(over)
    combinations = product(*(list(values) for values in over.values()))
    return tuple(change(base, dict(zip(fields, values, strict=True))) for values in combinations)
