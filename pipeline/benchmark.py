"""A named list of runs, and how a grid becomes one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product

from fcdd.config import Run, change


@dataclass(frozen=True)
class Resources:
    """What one run takes of a machine, beside its `threads`: 1 / runs_per_gpu of a GPU."""

    runs_per_gpu: int = 1

    def __post_init__(self) -> None:
        if self.runs_per_gpu < 1:
            raise ValueError(f"runs_per_gpu {self.runs_per_gpu} must be at least 1")


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
