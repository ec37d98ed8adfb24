"""Rows crossed over two axes: the values of every cell, the cells, and which are bold."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from reports.aggregate import Cell, Group, Sample, class_cells, difference, mean_cell
from reports.axes import CLASS, DATA_SET, Axis
from reports.intervals import Resampling
from reports.methods import DATA
from reports.rows import Rows

Bold = Literal["best", "equivalent"]
Cells = tuple[tuple[Cell | None, ...], ...]
Groups = Mapping[tuple[int, int, int], Group]


def groups(rows: Rows, places: np.ndarray, axes: tuple[Axis, Axis], metric: str) -> Groups:
    """The values by (row, column, class number). Raises ValueError for two rows of one run."""
    numbers, seeds = (
        np.array(rows.levels[name], dtype=np.int64)[rows.codes[name][places]]
        for name in (CLASS, "seed")
    )
    by = (axes[0].ids, axes[1].ids, numbers, seeds)
    kept = np.flatnonzero(rows.present[places])
    kept = kept[np.lexsort([column[kept] for column in reversed(by)])]
    coded = np.stack([column[kept] for column in by], axis=1)
    same = (coded[1:] == coded[:-1]).all(axis=1)
    if same.any():
        one, other = places[kept[np.flatnonzero(same)[0] :][:2]].tolist()
        raise ValueError(
            f"two rows for {rows.describe(one)}: {rows.keys[one]} and {rows.keys[other]}; "
            "they differ in data or pool; report them from separate folders or remove one"
        )
    ends = np.flatnonzero((coded[1:, :3] != coded[:-1, :3]).any(axis=1)) + 1
    found = {}
    for part in np.split(kept, ends) if len(kept) else []:
        first = part[0]
        found[int(by[0][first]), int(by[1][first]), int(numbers[first])] = Group(
            sample=Sample(
                int(numbers[first]),
                tuple(seeds[part].tolist()),
                tuple(rows.metrics[metric][places[part]].tolist()),
            ),
            keys=tuple(rows.keys[place] for place in places[part].tolist()),
        )
    return found


def values_by_class(rows: Rows, places: np.ndarray, metric: str) -> dict[int, Group]:
    """The values of the rows at `places`, which are of one setting, by class number."""
    one = Axis("one", np.zeros(len(places), dtype=np.int64), ("",), (0,))
    return {
        number: group for (_, _, number), group in groups(rows, places, (one, one), metric).items()
    }


def cells(
    rows: Rows,
    places: np.ndarray,
    axes: tuple[Axis, Axis],
    metric: str,
    *,
    resampling: Resampling,
) -> Cells:
    """The cells [rows][columns] of two axes; with classes on one, a mean over them at its end.

    A mean over classes is None while one of them has no run: over the rest it would look like the
    mean over all.
    """
    found = groups(rows, places, axes, metric)
    shape = (len(axes[0].headings), len(axes[1].headings))
    if CLASS not in (axes[0].name, axes[1].name):
        expected = _expected_classes(rows, places, axes)
        return tuple(
            tuple(
                _mean(
                    found, [(row, column, n) for n in expected.get((row, column), ())], resampling
                )
                for column in range(shape[1])
            )
            for row in range(shape[0])
        )
    made = class_cells(list(found.values()), resampling=resampling)
    matrix: list[list[Cell | None]] = [[None] * shape[1] for _ in range(shape[0])]
    for (row, column, _), cell in zip(found, made, strict=True):
        matrix[row][column] = cell
    first = axes[0].name == CLASS
    numbers = [int(rows.value(CLASS, place)) for place in axes[0 if first else 1].examples]
    if len(numbers) > 1 and first:
        ends = [
            _mean(found, [(r, column, number) for r, number in enumerate(numbers)], resampling)
            for column in range(shape[1])
        ]
        matrix.append(ends)
    elif len(numbers) > 1:
        for row, line in enumerate(matrix):
            keys = [(row, c, number) for c, number in enumerate(numbers)]
            line.append(_mean(found, keys, resampling))
    return tuple(tuple(line) for line in matrix)


def _mean(
    found: Groups, keys: Sequence[tuple[int, int, int]], resampling: Resampling
) -> Cell | None:
    if not keys or any(key not in found for key in keys):
        return None
    return mean_cell([found[key] for key in keys], resampling=resampling)


def _expected_classes(
    rows: Rows, places: np.ndarray, axes: tuple[Axis, Axis]
) -> dict[tuple[int, int], list[int]]:
    """By cell, the classes that any run of its data set has: a cell that lacks one must show it."""
    expected = {}
    for group in rows.groups(DATA, places):
        numbers = rows.values(CLASS, group)
        inside = np.isin(places, group)
        pairs = np.unique(np.stack([one.ids[inside] for one in axes], axis=1), axis=0)
        expected.update({(int(row), int(column)): numbers for row, column in pairs})
    return expected


def bold(
    matrix: Cells, axes: tuple[str, str], *, rule: Bold, resampling: Resampling
) -> frozenset[tuple[int, int]]:
    """The cells to print bold among those that compete: in each row, or in each column where
    methods stand in rows. "best": the highest mean as printed; "equivalent": also all whose
    difference to the best has an interval that reaches 0. Nothing where nothing competes.
    """
    across = axes[1] not in (CLASS, DATA_SET)
    if not across and axes[0] in (CLASS, DATA_SET):
        return frozenset()
    lines = matrix if across else tuple(zip(*matrix, strict=True))
    found = set()
    for number, line in enumerate(lines):
        for place in _leaders(line, rule, resampling):
            found.add((number, place) if across else (place, number))
    return frozenset(found)


def _leaders(line: Sequence[Cell | None], rule: Bold, resampling: Resampling) -> list[int]:
    competing = [(place, cell) for place, cell in enumerate(line) if cell is not None]
    if len(competing) < 2:
        return []
    _, best = max(competing, key=lambda one: one[1].mean)
    leaders = []
    for place, cell in competing:
        printed_alike = f"{100 * cell.mean:.1f}" == f"{100 * best.mean:.1f}"
        if printed_alike or (rule == "equivalent" and _not_worse(best, cell, resampling)):
            leaders.append(place)
    return leaders


def _not_worse(best: Cell, cell: Cell, resampling: Resampling) -> bool:
    found = difference(best, cell, resampling=resampling)
    return found is not None and found.interval is not None and found.interval[0] <= 0
