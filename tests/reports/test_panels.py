from typing import Any

import numpy as np
import pytest
import torch

from fcdd import heatmaps as method
from reports import panels
from reports.panels import Reference, shown


def arrays(**changes: Any) -> dict[str, np.ndarray]:
    """What a heatmaps/<key>.npz holds: three images, ids not in order."""
    made = {
        "ids": np.array([7, 3, 5]),
        "labels": np.array([1, 0, 1], dtype=np.uint8),
        "images": np.stack([np.full((1, 2, 2), value, np.uint8) for value in (70, 30, 50)]),
        "heatmaps": np.stack([np.full((2, 2), value, np.float16) for value in (7, 3, 5)]),
        "scores": np.array([0.7, 0.3, 0.5]),
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def heat() -> np.ndarray:
    """Heatmaps with the odd ones: constant, and above its minimum in one pixel only."""
    maps = np.random.default_rng(0).exponential(size=(4, 10, 10))
    maps[1] = 2.5
    maps[2] = 1
    maps[2, 3, 3] = 4
    return maps


@pytest.mark.parametrize("quantile", [0.5, 0.97, 1.0])
def test_local_normalisation_is_that_of_the_method(quantile: float) -> None:
    ours = panels.normalise(heat(), quantile=quantile)
    theirs = method.normalise(torch.tensor(heat()), how="local", quantile=quantile)
    assert np.allclose(ours, theirs.numpy())
    assert ours[1].max() == 0
    assert ours[2].sum() == 1  # the quantile is 0 but for 1.0: the pixel above it becomes 1


@pytest.mark.parametrize("quantile", [0.5, 0.97, 1.0])
def test_semi_global_normalisation_is_that_of_the_method(quantile: float) -> None:
    ours = panels.normalise(heat(), by=panels.reference(heat(), quantile=quantile))
    theirs = method.normalise(torch.tensor(heat()), how="semi_global", quantile=quantile)
    assert np.allclose(ours, theirs.numpy())


def test_local_normalisation_by_hand() -> None:
    values = np.arange(10.0).reshape(1, 2, 5) + 100
    # int(0.5 * 10) = 5: the fifth smallest of 0 to 9 is 4.
    expected = [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]
    assert panels.normalise(values, quantile=0.5).ravel() == pytest.approx(expected)


def test_global_reference_knows_its_own_levels_only() -> None:
    found = Reference(np.array([0.0, 0.85, 0.97]), np.array([1.0, 3.0, 5.0]))
    assert found.at(0.97) == (1.0, 4.0)
    assert found.at(0.9) is None


def test_quantile_outside_of_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"quantile 0 is not in \(0, 1\]; published: 0.97"):
        panels.normalise(heat(), quantile=0)


def test_images_are_spread_over_the_scores_as_published() -> None:
    scores = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])  # places 9, 8, ... are the lowest
    # Parts of sizes 4, 3, 3: the first of the first, place int(1/2 * 3) of the second, the last.
    assert panels.spread_by_score(scores, 3).tolist() == [9, 4, 0]
    assert panels.spread_by_score(scores[:2], 6).tolist() == [1, 0]
    assert panels.spread_by_score(scores, 1).tolist() == [0]
    assert panels.spread_by_score(np.empty(0), 6).tolist() == []


def test_images_stand_from_lowest_to_highest_score_per_label() -> None:
    run = shown(arrays())
    chosen = panels.lowest_to_highest(run, {3: 0.3, 5: 0.9, 7: 0.1}, per_label=6)
    assert chosen.tolist() == [3, 7, 5]


def test_shown_images_are_sorted_by_id_with_all_that_belongs_to_them() -> None:
    masks = np.stack([np.full((2, 2), value) for value in (True, False, False)])
    run = shown(arrays(masks=masks, defects=np.array(["cut", "", "hole"])))
    assert run.ids.tolist() == [3, 5, 7]
    assert run.labels.tolist() == [0, 1, 1]
    assert run.images[:, 0, 0, 0].tolist() == [30, 50, 70]
    assert run.heatmaps[:, 0, 0].tolist() == [3, 5, 7]
    assert run.scores.tolist() == [0.3, 0.5, 0.7]
    assert run.defects == ("", "hole", "cut")
    assert run.masks is not None
    assert run.masks[:, 0, 0].tolist() == [False, False, True]


def test_selection_keeps_the_asked_order() -> None:
    run = panels.select(shown(arrays(defects=np.array(["cut", "", "hole"]))), np.array([7, 3]))
    assert run.images[:, 0, 0, 0].tolist() == [70, 30]
    assert run.defects == ("cut", "")


def test_only_ids_of_all_runs_are_common() -> None:
    other = shown(arrays(ids=np.array([5, 4, 3])))
    assert panels.common_ids([shown(arrays()), other]).tolist() == [3, 5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "the arrays labels are missing"),
        ({"ids": np.array([7, 7, 5])}, "an image id stands twice"),
        ({"scores": np.zeros(2)}, "2 scores do not fit 3 ids"),
        ({"masks": np.zeros((4, 2, 2), bool)}, "4 masks do not fit 3 ids"),
        ({"heatmaps": np.full((3, 2, 2), np.nan)}, "heatmaps hold NaN or infinity"),
    ],
)
def test_faulty_arrays_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shown(arrays(**changes))


def test_heatmap_colours_grow_lighter_with_the_value_also_in_gray() -> None:
    colours = panels.table().astype(float) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]  # ITU-R BT.709
    assert (np.diff(luminance) > -1e-3).all()
    assert luminance[-1] - luminance[0] > 0.8


def test_unknown_colour_map_is_refused() -> None:
    with pytest.raises(ValueError, match="no colour map 'rainbows'; known: inferno, jet"):
        panels.table("rainbows")


def test_overlay_shows_the_image_where_the_heatmap_is_zero() -> None:
    images = np.full((1, 3, 2, 2), 0, np.uint8)
    images[0, 0] = 90  # a mean of 30
    values = np.array([[[0.0, 1.0], [0.0, 0.0]]])
    found = panels.overlay(images, values, opacity=1.0)
    assert found[0, 0, 0].tolist() == [30, 30, 30]
    assert found[0, 0, 1].tolist() == panels.table()[255].tolist()
    half = panels.overlay(images, values, opacity=0.5)[0, 0, 1]
    assert half == pytest.approx((30 + panels.table()[255].astype(float)) / 2, abs=0.5)


def test_gray_images_get_three_equal_colours() -> None:
    found = panels.pictures(np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2))
    assert found.shape == (1, 2, 2, 3)
    assert found[0, 1, 0].tolist() == [2, 2, 2]


def test_tiles_are_resized_to_the_nearest_pixel_in_their_shape() -> None:
    tiles = np.arange(8).reshape(1, 2, 4)
    assert panels.resize(tiles, 4)[0, ::2, ::2].tolist() == tiles[0].tolist()
    assert panels.resize(tiles, 1).tolist() == [[[5, 7]]]


def test_strip_leaves_white_gaps_and_a_wider_one_before_a_group() -> None:
    tiles = np.zeros((3, 1, 2, 3), np.uint8)
    found = panels.strip(tiles, gap=1, groups=(2,), group_gap=3)[0, :, 0]
    assert found.tolist() == [0, 0, 255, 0, 0, 255, 255, 255, 0, 0]
