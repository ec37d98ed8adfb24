import torch
from torch import Tensor

from fcdd.data.malformed import as_images, changed, malform


def images(*values: int, shape: tuple[int, int, int] = (3, 10, 10)) -> Tensor:
    return torch.stack([torch.full(shape, value, dtype=torch.uint8) for value in values])


def spot(amount: int, n: int, *, pixels: int = 1) -> Tensor:
    """Noise for n images: `amount` in `pixels` values of the first rows, else 0."""
    noise = torch.zeros((n, 3 * 10 * 10), dtype=torch.int16)
    noise[:, :pixels] = amount
    return noise.view(n, 3, 10, 10)


def test_noise_is_added_and_clamped() -> None:
    result = malform(images(100, 250, 7), spot(20, 3, pixels=150))
    assert result.dtype == torch.uint8
    assert result[:, 0, 0, 0].tolist() == [120, 255, 27]
    assert result[:, 2, 9, 9].tolist() == [100, 250, 7]
    assert malform(images(7), spot(-20, 1, pixels=150))[0, 0, 0, 0] == 0


def test_noise_without_effect_on_black_is_inverted() -> None:
    # -50 on black changes nothing (mean 0 < 0.025), +50 does.
    assert malform(images(0), spot(-50, 1))[0, 0, 0, 0] == 50
    # On gray it changes the mean by 50 / 300 = 0.17, which is above 0.025: kept.
    assert malform(images(90), spot(-50, 1))[0, 0, 0, 0] == 40


def test_threshold_of_the_inversion_is_a_mean_change_of_0_025_grey_levels() -> None:
    # 300 values: a change of 7 is a mean of 0.0233, of 8 one of 0.0267.
    seven, eight = (malform(images(v), spot(-100, 1))[0, 0, 0, 0].item() for v in (7, 8))
    assert (seven, eight) == (107, 0)


def test_noise_is_kept_where_the_inverse_does_not_change_more() -> None:
    # Below the threshold both ways: -2 changes black by 0, +2 by 2; and white the other way round.
    assert malform(images(0), spot(-2, 1))[0, 0, 0, 0] == 2
    assert malform(images(255), spot(-2, 1))[0, 0, 0, 0] == 253
    # Equal changes: kept.
    assert malform(images(100), spot(-2, 1))[0, 0, 0, 0] == 98


def test_mean_is_signed_so_opposite_changes_cancel() -> None:
    noise = spot(-40, 1)
    noise[0, 0, 0, 1] = 40
    # +40 and -40 cancel to a mean of 0; the inverse cancels too, so the noise is kept.
    result = malform(images(100), noise)
    assert result[0, 0, 0, :2].tolist() == [60, 140]
    # On black only +40 is left either way: kept as it is.
    assert malform(images(0), noise)[0, 0, 0, :2].tolist() == [0, 40]


def test_each_image_is_judged_by_itself() -> None:
    result = malform(images(0, 200, 0), spot(-50, 3))
    assert result[:, 0, 0, 0].tolist() == [50, 150, 50]


def test_inputs_are_left_alone() -> None:
    nominal, noise = images(0, 90), spot(-50, 2)
    malform(nominal, noise)
    assert torch.equal(nominal, images(0, 90))
    assert torch.equal(noise, spot(-50, 2))


def test_map_is_one_where_any_channel_changed() -> None:
    before = images(10, 20)
    after = before.clone()
    after[0, 2, 3, 4] = 11
    after[1, :, 0, 0] = 0
    maps = changed(before, after)
    assert maps.shape == (2, 1, 10, 10)
    assert maps.dtype == torch.uint8
    assert maps.nonzero().tolist() == [[0, 0, 3, 4], [1, 0, 0, 0]]


def test_noise_alone_is_clamped_to_an_image() -> None:
    noise = torch.tensor([-300, -1, 0, 128, 255, 256, 900], dtype=torch.int16).view(1, 1, 1, 7)
    assert as_images(noise).flatten().tolist() == [0, 0, 0, 128, 255, 255, 255]
