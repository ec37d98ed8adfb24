import colorsys

import pytest
import torch
from torch import Tensor

from fcdd.data.augment import crop_and_flip, jitter, prepare_test, prepare_train, shift_hue
from fcdd.data.constants import Normalisation, compute_normalisation, contrast_normalise
from fcdd.data.task import generator

CONSTANTS = Normalisation((-2.0,), (6.0,), (0.25,), (0.5,))


def images(b: int = 6, c: int = 1, side: int = 28) -> Tensor:
    stream = generator(3, "test")
    return torch.randint(1, 256, (b, c, side, side), generator=stream, dtype=torch.uint8)


def test_crop_and_flip_moves_pixels_by_at_most_the_padding() -> None:
    batch = images()
    moved = crop_and_flip(batch, padding_px=2, stream=generator(0, "crop"))
    seen = set()
    for before, after in zip(batch[:, 0], moved[:, 0], strict=True):
        padded = torch.zeros(32, 32, dtype=torch.uint8)
        padded[2:30, 2:30] = before
        places = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            for window in [padded[top : top + 28, left : left + 28]]
            if torch.equal(window.flip(1) if mirrored else window, after)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 2
    assert {mirrored for _, _, mirrored in seen} == {False, True}


def test_contrast_normalisation_by_hand() -> None:
    image = torch.tensor([[0.0, 1.0], [2.0, 5.0]], dtype=torch.float64).view(1, 1, 2, 2)
    # mean 2, deviations -2 -1 0 3, mean absolute value 1.5
    expected = [-4 / 3, -2 / 3, 0, 2]
    assert contrast_normalise(image).flatten().tolist() == pytest.approx(expected)
    assert contrast_normalise(torch.full((1, 1, 2, 2), 0.5)).abs().max() == 0


def test_constants_are_computed_over_all_pixels_of_the_nominal_images() -> None:
    nominal = torch.tensor([[0, 255], [51, 102]], dtype=torch.uint8).view(2, 1, 1, 2)
    constants = compute_normalisation(nominal)
    assert constants.mean == pytest.approx((0.4,))
    assert constants.std == pytest.approx((0.432049,), abs=1e-6)  # of 0, 1, 0.2, 0.4, unbiased
    assert (*constants.lcn_min, *constants.lcn_max) == pytest.approx((-1, 1))
    with pytest.raises(ValueError, match="constant channel"):
        compute_normalisation(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))


def test_preprocessing_applies_the_constants() -> None:
    batch = images()
    unit = batch.float() / 255
    local = (contrast_normalise(unit) + 2) / 8
    torch.testing.assert_close(prepare_test(batch, "lcnaug1", CONSTANTS), local)
    torch.testing.assert_close(prepare_test(batch, "aug1", CONSTANTS), (unit - 0.25) / 0.5)
    plain = prepare_train(batch, "lcn", CONSTANTS, data="fmnist", stream=generator(0, "x"))
    torch.testing.assert_close(plain, local)


def test_augmentation_follows_its_generator() -> None:
    batch = images()
    first, again, other = (
        prepare_train(batch, "aug1", CONSTANTS, data="fmnist", stream=generator(seed, "a"))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_hue_shift_agrees_with_the_standard_library() -> None:
    batch = torch.rand(4, 3, 5, 5, generator=generator(0, "hue"), dtype=torch.float64)
    turns = torch.tensor([0.0, 0.1, -0.3, 0.5], dtype=torch.float64).view(4, 1, 1, 1)
    shifted = shift_hue(batch, turns)
    for image, turn, ours in zip(batch, turns.flatten().tolist(), shifted, strict=True):
        for pixel, result in zip(image.flatten(1).T.tolist(), ours.flatten(1).T, strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            assert result.tolist() == pytest.approx(expected, abs=1e-9)


def test_jitter_stays_within_its_strength_and_leaves_strength_zero_alone() -> None:
    unit = torch.rand(64, 3, 8, 8, generator=generator(0, "jitter"))
    still = jitter(unit, strength=0.0, stream=generator(0, "j"))
    torch.testing.assert_close(still, unit)
    shaken = jitter(unit, strength=0.01, stream=generator(0, "j"))
    assert 0 < (shaken - unit).abs().max() < 0.1
    gray = jitter(unit[:, :1], strength=0.1, stream=generator(0, "j"))
    assert gray.shape == (64, 1, 8, 8)
    assert bool(((gray >= 0) & (gray <= 1)).all())
