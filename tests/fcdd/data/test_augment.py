import colorsys
import typing

import pytest
import torch
from torch import Tensor

from fcdd.catalog import PREPROCESSINGS, DataName, Preprocessing
from fcdd.config import Data
from fcdd.data.augment import crop_and_flip, jitter, prepare_test, prepare_train, shift_hue
from fcdd.data.constants import Normalisation, contrast_normalise
from fcdd.data.randomness import Streams, generator, streams
from fcdd.data.watermark import Mark, mark_region
from fcdd.parts import Watermark

CONSTANTS = Normalisation((-2.0,), (6.0,), (0.25,), (0.5,))
PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3, (0.0,) * 3, (1.0,) * 3)


def of(purpose: str, seed: int = 0) -> Streams:
    return streams(seed, purpose, device=torch.device("cpu"))


def data(name: DataName, preprocessing: Preprocessing) -> Data:
    own = {"classes": ("a",), "layout": "one_vs_rest"} if name == "custom" else {}
    if name == "mvtec_layout":
        own = {"classes": ("a",)}
    return Data.model_validate(
        {"name": name, "normal_class": 0, "preprocessing": preprocessing, **own}
    )


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


def test_all_256_levels_come_back_from_the_unit_interval() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    unit = prepare_test(levels, "none", Normalisation((0.0,), (1.0,), (0.0,), (1.0,)))
    assert torch.equal((unit * 255).to(torch.uint8), levels)  # cut, not rounded


def test_contrast_normalisation_by_hand() -> None:
    image = torch.tensor([[0.0, 1.0], [2.0, 5.0]], dtype=torch.float64).view(1, 1, 2, 2)
    # mean 2, deviations -2 -1 0 3, mean absolute value 1.5
    expected = [-4 / 3, -2 / 3, 0, 2]
    assert contrast_normalise(image).flatten().tolist() == pytest.approx(expected)
    assert contrast_normalise(torch.full((1, 1, 2, 2), 0.5)).abs().max() == 0


def test_preprocessing_applies_the_constants() -> None:
    batch = images()
    unit = batch.float() / 255
    local = (contrast_normalise(unit) + 2) / 8
    torch.testing.assert_close(prepare_test(batch, "lcnaug1", CONSTANTS), local)
    torch.testing.assert_close(prepare_test(batch, "aug1", CONSTANTS), (unit - 0.25) / 0.5)
    plain = prepare_train(batch, data("fmnist", "lcn"), CONSTANTS, streams=of("x"))
    torch.testing.assert_close(plain, local)


@pytest.mark.parametrize("name", typing.get_args(DataName))
def test_every_preprocessing_of_every_data_set_gives_inputs_and_follows_its_generator(
    name: DataName,
) -> None:
    for preprocessing in PREPROCESSINGS[name]:
        some = data(name, preprocessing)
        c, side = (1, 28) if some.shape[0] == 1 else (3, 32)
        batch = images(4, c, side)
        constants = Normalisation((-2.0,) * c, (6.0,) * c, (0.25,) * c, (0.5,) * c)
        first, again, other = (
            prepare_train(batch, some, constants, streams=of("a", seed)) for seed in (1, 1, 2)
        )
        assert first.shape == batch.shape and first.dtype == torch.float32
        assert bool(first.isfinite().all())
        assert torch.equal(first, again)
        assert torch.equal(first, other) == (preprocessing in ("none", "lcn"))


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
    still = jitter(unit, strengths=torch.zeros(4), streams=of("j"))
    torch.testing.assert_close(still, unit)
    shaken = jitter(unit, strengths=torch.full((4,), 0.01), streams=of("j"))
    assert 0 < (shaken - unit).abs().max() < 0.1
    gray = jitter(unit[:, :1], strengths=torch.full((4,), 0.1), streams=of("j"))
    assert gray.shape == (64, 1, 8, 8)
    assert bool(((gray >= 0) & (gray <= 1)).all())


def test_jitter_has_a_strength_per_image_and_does_not_depend_on_its_neighbours() -> None:
    unit = torch.rand(30, 3, 224, 224, generator=generator(0, "jitter"))
    strengths = torch.zeros(30, 4)
    strengths[7] = 0.2
    shaken = jitter(unit, strengths=strengths, streams=of("j"))  # in parts of 6 images
    changed = (shaken - unit).abs().amax(dim=(1, 2, 3))
    assert changed[7] > 0.01
    assert changed[torch.arange(30) != 7].max() < 1e-5


