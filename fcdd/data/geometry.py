"""From stored images to the size of the network input, with their maps (docs/method.md section 4).

Images stay uint8; maps are uint8 [b, 1, h, w], 0 or 1, and stay so.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from fcdd.catalog import WITH_DEFECTS, Protocol
from fcdd.config import Data
from fcdd.data.pictures import nearest

Size = tuple[int, int]  # h w
_CHUNK_VALUES = 1 << 21  # resized at once: bounds memory, and on CPUs stays in the cache

# Digits, Fashion-MNIST and CIFAR-10 are cropped with padding, after the jitter (fcdd.data.augment);
# Pascal VOC keeps its watermark in its place (Liznerski et al. 2021, section 4.3).
_UNCHANGED = ("digits", "fmnist", "cifar10", "pascal_voc")
_MIRRORED = ("imagenet30", "custom")


def size_of(images: Tensor) -> Size:
    """(height, width) of images [b, c, h, w]."""
    return images.shape[-2], images.shape[-1]


def with_maps(data: Data) -> bool:
    """Whether images come with maps, which decides how they are brought to the network's size."""
    return data.name in WITH_DEFECTS or data.maps


def fit_test(images: Tensor, data: Data) -> Tensor:
    """uint8 [n, c, h, w]: test images at the network's size, themselves if they have it.

    The centre, for ImageNet-30 and custom data without maps; else squashed as `data.resizing` says,
    also with preprocessing "none".
    """
    size = data.shape[1:]
    if size_of(images) == size:
        return images
    if data.name in _MIRRORED and not with_maps(data) and data.preprocessing != "none":
        return centre_crop(images, size)
    return resize(images, size, how=data.resizing)


def fit_train(
    images: Tensor, maps: Tensor | None, data: Data, *, stream: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Training images at the network's size, and their maps with them.

    Data with maps: with probability 1/2 a random crop, else squashed as `data.resizing` says.
    ImageNet-30 and custom data without maps: a random crop. These two and custom data with maps are
    mirrored left-right with probability 1/2. Preprocessing "none" and "lcn", and all other data:
    as test images.
    """
    size = data.shape[1:]
    if data.preprocessing in ("none", "lcn") or data.name in _UNCHANGED:
        squashed_maps = None if maps is None else resize_maps(maps, size, how=data.resizing)
        return fit_test(images, data), squashed_maps
    device = images.device
    corners = _random_corners(images, size, stream)
    if with_maps(data):
        choose = torch.rand((len(images), 1, 1, 1), generator=stream, device=device) < 0.5
        squashed = resize(images, size, how=data.resizing)
        images = torch.where(choose, crop(images, corners, size), squashed)
        if maps is not None:
            squashed_maps = resize_maps(maps, size, how=data.resizing)
            maps = torch.where(choose, crop(maps, corners, size), squashed_maps)
    else:
        images = crop(images, corners, size)
        maps = None if maps is None else crop(maps, corners, size)
    if data.name in _MIRRORED:
        draws = torch.rand((len(images), 1, 1, 1), generator=stream, device=device)
        images = torch.where(draws < 0.5, images.flip(3), images)
        maps = None if maps is None else torch.where(draws < 0.5, maps.flip(3), maps)
    return images, maps


def _random_corners(images: Tensor, size: Size, stream: torch.Generator) -> Tensor:
    """int64 [b, 2]: row and column of the upper left corner of a crop, all places equally likely.
    Raises ValueError for images smaller than `size`."""
    _check_room(size_of(images), size)
    parts = [
        torch.randint(stored - wanted + 1, (len(images),), generator=stream, device=images.device)
        for stored, wanted in zip(size_of(images), size, strict=True)
    ]
    return torch.stack(parts, dim=1)


def crop(images: Tensor, corners: Tensor, size: Size) -> Tensor:
    """[b, c, h, w]: of each image the part of `size` from its upper left `corners` [b, 2] on."""
    b, c, height, width = images.shape
    h, w = size
    device = images.device
    planes = torch.arange(b * c, device=device).view(b, c, 1) * height
    rows = corners[:, :1] + torch.arange(h, device=device)  # [b, h]
    first = (planes + rows[:, None, :]) * width + corners[:, 1:, None]  # [b, c, h]
    # Whole rows are gathered from windows at every place of the memory, a view: 25 times as fast as
    # pixel by pixel on the CPU.
    windows = images.reshape(-1).unfold(0, w, 1)
    return windows.index_select(0, first.flatten()).view(b, c, h, w)


def centre_crop(images: Tensor, size: Size) -> Tensor:
    """The centre of images, where torchvision's CenterCrop has it (halves to even). Raises
    ValueError for images smaller than `size`."""
    stored = size_of(images)
    _check_room(stored, size)
    top, left = (round((s - wanted) / 2) for s, wanted in zip(stored, size, strict=True))
    return images[:, :, top : top + size[0], left : left + size[1]].contiguous()


def _check_room(stored: Size, size: Size) -> None:
    if stored[0] < size[0] or stored[1] < size[1]:
        raise ValueError(
            f"images of {stored[0]}x{stored[1]} are smaller than the network's input "
            f"{size[0]}x{size[1]}; lower data.size"
        )


def resize(images: Tensor, size: Size, *, how: Protocol) -> Tensor:
    """uint8 [b, c, h, w] squashed to `size`: "mended" bilinear and antialiased, rounded;
    "published" by the nearest pixel, as `resize_maps`."""
    if size_of(images) == size:
        return images
    if how == "published":
        return resize_maps(images, size, how=how)
    out = images.new_empty((*images.shape[:2], *size))
    step = max(1, _CHUNK_VALUES // max(1, images[:1].numel()))
    for start in range(0, len(images), step):
        part = images[start : start + step].float()
        soft = F.interpolate(part, size=size, mode="bilinear", antialias=True)
        out[start : start + step] = soft.round_().clamp_(0, 255)
    return out


def resize_maps(maps: Tensor, size: Size, *, how: Protocol) -> Tensor:
    """[b, c, h, w] squashed to `size` by the nearest pixel: "mended" the one under the centre of
    the new pixel, "published" the one under its upper left corner, as torch's `interpolate`."""
    if size_of(maps) == size:
        return maps
    rows, columns = (
        nearest_places(old, new, how=how).to(maps.device, non_blocking=True)
        for old, new in zip(size_of(maps), size, strict=True)
    )
    return maps.index_select(2, rows).index_select(3, columns)


def nearest_places(old: int, new: int, *, how: Protocol) -> Tensor:
    """int64 [new]: which of `old` pixels each new one is."""
    if how == "published":
        return torch.tensor(nearest(old, new))
    return (2 * torch.arange(new) + 1) * old // (2 * new)
