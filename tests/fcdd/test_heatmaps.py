import numpy as np
import pytest
import torch
from scipy.ndimage import convolve1d
from scipy.signal.windows import gaussian
from torch.nn import functional as F

from fcdd.heatmaps import (
    blur_matrix,
    gaussian_blur,
    gaussian_kernel,
    gaussian_upsampling,
    kth_smallest,
    normalise,
    upsample,
)
from fcdd.receptive import Axis

CNN28, LW3K, CNN32 = Axis(7, 4, 16, 1.5), Axis(8, 4, 22, 1.5), Axis(8, 4, 32, 1.5)
VGG, CNN224 = Axis(28, 8, 62, 3.5), Axis(28, 8, 59, 0.0)


@pytest.mark.parametrize(
    ("extent", "std", "total"),
    [
        (16, 1.2, 4.0159), (18, 1.2, 4.0159), (22, 1.2, 4.0159), (32, 1.2, 4.0159),
        (62, 8, 110.779), (62, 10, 169.119), (62, 12, 236.366), (59, 8, 401.944),
        (59, 12, 879.746),
    ],
)  # fmt: skip
def test_kernel_sums_are_the_published_ones(extent: int, std: float, total: float) -> None:
    kernel = gaussian_kernel(extent, std)
    assert kernel.shape == (extent,)
    assert kernel.sum().item() ** 2 == pytest.approx(total, rel=2e-4)
    assert kernel.max().item() == (1.0 if extent % 2 else 0.5)


@pytest.mark.parametrize(
    ("axis", "size", "std", "mean"),
    [
        (VGG, 224, 8, 1.635), (VGG, 224, 10, 2.459), (VGG, 224, 12, 3.392),
        (CNN224, 224, 8, 5.909), (CNN28, 28, 1.2, 0.240), (LW3K, 32, 1.2, 0.242),
    ],
)  # fmt: skip
def test_published_gain_on_a_map_of_ones(axis: Axis, size: int, std: float, mean: float) -> None:
    ones = torch.ones(1, 1, axis.num_cells, axis.num_cells, dtype=torch.float64)
    heatmap = upsample(ones, (axis, axis), size=(size, size), std=std, upsampling="published")
    assert heatmap.mean().item() == pytest.approx(mean, abs=6e-4)


@pytest.mark.parametrize(
    ("axis", "size", "std", "low", "high"),
    [
        (VGG, 224, 8, 1.72, 1.74), (VGG, 224, 10, 2.62, 2.65), (VGG, 224, 12, 3.63, 3.72),
        (CNN224, 224, 8, 6.28, 6.285), (CNN28, 28, 1.2, 0.23, 0.27), (LW3K, 32, 1.2, 0.23, 0.27),
    ],
)  # fmt: skip
def test_published_gain_away_from_the_border(
    axis: Axis, size: int, std: float, low: float, high: float
) -> None:
    ones = torch.ones(1, 1, axis.num_cells, axis.num_cells, dtype=torch.float64)
    heatmap = upsample(ones, (axis, axis), size=(size, size), std=std, upsampling="published")
    margin = 64 if size == 224 else 8
    interior = heatmap[..., margin:-margin, margin:-margin]
    assert low - 0.005 <= interior.min().item() <= interior.max().item() <= high + 0.005


def test_published_vgg_upsampling_dims_the_corner() -> None:
    ones = torch.ones(1, 1, 28, 28, dtype=torch.float64)
    heatmap = upsample(ones, (VGG, VGG), size=(224, 224), std=12, upsampling="published")[0, 0]
    assert heatmap[0, 0].item() == pytest.approx(0.99, abs=0.01)
    assert 3.62 < heatmap[100:124, 100:124].min().item() < heatmap[100:124].max().item() < 3.73


def test_one_cell_peaks_on_four_pixels_for_an_even_receptive_field() -> None:
    maps = torch.zeros(1, 1, 28, 28)
    maps[0, 0, 10, 12] = 1
    heatmap = upsample(maps, (VGG, VGG), size=(224, 224), std=12, upsampling="published")[0, 0]
    peaks = (heatmap == heatmap.max()).nonzero().tolist()
    assert heatmap.max().item() == pytest.approx(0.25)
    assert peaks == [[83, 99], [83, 100], [84, 99], [84, 100]]


@pytest.mark.parametrize(("axis", "size"), [(CNN28, 28), (LW3K, 32), (CNN32, 32), (CNN224, 224)])
def test_published_upsampling_equals_a_cropped_transposed_convolution(
    axis: Axis, size: int
) -> None:
    maps = torch.rand(2, 1, axis.num_cells, axis.num_cells, dtype=torch.float64)
    kernel = gaussian_kernel(axis.extent, 2.0)
    weight = torch.outer(kernel, kernel)[None, None]
    full = F.conv_transpose2d(maps, weight, stride=axis.jump)
    start = (axis.extent - 1) // 2 - int(axis.shift)
    full = F.pad(full, (0, size, 0, size))[..., start : start + size, start : start + size]
    ours = upsample(maps, (axis, axis), size=(size, size), std=2.0, upsampling="published")
    torch.testing.assert_close(ours, full)


def test_mended_upsampling_keeps_a_constant_map_up_to_the_border() -> None:
    maps = torch.full((1, 1, 8, 12), 0.7, dtype=torch.float64)
    axes = (Axis(8, 4, 22, 1.5), Axis(12, 4, 22, 1.5))
    heatmap = upsample(maps, axes, size=(32, 48), std=1.2)
    torch.testing.assert_close(heatmap, torch.full((1, 1, 32, 48), 0.7, dtype=torch.float64))


