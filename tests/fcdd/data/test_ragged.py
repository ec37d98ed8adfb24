"""Images of different sizes in one buffer: packing, selecting, cropping."""

import pickle

import numpy as np
import pytest
import torch

from fcdd.data.ragged import Ragged

SIZES = [(8, 8), (9, 12), (15, 10), (8, 31)]


def images(channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (channels, h, w), np.uint8) for h, w in SIZES]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_image_comes_back_as_it_was_packed():
    ragged = Ragged.from_images(images())
    assert len(ragged) == 4
    assert ragged.smallest == (8, 8)
    for place, image in enumerate(images()):
        np.testing.assert_array_equal(np.asarray(ragged[place]), image)
        np.testing.assert_array_equal(np.asarray(ragged.to("cpu")[place]), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_random_crops_are_parts_of_their_images(channels):
    packed = images(channels)
    ragged = Ragged.from_images(packed).to("cpu")
    indices = torch.tensor([3, 0, 2, 1, 3, 3, 1])
    crops = ragged.random_crops(indices, (7, 6), stream())
    assert crops.shape == (7, channels, 7, 6)
    assert crops.dtype == torch.uint8
    for index, crop in zip(indices.tolist(), crops.numpy(), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(packed[index], (7, 6), axis=(1, 2))  # pyright: ignore[reportCallIssue, reportArgumentType]
        equal = (windows == crop[:, None, None]).all(axis=(0, 3, 4))
        assert equal.sum() == 1


def test_random_crops_come_from_every_place_equally_often():
    ramp = np.arange(5 * 9, dtype=np.uint8).reshape(1, 5, 9)
    ragged = Ragged.from_images([ramp]).to("cpu")
    crops = ragged.random_crops(torch.zeros(12_000, dtype=torch.int64), (2, 7), stream())
    counts = torch.bincount(crops[:, 0, 0, 0].long(), minlength=45).view(5, 9)
    assert (counts[:4, :3] > 0).all()
    assert counts[4].sum() == counts[:, 3:].sum() == 0
    # 12 places, 1,000 expected each: standard deviation sqrt(12000 * 1/12 * 11/12) = 30.3.
    assert ((counts[:4, :3] - 1000).abs() < 5 * 30.3).all()


def test_random_crops_follow_their_stream():
    ragged = Ragged.from_images(images()).to("cpu")
    indices = torch.arange(4)
    one = ragged.random_crops(indices, (5, 5), stream(1))
    assert torch.equal(one, ragged.random_crops(indices, (5, 5), stream(1)))
    assert not torch.equal(one, ragged.random_crops(indices, (5, 5), stream(2)))


def test_centre_crops_lie_where_torchvision_puts_them():
    ragged = Ragged.from_images(images()).to("cpu")
    crops = ragged.centre_crops(torch.arange(4), (6, 6)).numpy()
    for (h, w), image, crop in zip(SIZES, images(), crops, strict=True):
        top, left = round((h - 6) / 2), round((w - 6) / 2)  # Python rounds halves to even
        np.testing.assert_array_equal(crop, image[:, top : top + 6, left : left + 6])


def test_whole_image_is_a_crop():
    ragged = Ragged.from_images(images()[:1]).to("cpu")
    for crop in (
        ragged.centre_crops(torch.tensor([0]), (8, 8)),
        ragged.random_crops(torch.tensor([0]), (8, 8), stream()),
    ):
        np.testing.assert_array_equal(crop[0].numpy(), images()[0])


def test_crop_larger_than_the_smallest_image_is_refused():
    ragged = Ragged.from_images(images()).to("cpu")
    with pytest.raises(ValueError, match="crops of 9x6 do not fit: the smallest height is 8"):
        ragged.centre_crops(torch.tensor([2]), (9, 6))
    with pytest.raises(ValueError, match="crops of 6x9 do not fit"):
        ragged.random_crops(torch.tensor([3]), (6, 9), stream())


@pytest.mark.parametrize("chosen", [[2, 0], torch.tensor([2, 0]), np.array([2, 0])])
def test_selected_images_stand_in_a_buffer_of_their_own(chosen):
    for ragged in (Ragged.from_images(images()), Ragged.from_images(images()).to("cpu")):
        part = ragged.select(chosen)
        assert len(part) == 2
        assert len(part.pixels) == 3 * (15 * 10 + 8 * 8)
        np.testing.assert_array_equal(np.asarray(part[0]), images()[2])
        np.testing.assert_array_equal(np.asarray(part[1]), images()[0])


def test_selection_by_truth_keeps_the_order_and_knows_its_smallest_image():
    part = Ragged.from_images(images()).select(np.array([False, True, True, False]))
    assert part.smallest == (9, 10)
    np.testing.assert_array_equal(np.asarray(part[1]), images()[2])


def test_arrays_are_not_copied_to_become_tensors_even_if_they_are_read_only():
    ragged = Ragged.from_images(images())
    assert isinstance(ragged.pixels, np.ndarray)
    ragged.pixels.flags.writeable = False
    moved = ragged.to("cpu")
    assert isinstance(moved.pixels, torch.Tensor)
    assert moved.pixels.data_ptr() == ragged.pixels.ctypes.data


def test_buffer_leaves_the_pickle_stream_out_of_band():
    ragged = Ragged.from_images(images())
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(ragged, protocol=5, buffer_callback=buffers.append)
    assert ragged.pixels.nbytes in {buffer.raw().nbytes for buffer in buffers}
    again = pickle.loads(content, buffers=buffers)
    assert again.pixels.ctypes.data == ragged.pixels.ctypes.data  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "odd",
    [np.zeros((1, 4, 4), np.uint8), np.zeros((3, 4, 4), np.float32), np.zeros((4, 4), np.uint8)],
)
def test_images_of_another_kind_are_refused(odd):
    with pytest.raises(ValueError, match="cannot be packed with images of 3 channels"):
        Ragged.from_images([images()[0], odd])


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no images to pack"):
        Ragged.from_images([])
