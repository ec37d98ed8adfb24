import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from reports.panels import Shown
from reports.stability import highest, mean_ranks, measure


def run(heatmaps: np.ndarray, masks: np.ndarray | None = None, *, first: int = 0) -> Shown:
    """A run with anomalous images of ids from `first` on."""
    k, h, w = heatmaps.shape
    return Shown(
        ids=np.arange(first, first + k),
        labels=np.ones(k, dtype=np.uint8),
        images=np.zeros((k, 1, h, w), dtype=np.uint8),
        heatmaps=heatmaps.astype(np.float64),
        masks=masks,
        scores=np.zeros(k),
    )


def random_maps(seed: int, k: int = 3, side: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).random((k, side, side))


def test_equal_heatmaps_agree_entirely() -> None:
    maps = random_maps(0)
    found = measure([run(maps), run(3 * maps + 1)], label=1)
    assert found.overlap == 1
    assert found.rank_correlation == pytest.approx(1)
    assert (found.num_images, found.num_seeds, found.num_constant) == (3, 2, 0)


def test_opposite_heatmaps_disagree_entirely() -> None:
    maps = random_maps(0)
    found = measure([run(maps), run(-maps)], label=1)
    assert found.overlap == 0
    assert found.rank_correlation == pytest.approx(-1)


def test_unrelated_heatmaps_overlap_as_random_sets_do() -> None:
    found = measure([run(random_maps(0, 200)), run(random_maps(1, 200))], label=1)
    assert found.overlap == pytest.approx(0.05 / 1.95, abs=0.006)
    assert found.rank_correlation == pytest.approx(0, abs=0.02)


def test_overlap_of_three_seeds_by_hand() -> None:
    # 20 pixels: the highest 5 % is one pixel; seeds 0 and 1 share it, seed 2 has another.
    maps = np.zeros((3, 1, 4, 5))
    maps[0, 0, 0, 0] = maps[1, 0, 0, 0] = maps[2, 0, 3, 4] = 1
    found = measure([run(one) for one in maps], label=1)
    assert found.overlap == pytest.approx((1 + 0 + 0) / 3)


def test_ties_at_the_border_of_the_highest_pixels_are_not_broken_by_position() -> None:
    values = np.array([[3.0, 2, 2, 1, 0, 0, 0, 0, 0, 0]])
    assert highest(values, 0.2).tolist() == [[True, True, True, *[False] * 7]]
    with pytest.raises(ValueError, match="top 1 is not in"):
        highest(values, 1)


def test_rank_correlation_is_spearmans_with_ties() -> None:
    one, other = (np.round(random_maps(seed, 1), 1) for seed in (0, 1))
    found = measure([run(one), run(one + other)], label=1)
    expected, _ = spearmanr(one.ravel(), (one + other).ravel())
    assert found.rank_correlation == pytest.approx(expected)


def test_mean_ranks_are_those_of_scipy() -> None:
    values = np.round(np.random.default_rng(0).normal(size=(7, 50)), 1)
    assert np.array_equal(mean_ranks(values), rankdata(values, axis=1) - 1)


def test_constant_heatmaps_are_counted_and_left_out() -> None:
    maps = random_maps(0)
    flat = maps.copy()
    flat[1] = 5
    found = measure([run(maps), run(flat)], label=1)
    assert found.num_constant == 1
    assert found.overlap == 1


def test_mass_inside_the_mask_by_hand() -> None:
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[:, :2, :2] = True
    uniform, inside = np.ones((4, 4)), masks[0].astype(float)
    found = measure([run(np.stack([uniform, inside]), masks)], label=1)
    assert found.mass == pytest.approx((0.25 + 1) / 2)
    assert found.mask_share == pytest.approx(0.25)
    assert found.num_masks == 2
    assert found.overlap is None  # one seed
    assert found.rank_correlation is None


def test_heatmap_without_mass_counts_as_uniform_and_empty_masks_do_not_count() -> None:
    masks = np.zeros((2, 4, 4), dtype=bool)
    masks[0, 0] = True
    found = measure([run(np.zeros((2, 4, 4)), masks)], label=1)
    assert found.mass == pytest.approx(0.25)
    assert found.num_masks == 1


def test_only_images_common_to_all_seeds_are_compared() -> None:
    maps = random_maps(0, 4)
    found = measure([run(maps[:3]), run(maps[1:], first=1)], label=1)
    assert found.num_images == 2
    assert found.overlap == 1


def test_only_the_asked_label_is_measured() -> None:
    found = measure([run(random_maps(0))], label=0)
    assert found.num_images == 0
    assert found.mass is None


def test_heatmaps_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"different sizes \[\(10, 10\), \(20, 20\)\]"):
        measure([run(random_maps(0)), run(random_maps(0, side=10))], label=1)
