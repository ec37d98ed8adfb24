"""Masks packed to bits."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fcdd.data.masks import Masks

ODD = np.random.default_rng(0).random((7, 11)) < 0.3
WIDE = np.random.default_rng(1).random((3, 40)) < 0.5
MASKS = Masks.pack([ODD, None, WIDE, np.zeros((2, 2), bool)], [(7, 11), (4, 5), (3, 40), (2, 2)])


def test_packed_maps_come_back_at_their_sizes():
    assert len(MASKS) == 4
    np.testing.assert_array_equal(MASKS[0], ODD)
    np.testing.assert_array_equal(MASKS[2], WIDE)
    assert MASKS[1].shape == (4, 5)
    assert MASKS[1].dtype == bool
    assert not MASKS[1].any()


def test_a_map_takes_a_bit_per_pixel_and_an_empty_one_nothing():
    assert [None if bits is None else bits.nbytes for bits in MASKS.packed] == [10, None, 15, None]


def test_maps_and_sizes_of_other_numbers_are_refused():
    with pytest.raises(ValueError, match="1 maps and 2 sizes do not belong together"):
        Masks.pack([ODD], [(7, 11), (7, 11)])


def test_selection_keeps_the_order_asked_for():
    chosen = MASKS.select(np.array([2, 0]))
    assert chosen.sizes == ((3, 40), (7, 11))
    np.testing.assert_array_equal(chosen[1], ODD)


def test_mended_resizing_takes_the_pixel_under_the_centre():
    # 8 pixels to 2: the centres of the new ones lie between pixels 1 and 2, 5 and 6.
    line = Masks.pack([np.arange(8)[None] == 2], [(1, 8)])
    assert line.resized(0, (1, 2)).tolist() == [[True, False]]
    # 6 pixels to 2: centres in the middle of pixels 1 and 4.
    line = Masks.pack([np.arange(6)[None] == 4], [(1, 6)])
    assert line.resized(0, (1, 2)).tolist() == [[False, True]]


def test_mended_resizing_does_not_shift_a_map():
    # A map and its mirror image stay mirror images, which the upper left corners do not give.
    half = np.zeros((9, 9), bool)
    half[:, :3] = True
    masks = Masks.pack([half, half[:, ::-1]], [(9, 9)] * 2)
    for side in (3, 5, 7, 9, 18):
        one, other = (masks.resized(i, (side, side)) for i in range(2))
        np.testing.assert_array_equal(one, other[:, ::-1])


@pytest.mark.parametrize("size", [(3, 5), (7, 11), (20, 31)])
def test_published_resizing_is_torchs_nearest_interpolation(size):
    unit = torch.from_numpy(ODD)[None, None].float()
    expected = F.interpolate(unit, size=size)[0, 0].bool().numpy()
    np.testing.assert_array_equal(MASKS.resized(0, size, how="published"), expected)


def test_published_resizing_rounds_as_torch_does_in_single_precision():
    # From 1000 to 240 pixels torch's factor is a little too small: exact division differs.
    line = np.zeros((1, 1000), bool)
    line[0, ::2] = True
    expected = F.interpolate(torch.from_numpy(line)[None].float(), size=240)[0].bool().numpy()
    masks = Masks.pack([line], [(1, 1000)])
    np.testing.assert_array_equal(masks.resized(0, (1, 240), how="published"), expected)
    exact = line[:, np.arange(240) * 1000 // 240]
    assert (expected != exact).any()


def test_same_size_changes_nothing():
    for how in ("mended", "published"):
        np.testing.assert_array_equal(MASKS.resized(0, (7, 11), how=how), ODD)


def test_arrays_tell_apart_what_differs():
    def texts(masks: Masks) -> tuple[bytes, ...]:
        return tuple(array.tobytes() for array in masks.arrays())

    one = Masks.pack([ODD, None], [(7, 11), (7, 11)])
    others = [
        Masks.pack([None, ODD], [(7, 11), (7, 11)]),
        Masks.pack([ODD.T, None], [(11, 7), (7, 11)]),
        Masks.pack([ODD, None], [(7, 11), (7, 12)]),
        Masks.pack([~ODD, None], [(7, 11), (7, 11)]),
    ]
    assert len({texts(masks) for masks in [one, *others]}) == 5
    assert texts(one) == texts(Masks.pack([ODD, ODD & False], [(7, 11), (7, 11)]))
