import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fcdd.catalog import DataName, Preprocessing
from fcdd.config import Data
from fcdd.data.geometry import (
    centre_crop,
    crop,
    fit_test,
    fit_train,
    nearest_places,
    resize,
    resize_maps,
)
from fcdd.data.randomness import generator

TEXTURES = Data(name="textures", normal_class=0, preprocessing="lcnaug1")
PUBLISHED = TEXTURES.model_copy(update={"resizing": "published"})


def custom(preprocessing: Preprocessing = "aug1", *, maps: bool = False) -> Data:
    return Data(
        name="custom",
        normal_class=0,
        preprocessing=preprocessing,
        classes=("a",),
        layout="one_vs_rest",
        maps=maps,
        size=(40, 48),
    )


def images(b: int, *, size: tuple[int, int]) -> Tensor:
    shape = (b, 3, *size)
    return torch.randint(0, 256, shape, generator=generator(0, "images"), dtype=torch.uint8)


def found(part: Tensor, whole: Tensor) -> list[tuple[int, int]]:
    """All places where `part` [c, h, w] lies in `whole` [c, H, W]."""
    h, w = part.shape[1:]
    windows = whole.unfold(1, h, 1).unfold(2, w, 1)  # c, rows, columns, h, w
    same = (windows == part[:, None, None]).all(4).all(3).all(0)
    return [(row, column) for row, column in same.nonzero().tolist()]


def test_crop_takes_each_image_at_its_own_place() -> None:
    batch, corners = images(3, size=(20, 24)), torch.tensor([[0, 0], [5, 2], [10, 4]])
    out = crop(batch, corners, (10, 20))
    for image, (row, column), part in zip(batch, corners.tolist(), out, strict=True):
        assert torch.equal(part, image[:, row : row + 10, column : column + 20])


def test_centre_crop_is_where_torchvision_has_it() -> None:
    # round((stored - size) / 2) with halves to even: 2.5 -> 2, 3.5 -> 4.
    batch = images(2, size=(15, 17))
    assert torch.equal(centre_crop(batch, (10, 10)), batch[:, :, 2:12, 4:14])
    with pytest.raises(ValueError, match="15x17 are smaller than the network's input 16x16; lower"):
        centre_crop(batch, (16, 16))


def test_published_resizing_takes_the_pixels_that_torch_takes() -> None:
    for old in (240, 248, 256, 68, 250):
        batch = images(2, size=(old, 31))
        for new in (224, 64, 100):
            ours = resize(batch, (new, 31), how="published")
            theirs = F.interpolate(batch.float(), size=(new, 31), mode="nearest").to(torch.uint8)
            assert torch.equal(ours, theirs)


def test_mended_resizing_is_bilinear_and_antialiased() -> None:
    batch = images(5, size=(30, 60))
    halves = resize(batch, (30, 30), how="mended")
    # Halving with a triangle of 4 pixels: weights 1, 3, 3, 1 of 8 inside.
    x = batch.double()
    soft = (x[..., 1:-2:2] + 3 * x[..., 2:-1:2] + 3 * x[..., 3::2])[..., :-1]
    soft = (soft + x[..., 4::2]) / 8
    assert (halves[..., 1:-1].double() - soft).abs().max() <= 0.51
    flat = torch.full((1, 3, 30, 60), 200, dtype=torch.uint8)
    assert bool((resize(flat, (17, 23), how="mended") == 200).all())
    assert torch.equal(resize(batch, (30, 60), how="mended"), batch)


def test_mended_maps_take_the_pixel_under_the_centre() -> None:
    assert nearest_places(6, 3, how="mended").tolist() == [1, 3, 5]
    assert nearest_places(6, 3, how="published").tolist() == [0, 2, 4]
    assert nearest_places(3, 6, how="mended").tolist() == [0, 0, 1, 1, 2, 2]
    assert nearest_places(240, 224, how="mended")[[0, 111, 112, 223]].tolist() == [0, 119, 120, 239]
    maps = torch.zeros((1, 1, 6, 6), dtype=torch.uint8)
    maps[0, 0, 1, 3] = 1
    assert resize_maps(maps, (3, 3), how="mended").nonzero().tolist() == [[0, 0, 0, 1]]


