"""Comparing many methods over many classes: average ranks, Friedman test, post-hoc tests.

As recommended by Demšar 2006, "Statistical comparisons of classifiers over multiple data sets"
(JMLR 7): blocks are the classes (the data sets there), each with a method's mean over seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reports.aggregate import Table
from reports.axes import CLASS, DATA_SET

FEWEST_METHODS, MOST_METHODS = 3, 20  # more make neither a readable diagram nor useful tests
FEWEST_BLOCKS = 5  # below, no test on ranks can reach 5 %
LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """Methods from the best to the worst average rank (1 is best), and the tests between them.

    `wilcoxon` (two-sided signed ranks, Holm-corrected over all pairs) and `nemenyi` are p-values
    [k][k] with 1 on the diagonal. `critical_difference` of average ranks at 5 % (Nemenyi), `groups`
    the largest runs of methods that lie within it.
    """

    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    num_blocks: int
    friedman_statistic: float
    friedman_p: float
    wilcoxon: tuple[tuple[float, ...], ...]
    nemenyi: tuple[tuple[float, ...], ...]
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]


def from_table(table: Table) -> Ranks | None:
    """The ranks of the columns of a table of classes; None for fewer than 3 methods or 5 classes
    without gaps, and for more than 20 methods."""
    if table.axes[0] != CLASS or table.axes[1] in (CLASS, DATA_SET):
        return None
    end = len(table.rows) - table.mean_row
    blocks = [
        [cell.mean for cell in cells if cell is not None]
        for cells in table.cells[:end]
        if all(cell is not None for cell in cells)
    ]
    enough = FEWEST_METHODS <= len(table.columns) <= MOST_METHODS
    return compare(np.array(blocks), table.columns) if enough and _many(blocks) else None


def _many(blocks: Sequence[object]) -> bool:
    return len(blocks) >= FEWEST_BLOCKS


def average_ranks(values: np.ndarray) -> np.ndarray:
    """The mean over blocks of the ranks [k] of `values` [blocks, k]: 1 for the highest value, ties
    share the mean of their ranks."""
    from scipy.stats import rankdata

    return rankdata(-values, axis=1).mean(axis=0)


def compare(values: np.ndarray, methods: Sequence[str]) -> Ranks:
    """Ranks and tests of `values` [blocks, methods], higher is better. Raises ValueError for fewer
    than 3 methods or 2 blocks, and for values that are not finite."""
    from scipy.stats import friedmanchisquare, studentized_range

    if values.ndim != 2 or values.shape[1] < FEWEST_METHODS or values.shape[0] < 2:
        raise ValueError(f"ranks need 3 methods on 2 classes at least, not {values.shape[::-1]}")
    if not np.isfinite(values).all():
        raise ValueError("ranks need finite values; run the classes again that have none")
    num_blocks, k = values.shape
    ranks = average_ranks(values)
    order = np.argsort(ranks, kind="stable")
    values, ranks = values[:, order], ranks[order]
    names = tuple(methods[int(place)] for place in order)
    if bool((values == values[:, :1]).all()):
        statistic, p = 0.0, 1.0  # all alike: nothing to test
    else:
        statistic, p = (float(number) for number in friedmanchisquare(*values.T))
    unit = math.sqrt(k * (k + 1) / (6 * num_blocks))  # standard error of a difference of ranks
    quantile = float(studentized_range.ppf(1 - LEVEL, k, math.inf)) / math.sqrt(2)
    distances = np.abs(ranks[:, None] - ranks[None, :])
    nemenyi = studentized_range.sf(distances / unit * math.sqrt(2), k, math.inf)
    np.fill_diagonal(nemenyi, 1.0)
    return Ranks(
        methods=names,
        ranks=tuple(ranks.tolist()),
        num_blocks=num_blocks,
        friedman_statistic=statistic,
        friedman_p=p,
        wilcoxon=_matrix(wilcoxon_holm(values)),
        nemenyi=_matrix(np.clip(nemenyi, 0, 1)),
        critical_difference=quantile * unit,
        groups=_groups(names, ranks, quantile * unit),
    )


def _matrix(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def wilcoxon_holm(values: np.ndarray) -> np.ndarray:
    """p-values [k, k] of Wilcoxon's signed-rank test between the columns of `values` [blocks, k],
    corrected for all pairs by Holm; 1 where two columns are equal everywhere."""
    from scipy.stats import wilcoxon

    k = values.shape[1]
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    raw = []
    for i, j in pairs:
        # Rounded, so that 0.81 - 0.80 and 0.91 - 0.90 tie as they do on paper.
        differences = np.round(values[:, i] - values[:, j], 12)
        some = bool(differences.any())
        tested: Any = wilcoxon(differences) if some else None
        raw.append(float(tested.pvalue) if some else 1.0)
    found = np.ones((k, k))
    for (i, j), p in zip(pairs, holm(raw), strict=True):
        found[i, j] = found[j, i] = p
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method, in the same order."""
    found = [1.0] * len(p_values)
    reached = 0.0
    for step, place in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        reached = max(reached, min(1.0, (len(p_values) - step) * p_values[place]))
        found[place] = reached
    return found


def _groups(
    names: Sequence[str], ranks: np.ndarray, critical_difference: float
) -> tuple[tuple[str, ...], ...]:
    """The longest runs of neighbours in rank within the critical difference, of two or more."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = first
        while last + 1 < len(ranks) and ranks[last + 1] - ranks[first] < critical_difference:
            last += 1
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return tuple(tuple(names[a : b + 1]) for a, b in found)
