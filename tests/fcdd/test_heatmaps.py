import pytest
import torch
from torch.nn import functional as F

from fcdd.heatmaps import gaussian_kernel, upsample
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
