import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from fcdd.catalog import NoiseName
from fcdd.data.confetti import confetti
from fcdd.data.noise import noise
from fcdd.data.randomness import generator

NAMES: tuple[NoiseName, ...] = ("gaussian", "uniform", "solid", "blob", "mixed_blob", "confetti")


def draw(name: NoiseName, count: int = 64, *, shape: tuple[int, int, int] = (3, 60, 80)) -> Tensor:
    return noise(name, count, shape=shape, stream=generator(4, name))


def connected(image: np.ndarray) -> list[tuple[int, int]]:
    """Height and width of each connected part of a bool image."""
    labels = np.zeros(image.shape, np.int32)
    ndimage.label(image, output=labels)
    return [
        (rows.stop - rows.start, columns.stop - columns.start)
        for rows, columns in ndimage.find_objects(labels)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_noise_has_its_shape_and_follows_its_generator(name: NoiseName) -> None:
    first, again = draw(name, 5), draw(name, 5)
    assert first.shape == (5, 3, 60, 80)
    assert first.dtype == torch.int16
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])
    other = noise(name, 5, shape=(3, 60, 80), stream=generator(5, name))
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "confetti"])
def test_noise_for_gray_images(name: NoiseName) -> None:
    assert draw(name, 3, shape=(1, 28, 28)).shape == (3, 1, 28, 28)


def test_gaussian_noise_has_a_standard_deviation_of_64() -> None:
    values = draw("gaussian").double()
    n = values.numel()
    # Cutting to whole numbers makes |value| smaller by 1/2 on average: by 64 * 0.80 * 2 * 1/2 in
    # the variance, which is a standard deviation of 63.6.
    assert values.mean().item() == pytest.approx(0, abs=4 * 64 / n**0.5)
    assert values.std().item() == pytest.approx(63.6, abs=4 * 64 / (2 * n) ** 0.5 + 0.01)


def test_uniform_noise_has_every_level_equally_often() -> None:
    values = draw("uniform")
    counts = values.flatten().long().bincount(minlength=256).double()
    expected = values.numel() / 256
    assert len(counts) == 256
    assert ((counts - expected).abs() < 5 * expected**0.5).all()


def test_solid_noise_is_one_colour_per_image() -> None:
    values = draw("solid", 2000, shape=(3, 4, 4))
    assert torch.equal(values, values[:, :, :1, :1].expand_as(values))
    colours = values[:, :, 0, 0].double()
    assert colours.min() == 0 and colours.max() == 255
    assert colours.mean().item() == pytest.approx(127.5, abs=4 * 74 / 6000**0.5)
    # Channels are independent of each other.
    assert torch.corrcoef(colours.T).triu(1).abs().max() < 4 / 2000**0.5


def test_blobs_are_squares_of_6_px_with_the_published_density() -> None:
    values = draw("blob", 64, shape=(3, 240, 240))
    assert set(values.unique().tolist()) == {0, 255}
    assert torch.equal(values[:, 0], values[:, 1])
    # A pixel is free if none of the 36 centres that would cover it is one: each is one with p.
    covered = (values[:, 0] > 0).double().mean(dim=(1, 2))
    assert covered.mean().item() == pytest.approx(1 - 0.998**36, abs=4 * 0.0062 / 64**0.5 + 0.001)


def test_a_single_blob_lies_around_its_centre() -> None:
    small = draw("blob", 400, shape=(1, 28, 28))[:, 0] > 0
    assert bool(small.flatten(1).any(1).all())
    boxes = [connected(image) for image in small.numpy() if image.sum() == 36]
    assert len(boxes) > 50
    assert {box for found in boxes if len(found) == 1 for box in found} == {(6, 6)}
    # Even sides reach 2 px up and 3 px down of the centre: so 3 to 5 rows are left at the upper
    # border, 4 and 5 at the lower.
    rows = small.any(2)
    heights = [int(r.sum()) for r, image in zip(rows, small, strict=True) if image.sum() <= 36]
    assert min(heights) == 3


def test_mixed_blobs_add_a_white_layer_and_one_of_random_values() -> None:
    values = draw("mixed_blob", 100, shape=(3, 240, 240))
    assert values.min() == 0 and values.max() > 500
    assert (values[:, 0] != values[:, 1]).any()
    white = (values == 255).all(dim=1)
    assert (34, 34) in [box for image in white[:20].numpy() for box in connected(image)]
    # Two layers of 1.32 squares on average (0.576 without the images that have none).
    covered = (values > 0).any(dim=1).double().mean(dim=(1, 2)).mean().item()
    assert covered == pytest.approx(2 * 1.316 * 34**2 / 240**2 * 0.93, rel=0.1)


def test_confetti_is_that_of_its_module() -> None:
    ours = draw("confetti", 4, shape=(3, 240, 240))
    theirs = confetti(4, (240, 240), stream=generator(4, "confetti"), colours="mended")
    assert torch.equal(ours, theirs)
    with pytest.raises(ValueError, match="'confetti' is coloured, but images have 1 channel"):
        draw("confetti", 4, shape=(1, 28, 28))