def test_jitter_of_mvtec_is_strong_or_weak_by_a_coin() -> None:
    # On gray images contrast, saturation and hue change nothing, and flat images get no noise: what
    # is left is the brightness, up to 4 % or up to 0.5 %.
    n = 2000
    flat = torch.full((n, 3, 4, 4), 128, dtype=torch.uint8)
    out = prepare_train(flat, data("mvtec", "aug1"), PLAIN, streams=of("shaken"))
    assert (out - out[:, :1, :1, :1]).abs().max() < 1e-5
    change = (out[:, 0, 0, 0] / (128 / 255) - 1).abs()
    assert change.max() <= 0.0401
    # Strong ones exceed 0.5 % with 7 of 8.
    beyond = (change > 0.00501).double().mean().item()
    assert beyond == pytest.approx(0.5 * 7 / 8, abs=4 * 0.5 / n**0.5)


def test_noise_of_mvtec_comes_by_a_coin_and_is_a_tenth_of_the_images_deviation() -> None:
    # Half dark, half bright: a standard deviation of 0.25.
    n = 1000
    halves = torch.full((n, 3, 16, 16), 64, dtype=torch.uint8)
    halves[:, :, 8:] = 192
    out = prepare_train(halves, data("textures", "aug1"), PLAIN, streams=of("noise"))
    spread = out[:, :, :8].std(dim=(2, 3)).mean(dim=1)
    noisy = spread > 0.002
    assert noisy.double().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / n**0.5)
    expected = 0.1 * 128 / 255 / 2
    assert spread[noisy].mean().item() == pytest.approx(expected, rel=0.03)
    assert spread[~noisy].max() < 1e-5


def test_images_of_mvtec_stay_within_0_and_1_before_they_are_normalised() -> None:
    batch = torch.zeros((64, 3, 16, 16), dtype=torch.uint8)
    batch[:, :, 4:] = 255
    out = prepare_train(batch, data("mvtec_layout", "aug1"), PLAIN, streams=of("clamp"))
    assert (out.min(), out.max()) == (0, 1)


def test_noise_of_photographs_has_a_deviation_of_a_thousandth() -> None:
    flat = torch.full((16, 3, 64, 64), 128, dtype=torch.uint8)
    for name in ("imagenet30", "custom", "pascal_voc"):
        out = prepare_train(flat, data(name, "aug1"), PLAIN, streams=of("noise"))
        spread = out.std(dim=(2, 3))
        assert spread.mean().item() == pytest.approx(0.001, rel=0.03)
        brightness = (out.mean(dim=(1, 2, 3)) / (128 / 255) - 1).abs()
        assert 0.001 < brightness.max() <= 0.0101


def test_black_centre_and_border_of_cifar10_are_where_the_paper_has_them() -> None:
    batch = images(3, 3, 32)
    constants = Normalisation((0.0,) * 3, (1.0,) * 3, (0.25,) * 3, (0.5,) * 3)
    black = -0.5  # (0 - 0.25) / 0.5
    centre = torch.zeros(32, 32, dtype=torch.bool)
    centre[6:26, 6:26] = True
    plain = prepare_train(batch, data("cifar10", "aug1"), constants, streams=of("b"))
    cases: list[tuple[Preprocessing, Tensor]] = [
        ("aug1_blackcenter", centre),
        ("aug1_blackcenter_inverted", ~centre),
    ]
    for preprocessing, hidden in cases:
        some = data("cifar10", preprocessing)
        out = prepare_train(batch, some, constants, streams=of("b"))
        assert bool((out[:, :, hidden] == black).all())
        assert torch.equal(out[:, :, ~hidden], plain[:, :, ~hidden])
        tested = prepare_test(batch, preprocessing, constants)
        assert torch.equal(tested, prepare_test(batch, "aug1", constants))


@pytest.mark.parametrize("name", ["cifar10", "mvtec", "imagenet30"])
def test_a_mark_stands_in_its_corner_whatever_the_augmentation(name: DataName) -> None:
    batch = images(40, 3, 32) // 2 + 60
    watermark = Watermark(kind="square", side_px=8, corner="bottom_left")
    chosen = torch.arange(40) % 2 == 0
    out = prepare_train(
        batch, data(name, "aug1"), PLAIN, streams=of("m"), mark=Mark(watermark, chosen)
    )
    region = mark_region(watermark, (32, 32))
    middle = out[:, :, 25:29, 3:7].mean(dim=(1, 2, 3))  # white within the frame
    assert middle[chosen].min() > 0.85 > middle[~chosen].max()
    frame = out[:, :, 23, 1:9].mean(dim=(1, 2))
    assert frame[chosen].max() < 0.05
    bare = prepare_train(batch, data(name, "aug1"), PLAIN, streams=of("m"))
    if name == "cifar10":  # elsewhere a mark changes the contrast a little
        assert torch.equal(out[:, :, ~region], bare[:, :, ~region])
    assert torch.equal(out[~chosen], bare[~chosen])
