import math
import statistics

import numpy as np
import pytest

from reports.intervals import RESAMPLING, Resampling, interval, intervals


def covered(n: int, classes: int, *, trials: int) -> float:
    """The share of intervals that hold the true mean 0, with spreads that differ by class."""
    generator = np.random.default_rng([n, classes])
    spreads = np.linspace(0.2, 3.0, classes)[:, None]
    hits = 0
    for _ in range(trials):
        values = generator.normal(size=(classes, n)) * spreads
        low, high = interval(values.tolist(), [1 / classes] * classes) or (math.nan, math.nan)
        hits += low <= 0 <= high
    return hits / trials


@pytest.mark.parametrize(("n", "classes"), [(3, 1), (5, 1), (3, 10), (5, 10)])
def test_95_percent_intervals_cover_about_95_percent(n: int, classes: int) -> None:
    """A plain percentile bootstrap of three seeds covers 75 % at most."""
    assert 0.915 <= covered(n, classes, trials=600) <= 0.99


def test_interval_of_many_seeds_approaches_that_of_student() -> None:
    values = np.random.default_rng(3).normal(size=200)
    low, high = interval([values.tolist()], [1.0]) or (0.0, 0.0)
    error = statistics.stdev(values.tolist()) / math.sqrt(200)
    assert low == pytest.approx(values.mean() - 1.972 * error, abs=0.12 * error)
    assert high == pytest.approx(values.mean() + 1.972 * error, abs=0.12 * error)


def test_weights_scale_and_sign_the_strata() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 6)).tolist()
    low, high = interval([one, other], [1.0, -1.0]) or (0.0, 0.0)
    assert low < statistics.mean(one) - statistics.mean(other) < high
    halved = interval([one, other], [0.5, -0.5])
    assert halved == pytest.approx((low / 2, high / 2))


def test_many_samples_at_once_are_the_same_as_each_alone() -> None:
    generator = np.random.default_rng(1)
    groups = {3: generator.random((3, 5)), 7: generator.random((7, 2))}
    found = intervals(groups)
    for n, values in groups.items():
        for column in range(values.shape[1]):
            alone = interval([values[:, column].tolist()], [1.0])
            assert tuple(found[n][column]) == pytest.approx(alone)


def test_single_values_have_no_interval() -> None:
    assert interval([[0.5]], [1.0]) is None
    assert interval([[0.5, 0.6], [0.7]], [0.5, 0.5]) is None
    assert interval([], []) is None


def test_equal_values_have_an_interval_of_width_zero() -> None:
    assert interval([[0.5] * 4, [0.25] * 3], [0.5, 0.5]) == (0.375, 0.375)


def test_resampling_is_fixed_by_its_seed_and_not_by_the_order_of_calls() -> None:
    values = [np.random.default_rng(0).normal(size=10).tolist()]
    first = interval(values, [1.0])
    interval([[0.3, 0.4]], [1.0])
    assert interval(values, [1.0]) == first
    assert interval(values, [1.0], resampling=Resampling(seed=1)) != first


def test_level_is_used_and_told() -> None:
    values = [np.random.default_rng(0).normal(size=20).tolist()]
    wide = interval(values, [1.0]) or (0.0, 0.0)
    narrow = interval(values, [1.0], resampling=Resampling(level=0.5)) or (0.0, 0.0)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert RESAMPLING.describe() == (
        "95 % intervals: bootstrap over seeds, stratified by class, 2000 resamples from numpy "
        "generators of seed 0, widened for few seeds"
    )
