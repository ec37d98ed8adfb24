import statistics

import numpy as np
import pytest

from reports.aggregate import Cell, Group, Sample, class_cells, difference, mean_cell
from reports.intervals import interval


def group(number: int, values: dict[int, float]) -> Group:
    sample = Sample(number, tuple(values), tuple(values.values()))
    return Group(sample, tuple(f"{number}-{seed}" for seed in values))


def one(number: int, values: dict[int, float]) -> Cell:
    return class_cells([group(number, values)])[0]


def mean(*groups: Group) -> Cell:
    found = mean_cell(groups)
    assert found is not None
    return found


def test_class_cells_are_those_of_each_class_alone() -> None:
    groups = [group(0, {0: 0.5, 1: 0.7}), group(1, {4: 0.9}), group(2, {0: 0.2, 1: 0.3, 2: 0.7})]
    together = class_cells(groups)
    assert [cell.n for cell in together] == [2, 1, 3]
    assert together == [class_cells([each])[0] for each in groups]
    assert together[2].std == pytest.approx(statistics.stdev([0.2, 0.3, 0.7]))
    assert together[1].std is None


def test_interval_of_a_metric_stays_within_its_range() -> None:
    low, high = one(0, {0: 0.9, 1: 0.99, 2: 1.0}).interval or (9.0, 9.0)
    assert 0.7 < low < 0.9
    assert high == 1.0


def test_mean_cell_needs_a_seed_that_all_classes_have() -> None:
    assert mean_cell([group(0, {0: 0.5}), group(1, {1: 0.5})]) is None
    assert mean_cell([]) is None
    cell = mean(group(0, {0: 0.5, 1: 0.6, 2: 0.9}), group(1, {1: 0.8, 2: 0.9, 3: 0.1}))
    assert cell.n == 2
    assert cell.mean == pytest.approx(0.8)
    assert cell.keys == ("0-1", "0-2", "1-1", "1-2")
    assert cell.std == pytest.approx(statistics.stdev([0.7, 0.9]))


def test_difference_over_common_seeds_is_paired() -> None:
    """A shift that is the same in every seed is certain, however much seeds differ."""
    low = {0: 0.1, 1: 0.5, 2: 0.9}
    high = {seed: value + 0.05 for seed, value in low.items()}
    found = difference(one(0, high), one(0, low))
    assert found is not None
    assert found.paired
    assert found.n == 3
    assert found.mean == pytest.approx(0.05)
    assert found.interval == pytest.approx((0.05, 0.05))


def test_difference_without_common_seeds_is_unpaired_and_wide() -> None:
    low = {0: 0.1, 1: 0.5, 2: 0.9}
    high = {seed + 3: value + 0.05 for seed, value in low.items()}
    found = difference(one(0, high), one(0, low))
    assert found is not None
    assert not found.paired
    assert found.mean == pytest.approx(0.05)
    assert found.interval is not None
    assert found.interval[0] < -0.5 < 0.5 < found.interval[1]


def test_difference_of_means_over_classes_pairs_within_classes() -> None:
    generator = np.random.default_rng(0)
    base = [{s: float(generator.random()) for s in range(4)} for _ in range(3)]
    gain = [{s: v + 0.1 * number for s, v in values.items()} for number, values in enumerate(base)]
    cells = [mean(*(group(n, values) for n, values in enumerate(each))) for each in (gain, base)]
    found = difference(cells[0], cells[1])
    assert found is not None
    assert found.mean == pytest.approx(0.1)  # of 0, 0.1 and 0.2
    assert found.interval == pytest.approx((0.1, 0.1))


def test_difference_uses_the_seeds_both_have() -> None:
    found = difference(one(0, {0: 0.5, 1: 0.7, 9: 0.0}), one(0, {0: 0.4, 1: 0.4, 5: 1.0}))
    assert found is not None
    assert (found.n, found.mean) == (2, pytest.approx(0.2))
    assert found.interval == interval([[0.5 - 0.4, 0.7 - 0.4]], [1.0])


def test_cells_of_different_classes_have_no_difference() -> None:
    assert difference(one(0, {0: 0.5}), one(1, {0: 0.5})) is None
