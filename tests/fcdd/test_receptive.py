import pytest
from torch import nn, zeros

from fcdd.receptive import Axis, Layer, advance, default_gauss_std, join, pixels, receptive_axis


def test_receptive_arithmetic_by_hand() -> None:
    # kernel 5, then pool 3 / stride 2 / padding 1: worked by hand.
    axis = receptive_axis(20, [Layer(5, 1, 2), Layer(3, 2, 1)])
    assert axis == Axis(num_cells=10, jump=2, extent=7, shift=0.0)
    # kernel 3 with dilation 2 after a pooling of 2: reaches over 5 cells of 2 pixels
    axis = receptive_axis(20, [Layer(2, 2, 0), Layer(3, 1, 0, dilation=2)])
    assert axis == Axis(num_cells=6, jump=2, extent=10, shift=4.5)


def test_too_few_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="too small for this net: of 3 cells a kernel over 5"):
        receptive_axis(3, [Layer(5, 1, 0)])


@pytest.mark.parametrize("ceil", [False, True])
def test_number_of_cells_is_pytorchs_for_every_window(ceil: bool) -> None:
    tried = 0
    for size in range(1, 14):
        for kernel, stride, dilation in ((1, 2, 1), (2, 2, 1), (3, 2, 1), (3, 3, 2), (4, 3, 1)):
            for padding in range(kernel // 2 + 1):
                pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)
                layer = Layer(kernel, stride, padding, dilation, ceil)
                try:
                    cells = pool(zeros(1, 1, size, size)).shape[-1]
                except RuntimeError:
                    with pytest.raises(ValueError, match="leaves no cell"):
                        advance(pixels(size), layer)
                    continue
                assert advance(pixels(size), layer).num_cells == cells
                tried += 1
    assert tried > 100


def test_a_join_sees_from_the_first_to_the_last_pixel_of_either_map() -> None:
    # pixels -2..2 and -1..6 of the first cell
    assert join([Axis(9, 4, 5, 0.0), Axis(9, 4, 8, 2.5)]) == Axis(9, 4, 9, 2.0)
    assert join([Axis(9, 4, 5, 0.0)]) == Axis(9, 4, 5, 0.0)


@pytest.mark.parametrize("other", [Axis(9, 8, 5, 0.0), Axis(8, 4, 5, 0.0)])
def test_maps_of_unlike_grids_are_not_joined(other: Axis) -> None:
    with pytest.raises(ValueError, match="joins 9 cells of 4 pixels with"):
        join([Axis(9, 4, 5, 0.0), other])


def test_default_gauss_std_follows_the_receptive_field() -> None:
    stds = [default_gauss_std(extent) for extent in (16, 18, 22, 32, 62)]
    assert stds == pytest.approx([1.1638, 1.2090, 1.2874, 10, 10], abs=1e-4)