def test_upsampling_passes_gradients() -> None:
    maps = torch.rand(1, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m: upsample(m, (CNN28, CNN28), size=(28, 28), std=1.2), (maps,)
    )


def test_an_upsampling_built_once_gives_the_same_numbers() -> None:
    maps = torch.rand(2, 1, 8, 8)
    for rule in ("mended", "published"):
        built = gaussian_upsampling((LW3K, LW3K), size=(32, 32), std=1.2, upsampling=rule)
        again = upsample(maps, (LW3K, LW3K), size=(32, 32), std=1.2, upsampling=rule)
        assert torch.equal(built(maps), again)
        assert built.rows.dtype == torch.float32


def test_a_published_upsampling_passes_gradients_too() -> None:
    maps = torch.rand(1, 1, 7, 7, dtype=torch.float64, requires_grad=True)
    built = gaussian_upsampling(
        (CNN28, CNN28), size=(28, 28), std=1.2, upsampling="published", dtype=torch.float64
    )
    assert torch.autograd.gradcheck(built, (maps,))


@pytest.mark.parametrize(("extent", "side"), [(16, 15), (18, 17), (22, 21), (59, 59), (62, 61)])
def test_blur_is_the_normalised_gaussian_with_reflected_borders(extent: int, side: int) -> None:
    size, std = 64, 5.0
    kernel = gaussian(side, std)
    image = np.random.default_rng(0).random((size, size))
    expected = image
    for axis in (0, 1):  # scipy calls a reflection that does not repeat the border "mirror"
        expected = convolve1d(expected, kernel / kernel.sum(), axis=axis, mode="mirror")
    matrix = blur_matrix(extent, size, std).numpy()
    np.testing.assert_allclose(matrix @ image @ matrix.T, expected)


def test_blur_keeps_a_constant_heatmap_and_follows_height_and_width() -> None:
    axes = (Axis(7, 4, 16, 1.5), Axis(7, 4, 22, 1.5))
    blur = gaussian_blur(axes, size=(28, 40), std=None)
    torch.testing.assert_close(
        blur(torch.full((2, 1, 28, 40), 0.3)), torch.full((2, 1, 28, 40), 0.3)
    )
    # std None: the default of each receptive field, 1.1638 for 16 pixels and 1.2874 for 22.
    torch.testing.assert_close(blur.rows.double(), blur_matrix(16, 28, 1.1638), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        blur.columns.double(), blur_matrix(22, 40, 1.2874), atol=1e-4, rtol=0
    )


def test_a_blur_wider_than_twice_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="a blur of 61 pixels does not fit an image of 28"):
        blur_matrix(62, 28, 8.0)


def test_the_kth_smallest_value_is_the_published_one() -> None:
    values = torch.tensor([[5.0, 1.0, 4.0, 2.0, 3.0]])
    # k = int(0.85 * 5) = 4; int(0.1 * 5) = 0 becomes the first.
    found = [kth_smallest(values, quantile).item() for quantile in (0.85, 1.0, 0.1)]
    assert found == [4.0, 5.0, 1.0]
    for quantile in (0.0, 1.1):
        with pytest.raises(ValueError, match="must lie above 0 and at most at 1"):
            kth_smallest(values, quantile)


def test_normalisations_by_hand() -> None:
    maps = torch.tensor([[[1.0, 2.0], [3.0, 5.0]], [[10.0, 10.0], [20.0, 90.0]]])
    third = 0.75  # of 4 values the third, of 8 the sixth
    local = normalise(maps, how="local", quantile=third)
    assert local.tolist() == [[[0.0, 0.5], [1.0, 1.0]], [[0.0, 0.0], [1.0, 1.0]]]
    shown = normalise(maps, how="semi_global", quantile=third)  # 1 to 10
    assert shown.flatten().tolist() == pytest.approx([0, 1 / 9, 2 / 9, 4 / 9, 1, 1, 1, 1])
    reference = torch.tensor([0.0, 4.0, 40.0, 100.0])
    everything = normalise(maps, how="global", reference=reference, quantile=third)  # 0 to 40
    expected = [1 / 40, 2 / 40, 3 / 40, 5 / 40, 10 / 40, 10 / 40, 20 / 40, 1]
    assert everything.flatten().tolist() == pytest.approx(expected)


def test_constant_maps_become_zero_and_what_exceeds_a_constant_becomes_one() -> None:
    flat = torch.full((2, 3, 3), 0.4)
    assert normalise(flat, how="local", quantile=0.97).abs().max().item() == 0
    assert normalise(flat, how="semi_global", quantile=0.97).abs().max().item() == 0
    flat[0, 1, 1] = 2.0  # above the 85 % of equal values
    spike = normalise(flat, how="local", quantile=0.85)
    assert (spike[0, 1, 1].item(), spike.sum().item()) == (1.0, 1.0)


def test_only_global_normalisation_takes_a_reference() -> None:
    maps = torch.rand(2, 4, 4)
    with pytest.raises(ValueError, match="'global' needs reference"):
        normalise(maps, how="global", quantile=0.97)
    with pytest.raises(ValueError, match="'local' takes no reference"):
        normalise(maps, how="local", quantile=0.97, reference=maps)
