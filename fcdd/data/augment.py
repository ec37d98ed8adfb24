"""Preprocessing and augmentation of whole batches on their device (docs/method.md section 4)."""

from typing import assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

from fcdd.catalog import WITH_DEFECTS, DataName, Preprocessing
from fcdd.config import Data
from fcdd.data.constants import Normalisation, contrast_normalise
from fcdd.data.randomness import Streams
from fcdd.data.watermark import Mark, marked

_SMALL: tuple[DataName, ...] = ("digits", "fmnist", "cifar10")
# ColorJitter strength, padding of the random crop in pixels, standard deviation of the added noise.
_AUG1: dict[DataName, tuple[float, int, float]] = {
    "digits": (0.1, 3, 0.01),  # as Fashion-MNIST
    "fmnist": (0.1, 3, 0.01),
    "cifar10": (0.01, 4, 0.001),
    "imagenet30": (0.01, 0, 0.001),  # these three are cropped in fcdd.data.geometry
    "custom": (0.01, 0, 0.001),
    "pascal_voc": (0.01, 0, 0.001),
}
_LCNAUG1_PADDING_PX = 2
_CPU_CHUNK_VALUES = 1 << 20
# MVTec-AD: strengths of brightness, contrast, saturation and hue, one of the two by a coin.
_STRONG, _WEAK = (0.04, 0.04, 0.04, 0.04), (0.005, 0.0005, 0.0005, 0.0005)
_RELATIVE_NOISE_STD = 0.1  # of the standard deviation of the image
_BLACK_BORDER_PX = 6  # int(0.5 * (1 - 0.6) * 32): three fifths of a CIFAR-10 image in the middle


def prepare_test(images: Tensor, preprocessing: Preprocessing, constants: Normalisation) -> Tensor:
    """Network input [b, c, h, w] float32 of uint8 `images` at its size, without augmentation."""
    unit = images.float() / 255
    match preprocessing:
        case "lcn" | "lcnaug1":
            return _local(unit, constants)
        case "none" | "aug1" | "aug1_blackcenter" | "aug1_blackcenter_inverted":
            return _standardise(unit, constants)
        case unknown:
            assert_never(unknown)


def prepare_train(
    images: Tensor,
    data: Data,
    constants: Normalisation,
    *,
    streams: Streams,
    mark: Mark | None = None,
) -> Tensor:
    """Network input [b, c, h, w] float32 of uint8 `images` at its size, augmented from `streams`.

    Digits, Fashion-MNIST, CIFAR-10: jitter (aug1), random crop with padding, flip, noise (aug1).
    MVTec-AD, its layout, textures: jitter of one of two strengths, noise by a coin, clamped to
    [0, 1]. ImageNet-30, custom data, Pascal VOC: jitter, noise. The normalisation comes last. All
    but the small images are cropped and flipped before, in `fcdd.data.geometry`; the published code
    jitters first. `mark` is stamped after crop and flip, so it is where a test image has it.
    """
    if data.preprocessing in ("none", "lcn"):
        return prepare_test(marked(images, mark), data.preprocessing, constants)
    if data.name in _SMALL:
        unit = _small(images, data, streams, mark)
    elif data.name in WITH_DEFECTS:
        unit = _shaken(marked(images, mark), streams)
    else:
        strength, _, noise_std = _AUG1[data.name]
        unit = marked(images, mark).float() / 255
        unit = jitter(unit, strengths=torch.full((4,), strength), streams=streams)
        unit = _noisy(unit, noise_std, streams)
    if data.preprocessing == "lcnaug1":
        return _local(unit, constants)
    return _standardise(unit, constants)


def _small(images: Tensor, data: Data, streams: Streams, mark: Mark | None) -> Tensor:
    """Images of 28 and 32 px in [0, 1], augmented."""
    if data.preprocessing == "lcnaug1":
        images = crop_and_flip(images, padding_px=_LCNAUG1_PADDING_PX, stream=streams.device)
        return marked(images, mark).float() / 255
    strength, padding_px, noise_std = _AUG1[data.name]
    unit = jitter(images.float() / 255, strengths=torch.full((4,), strength), streams=streams)
    unit = crop_and_flip(unit, padding_px=padding_px, stream=streams.device)
    unit = _noisy(marked(unit, mark), noise_std, streams)
    if data.preprocessing == "aug1":
        return unit
    centre = torch.zeros(unit.shape[-2:], dtype=torch.bool, device=unit.device)
    edge = _BLACK_BORDER_PX
    centre[edge:-edge, edge:-edge] = True
    black = centre if data.preprocessing == "aug1_blackcenter" else ~centre
    return unit.masked_fill(black, 0)


