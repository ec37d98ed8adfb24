"""From rows to the cells of a table: mean, sample standard deviation, n and interval over seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reports.intervals import RESAMPLING, Interval, Resampling, interval, intervals


@dataclass(frozen=True)
class Sample:
    """The values of one nominal class by seed, seeds rising."""

    number: int
    seeds: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Cell:
    """Mean, sample standard deviation (ddof 1; None below two values), n and 95 % interval (None
    likewise), with the runs' keys and the values behind it.

    Of a mean over classes, `n` counts the seeds that all classes have; `std` is over those seeds'
    means over classes; `samples` holds one sample per class.
    """

    mean: float
    std: float | None
    n: int
    interval: Interval | None
    keys: tuple[str, ...]
    samples: tuple[Sample, ...] = field(repr=False)


@dataclass(frozen=True)
class Table:
    """Cells by row and column (None = no run). With `mean_row` the last row, with `mean_column` the
    last column is the mean over classes.

    `axes`: the fields along rows and columns. `common` holds the fields equal in all runs,
    `settings` by row or column the fields that differ, `bold` places (row, column).
    """

    stem: str
    metric: str
    data: str
    title: str
    axes: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    mean_row: bool
    mean_column: bool
    bold: frozenset[tuple[int, int]]
    notes: tuple[str, ...]
    common: Mapping[str, Any]
    settings: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, tuple[str, ...]]

    def present(self) -> list[tuple[int, int, Cell]]:
        """(row, column, cell) of every cell that has a run."""
        return [
            (row, column, cell)
            for row, cells in enumerate(self.cells)
            for column, cell in enumerate(cells)
            if cell is not None
        ]


@dataclass(frozen=True)
class Difference:
    """Mean difference of two cells with its interval (None below two seeds); `n` seeds, `paired` by
    class and seed or not (no common seeds)."""

    mean: float
    interval: Interval | None
    n: int
    paired: bool


def difference(one: Cell, other: Cell, *, resampling: Resampling = RESAMPLING) -> Difference | None:
    """`one` minus `other`, over the seeds that both have, else unpaired; None for other classes."""
    if [sample.number for sample in one.samples] != [sample.number for sample in other.samples]:
        return None
    weight = 1 / len(one.samples)
    common = set.intersection(*(set(s.seeds) for s in (*one.samples, *other.samples)))
    if common:
        strata = [
            [first - second for first, second in zip(_at(a, common), _at(b, common), strict=True)]
            for a, b in zip(one.samples, other.samples, strict=True)
        ]
        return Difference(
            mean=statistics.fmean(statistics.fmean(values) for values in strata),
            interval=interval(strata, [weight] * len(strata), resampling=resampling),
            n=len(common),
            paired=True,
        )
    both = [sample.values for sample in (*one.samples, *other.samples)]
    signs = [weight] * len(one.samples) + [-weight] * len(other.samples)
    return Difference(
        mean=one.mean - other.mean,
        interval=interval(both, signs, resampling=resampling),
        n=min(one.n, other.n),
        paired=False,
    )


def _at(sample: Sample, seeds: set[int]) -> list[float]:
    return [v for seed, v in zip(sample.seeds, sample.values, strict=True) if seed in seeds]


@dataclass(frozen=True)
class Group:
    """Values of one class, with the keys of their runs: what a cell is made of."""

    sample: Sample
    keys: tuple[str, ...]


def class_cells(groups: Sequence[Group], *, resampling: Resampling = RESAMPLING) -> list[Cell]:
    """A cell per group, their intervals computed together."""
    by_length: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        by_length.setdefault(len(group.sample.values), []).append(place)
    columns = {
        n: np.array([groups[place].sample.values for place in places]).T
        for n, places in by_length.items()
        if n > 1
    }
    found: dict[int, Interval] = {}
    for n, ranges in intervals(columns, resampling=resampling).items():
        for place, (low, high) in zip(by_length[n], ranges.tolist(), strict=True):
            found[place] = _clipped((low, high))
    return [
        Cell(
            mean=statistics.fmean(group.sample.values),
            std=_std(group.sample.values),
            n=len(group.sample.values),
            interval=found.get(place),
            keys=group.keys,
            samples=(group.sample,),
        )
        for place, group in enumerate(groups)
    ]


def mean_cell(groups: Sequence[Group], *, resampling: Resampling = RESAMPLING) -> Cell | None:
    """The mean over the classes of `groups`, over the seeds that all of them have; None without
    such a seed."""
    seeds = set.intersection(*(set(group.sample.seeds) for group in groups)) if groups else set()
    if not seeds:
        return None
    samples = tuple(
        Sample(g.sample.number, tuple(sorted(seeds)), tuple(_at(g.sample, seeds))) for g in groups
    )
    means = [statistics.fmean(values) for values in zip(*(s.values for s in samples), strict=True)]
    strata = [sample.values for sample in samples]
    found = interval(strata, [1 / len(strata)] * len(strata), resampling=resampling)
    return Cell(
        mean=statistics.fmean(means),
        std=_std(means),
        n=len(means),
        interval=_clipped(found) if found else None,
        keys=tuple(
            key
            for group in groups
            for key, seed in zip(group.keys, group.sample.seeds, strict=True)
            if seed in seeds
        ),
        samples=samples,
    )


def _std(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _clipped(ends: Interval) -> Interval:
    """Metrics end at 0 and 1, so their intervals do."""
    return max(ends[0], 0.0), min(ends[1], 1.0)
