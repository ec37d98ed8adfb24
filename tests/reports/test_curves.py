import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from reports.curves import (
    band,
    precision_on_grid,
    precision_recall,
    roc,
    roc_on_grid,
    score_edges,
    shares,
)

LABELS = np.array([0, 0, 1, 0, 1, 1])
SCORES = np.array([0.1, 0.2, 0.2, 0.3, 0.4, 0.5])


def random_scores(*, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    labels = (generator.random(500) < 0.3).astype(np.uint8)
    scores = generator.normal(size=500) + labels
    return labels, np.round(scores, 1) if ties else scores


def test_roc_of_six_images_by_hand() -> None:
    # From the top: two anomalous, one nominal, then one of each at 0.2, one nominal.
    x, y = roc(LABELS, SCORES)
    assert x == pytest.approx([0, 0, 0, 1 / 3, 2 / 3, 1])
    assert y == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1, 1])


def test_precision_and_recall_of_six_images_by_hand() -> None:
    recall, precision = precision_recall(LABELS, SCORES)
    assert recall == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1, 1])
    assert precision == pytest.approx([1, 1, 2 / 3, 3 / 5, 1 / 2])


@pytest.mark.parametrize("ties", [False, True])
def test_curves_equal_those_of_scikit_learn(ties: bool) -> None:
    labels, scores = random_scores(ties=ties)
    x, y, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert np.allclose(roc(labels, scores), (x, y))
    precision, recall, _ = precision_recall_curve(labels, scores)
    ours = precision_recall(labels, scores)
    assert np.allclose(ours[0], recall[-2::-1])
    assert np.allclose(ours[1], precision[-2::-1])


def test_grid_takes_the_upper_end_of_a_vertical_rise_and_lines_between_thresholds() -> None:
    on_grid = roc_on_grid(LABELS, SCORES, np.array([0.0, 1 / 6, 1 / 3, 0.5, 1.0]))
    assert on_grid == pytest.approx([2 / 3, 2 / 3, 2 / 3, 5 / 6, 1])


def test_area_on_a_fine_grid_is_the_auroc() -> None:
    labels, scores = random_scores(ties=True)
    grid = np.linspace(0, 1, 20001)
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    auroc = np.mean(pairs > 0) + np.mean(pairs == 0) / 2
    assert np.trapezoid(roc_on_grid(labels, scores, grid), grid) == pytest.approx(auroc, abs=1e-4)


def test_area_of_the_precision_steps_is_the_average_precision() -> None:
    labels, scores = random_scores(ties=True)
    middles = (np.arange(100_000) + 0.5) / 100_000
    area = precision_on_grid(labels, scores, middles).mean()
    assert area == pytest.approx(average_precision_score(labels, scores), abs=1e-4)


def test_precision_at_a_recall_that_rounding_would_miss() -> None:
    labels = np.ones(11)
    labels[10] = 0
    scores = np.arange(11, 0, -1.0)
    grid = np.linspace(0, 1, 101)  # grid[30] is 0.3 as 3 / 10 is not
    on_grid = precision_on_grid(labels, np.where(labels == 1, scores, 8.5), grid)
    assert on_grid[30] == 1.0  # three anomalous images above 8.5
    assert on_grid[31] == pytest.approx(4 / 5)


def test_band_is_mean_and_sample_deviation_cut_to_the_limits() -> None:
    found = band([np.array([0.2, 0.9]), np.array([0.4, 1.0])], np.array([0.0, 1.0]))
    deviation = 0.1 * np.sqrt(2)
    assert found.mean == pytest.approx([0.3, 0.95])
    assert found.lower == pytest.approx([0.3 - deviation, 0.95 - deviation / 2])
    assert found.upper == pytest.approx([0.3 + deviation, 1.0])
    assert found.n == 2


def test_one_seed_has_no_band() -> None:
    found = band([np.array([0.2, 0.9])], np.array([0.0, 1.0]))
    assert found.lower is None
    assert found.upper is None


def test_faulty_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="scores hold NaN or infinity"):
        roc(LABELS, np.where(SCORES > 0.3, np.nan, SCORES))
    with pytest.raises(ValueError, match="the test set has one label"):
        roc(np.zeros(6), SCORES)
    with pytest.raises(ValueError, match="6 labels do not fit 5 scores"):
        precision_recall(LABELS, SCORES[:5])


def test_bins_are_logarithmic_above_zero_and_linear_otherwise() -> None:
    edges, logarithmic = score_edges([np.array([0.01, 1.0]), np.array([100.0])], bins=4)
    assert logarithmic
    assert edges == pytest.approx([0.01, 0.1, 1, 10, 100])
    edges, logarithmic = score_edges([np.array([0.0, 4.0])], bins=4)
    assert not logarithmic
    assert edges == pytest.approx([0, 1, 2, 3, 4])
    edges, _ = score_edges([np.array([1e-12, 1.0])], bins=5)
    assert edges[0] == pytest.approx(1e-5)


def test_equal_scores_get_bins_around_them() -> None:
    edges, _ = score_edges([np.array([2.0, 2.0])], bins=2)
    assert edges == pytest.approx([1.5, 2.0, 2.5])
    assert shares(np.array([2.0, 2.0]), edges).sum() == 1


def test_shares_sum_to_one_with_the_rest_in_the_outer_bins() -> None:
    found = shares(np.array([-5.0, 0.0, 0.5, 1.0, 2.0, 9.0]), np.array([0.0, 1.0, 2.0]))
    assert found == pytest.approx([3 / 6, 3 / 6])