def _shaken(images: Tensor, streams: Streams) -> Tensor:
    """uint8 images as MVTec-AD's are augmented, in [0, 1]."""
    coins = torch.rand((2, len(images), 1), generator=streams.device, device=images.device) < 0.5
    both = torch.tensor((_STRONG, _WEAK)).to(images.device, non_blocking=True)
    strengths = torch.where(coins[0], both[0], both[1])  # [b, 4]
    unit = jitter(images.float() / 255, strengths=strengths, streams=streams)
    std = unit.std(dim=(1, 2, 3), keepdim=True) * coins[1, :, :, None, None]
    return _noisy(unit, _RELATIVE_NOISE_STD * std, streams).clamp_(0, 1)


def _noisy(unit: Tensor, std: Tensor | float, streams: Streams) -> Tensor:
    noise = torch.randn(unit.shape, generator=streams.device, device=unit.device)
    return unit + std * noise


def _local(unit: Tensor, constants: Normalisation) -> Tensor:
    low, high = _channels(constants.lcn_min, unit), _channels(constants.lcn_max, unit)
    return (contrast_normalise(unit) - low) / (high - low)


def _standardise(unit: Tensor, constants: Normalisation) -> Tensor:
    return (unit - _channels(constants.mean, unit)) / _channels(constants.std, unit)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    channels = torch.tensor(values, dtype=like.dtype)[:, None, None]
    return channels.to(like.device, non_blocking=True)  # else the host waits for the device


def crop_and_flip(images: Tensor, *, padding_px: int, stream: torch.Generator) -> Tensor:
    """Each image [b, c, h, w] shifted by up to `padding_px` (zeros enter) and mirrored left-right
    with probability 1/2."""
    b, c, h, w = images.shape
    device = images.device
    padded = F.pad(images, (padding_px,) * 4)
    side = 2 * padding_px + 1
    top = torch.randint(side, (b, 1), generator=stream, device=device)
    left = torch.randint(side, (b, 1), generator=stream, device=device)
    mirrored = torch.rand((b, 1), generator=stream, device=device) < 0.5
    rows = top + torch.arange(h, device=device)  # [b, h]
    columns = torch.arange(w, device=device)
    columns = left + torch.where(mirrored, columns.flip(0), columns)  # [b, w]
    place = rows[:, :, None] * padded.shape[-1] + columns[:, None, :]  # [b, h, w]
    place = place.flatten(1)[:, None].expand(b, c, h * w)
    return padded.flatten(2).gather(2, place).view(b, c, h, w)


def jitter(unit: Tensor, *, strengths: Tensor, streams: Streams) -> Tensor:
    """Images [b, c, h, w] in [0, 1] with brightness, contrast, saturation and hue each changed by
    up to its strength ([4], or [b, 4]), a factor per image, in an order drawn once per batch. Gray
    images keep hue and saturation."""
    limits = strengths.to(unit.device, non_blocking=True).expand(len(unit), 4)
    changes = []
    for step in torch.randperm(4, generator=streams.host).tolist():
        draw = torch.rand((len(unit), 1, 1, 1), generator=streams.device, device=unit.device)
        changes.append((step, limits[:, step, None, None, None] * (draw * 2 - 1)))
    num_images = max(1, len(unit))
    if unit.device.type == "cpu":  # 2.6 times as fast at 224 px where a few images fit the cache
        num_images = max(1, _CPU_CHUNK_VALUES // max(1, unit[:1].numel()))
    parts = []
    for start in range(0, len(unit), num_images):
        part = unit[start : start + num_images]
        for step, change in changes:
            part = _change(part, step, change[start : start + num_images])
        parts.append(part)
    return torch.cat(parts) if len(parts) != 1 else parts[0]


def _change(unit: Tensor, step: int, change: Tensor) -> Tensor:
    """Images with brightness (step 0), contrast, saturation or hue (3) changed by `change`."""
    if step == 0:
        return _blend(unit, torch.zeros_like(unit), 1 + change)
    if step == 1:
        return _blend(unit, _gray(unit).mean(dim=(1, 2, 3), keepdim=True), 1 + change)
    if unit.shape[1] == 3:
        return _blend(unit, _gray(unit), 1 + change) if step == 2 else shift_hue(unit, change)
    return unit


def _blend(unit: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor * unit + (1 - factor) * other).clamp(0, 1)


def _gray(unit: Tensor) -> Tensor:
    if unit.shape[1] == 1:
        return unit
    weights = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
    return (unit * _channels(weights, unit)).sum(dim=1, keepdim=True)


def shift_hue(unit: Tensor, turns: Tensor) -> Tensor:
    """RGB images [b, 3, h, w] in [0, 1] with the hue turned by `turns` [b, 1, 1, 1] of a circle."""
    value, _ = unit.max(dim=1, keepdim=True)
    chroma = value - unit.amin(dim=1, keepdim=True)
    red, green, blue = unit.split(1, dim=1)
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    sector = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = sector / 6 + turns
    # Hexagonal colour model: channel = value - chroma * clamp(min(k, 4 - k), 0, 1).
    k = torch.remainder(_channels((5.0, 3.0, 1.0), unit) + hue * 6, 6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)