def test_images_with_maps_are_cropped_or_squashed_half_and_half() -> None:
    batch = images(200, size=(68, 68))
    maps = (batch[:, :1] > 200).to(torch.uint8)
    out, out_maps = fit_train(batch, maps, PUBLISHED, stream=generator(1, "geometry"))
    assert out.shape == (200, 3, 64, 64) and out_maps is not None
    squashed = resize(batch, (64, 64), how="published")
    is_squashed = (out == squashed).flatten(1).all(1)
    places = {
        place
        for image, part, plain in zip(batch, out, is_squashed.tolist(), strict=True)
        if not plain
        for place in found(part, image)
    }
    assert 0.36 < is_squashed.double().mean() < 0.64  # 4 standard deviations of 1/2 at n = 200
    assert len(places) > 20  # of 25, each equally likely, with about 100 crops
    assert {row for row, _ in places} == {column for _, column in places} == set(range(5))
    # Maps go where their images go: nearest pixels keep the relation between the two.
    assert torch.equal(out_maps, (out[:, :1] > 200).to(torch.uint8))


def test_mended_maps_stay_with_their_images_and_two_valued() -> None:
    batch = torch.zeros((60, 3, 68, 68), dtype=torch.uint8)
    batch[:, :, 20:40, 10:33] = 255
    maps = (batch[:, :1] > 0).to(torch.uint8)
    out, out_maps = fit_train(batch, maps, TEXTURES, stream=generator(1, "geometry"))
    assert out_maps is not None and set(out_maps.unique().tolist()) == {0, 1}
    wrong = ((out[:, :1] > 127) != (out_maps == 1)).sum(dim=(1, 2, 3))
    assert wrong.max() <= 4  # corners alone, where two edges are soft


def test_images_without_augmentation_come_as_test_images() -> None:
    batch = images(3, size=(68, 68))
    for preprocessing in ("none", "lcn"):
        data = Data(name="textures", normal_class=0, preprocessing=preprocessing)
        out, _ = fit_train(batch, None, data, stream=generator(0, "x"))
        assert torch.equal(out, fit_test(batch, data))
        assert torch.equal(out, resize(batch, (64, 64), how="mended"))


def test_imagenet_images_are_cropped_and_mirrored_and_tested_at_their_centre() -> None:
    data = custom()
    batch = images(60, size=(44, 53))
    out, out_maps = fit_train(batch, None, data, stream=generator(0, "crops"))
    assert out_maps is None
    num_mirrored, rows = 0, set()
    for image, part in zip(batch, out, strict=True):
        straight, mirrored = found(part, image), found(part.flip(2), image)
        assert len(straight) + len(mirrored) == 1
        num_mirrored += len(mirrored)
        rows |= {row for row, _ in straight + mirrored}
    assert 14 < num_mirrored < 46  # 4 standard deviations of 1/2 at n = 60
    assert rows == set(range(5))
    assert torch.equal(fit_test(batch, data), batch[:, :, 2:42, 2:50])
    assert torch.equal(fit_test(batch, custom("none")), resize(batch, (40, 48), how="mended"))


def test_custom_images_with_maps_are_mirrored_with_them_and_tested_whole() -> None:
    data = custom(maps=True).model_copy(update={"resizing": "published"})
    batch = images(80, size=(44, 53))
    maps = (batch[:, :1] > 200).to(torch.uint8)
    out, out_maps = fit_train(batch, maps, data, stream=generator(0, "crops"))
    assert out_maps is not None
    assert torch.equal(out_maps, (out[:, :1] > 200).to(torch.uint8))
    squashed = resize(batch, (40, 48), how="published")
    straight = (out == squashed).flatten(1).all(1)
    mirrored = (out.flip(3) == squashed).flatten(1).all(1)
    assert straight.sum() > 8 and mirrored.sum() > 8  # a quarter each
    assert 22 < int((straight | mirrored).sum()) < 58
    assert torch.equal(fit_test(batch, data), squashed)


@pytest.mark.parametrize("name", ["pascal_voc", "fmnist", "cifar10", "digits"])
def test_other_data_is_not_touched_and_draws_nothing(name: DataName) -> None:
    data = Data(name=name, normal_class=0, preprocessing="aug1")
    batch = images(2, size=data.shape[1:])[:, : data.shape[0]]
    stream = generator(0, "none")
    before = stream.get_state()
    out, _ = fit_train(batch, None, data, stream=stream)
    assert out is batch
    assert fit_test(batch, data) is batch
    assert torch.equal(stream.get_state(), before)


def test_images_smaller_than_the_network_are_refused() -> None:
    with pytest.raises(ValueError, match="30x30 are smaller than the network's input 40x48"):
        fit_train(images(1, size=(30, 30)), None, custom(), stream=generator(0, "x"))
