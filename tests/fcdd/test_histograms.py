from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcdd.histograms import metrics_from_histograms


def metrics(nominal: list[int], anomalous: list[int], overlap: list[float]) -> dict[str, float]:
    return metrics_from_histograms(
        np.arange(len(nominal), dtype=np.float32),
        np.array(nominal),
        np.array(anomalous),
        np.array(overlap),
    )


def test_areas_by_hand() -> None:
    # From above: 1 anomalous; 1 nominal, 1 anomalous; 3 nominal. One region of two pixels.
    found = metrics([3, 1, 0], [0, 1, 1], [0, 0.5, 0.5])
    assert found["auroc"] == pytest.approx((4 + 3.5) / 8)  # pairs in order, of 4 x 2
    assert found["ap"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # (0, 0.5) to (0.25, 1) to (1, 1), up to 0.3.
    assert found["pro"] == pytest.approx((0.25 * 0.75 + 0.05 * 1) / 0.3)
    assert found["auroc_bound"] == pytest.approx(0.5 / 8)
    assert found["pro_bound"] == pytest.approx(0.25 * 0.25 / 0.3)


def test_the_limit_of_pro_cuts_a_bin_by_a_straight_line() -> None:
    found = metrics([6, 4], [1, 1], [0.5, 0.5])
    # (0, 0) to (0.4, 0.5): at 0.3 the line is at 0.375.
    assert found["pro"] == pytest.approx(0.375 / 2)
    # The curve may lie anywhere in the bin: at 0.5 all the way, or at 0.
    assert found["pro_bound"] == pytest.approx(0.5 - 0.375 / 2)


def test_bins_that_cannot_be_resolved_are_wholly_uncertain() -> None:
    found = metrics([50], [50], [2.0])
    assert found["auroc"] == 0.5
    assert found["auroc_bound"] == 0.5
    assert found["ap"] == 0.5
    assert found["ap_bound"] == pytest.approx(0.5, abs=0.01)  # all anomalous pixels first


def test_separated_bins_have_no_uncertainty_of_auroc_and_pro() -> None:
    found = metrics([5, 0], [0, 5], [0, 1])
    assert (found["auroc"], found["ap"], found["pro"]) == (1, 1, 1)
    assert (found["auroc_bound"], found["ap_bound"], found["pro_bound"]) == (0, 0, 0)


def average_precision(groups: list[tuple[int, int]]) -> float:
    """Of (nominal, anomalous) counts per distinct value, from the highest value down."""
    total = sum(a for _, a in groups)
    nominal = anomalous = 0
    area = 0.0
    for n, a in groups:
        nominal, anomalous = nominal + n, anomalous + a
        area += a / total * anomalous / (nominal + anomalous) if a else 0.0
    return area


def auroc(groups: list[tuple[int, int]]) -> float:
    below = sum(n for n, _ in groups)
    pairs, area = below * sum(a for _, a in groups), 0.0
    for n, a in groups:
        below -= n
        area += a * (below + n / 2)
    return area / pairs


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=3).filter(
        lambda bins: sum(n for n, _ in bins) > 0 < sum(a for _, a in bins)
    )
)
@settings(deadline=None, max_examples=60)
def test_no_order_of_the_pixels_inside_their_bins_leaves_the_bounds(
    bins: list[tuple[int, int]],
) -> None:
    found = metrics([n for n, _ in bins], [a for _, a in bins], [float(a) for _, a in bins])
    orders = [set(permutations([(1, 0)] * n + [(0, 1)] * a)) for n, a in reversed(bins)]
    for order in product(*orders):
        groups = [pixel for inside in order for pixel in inside]
        assert abs(auroc(groups) - found["auroc"]) <= found["auroc_bound"] + 1e-12
        assert abs(average_precision(groups) - found["ap"]) <= found["ap_bound"] + 1e-12


def test_an_unordered_table_is_refused() -> None:
    ones = np.ones(2, np.int64)
    for lower in ([1.0, 0.5], [1.0, 1.0]):
        with pytest.raises(ValueError, match="bins must rise, each once"):
            metrics_from_histograms(np.array(lower, np.float32), ones, ones, ones.astype(float))
