"""Preprocessing and augmentation of whole batches on their device (docs/method.md section 4)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from fcdd.catalog import DataName, Preprocessing
from fcdd.data.constants import Normalisation, contrast_normalise

# ColorJitter strength, padding of the random crop in pixels, standard deviation of the added noise.
_AUG1: dict[DataName, tuple[float, int, float]] = {
    "digits": (0.1, 3, 0.01),  # as Fashion-MNIST
    "fmnist": (0.1, 3, 0.01),
    "cifar10": (0.01, 4, 0.001),
}
_LCNAUG1_PADDING_PX = 2


def prepare_test(images: Tensor, preprocessing: Preprocessing, constants: Normalisation) -> Tensor:
    """Network input [b, c, h, w] float32 of uint8 `images`, without augmentation."""
    unit = images.float() / 255
    match preprocessing:
        case "lcn" | "lcnaug1":
            return _local(unit, constants)
        case "none" | "aug1":
            return _standardise(unit, constants)
        case _:
            raise ValueError(f"preprocessing {preprocessing!r} is not made yet")


def prepare_train(
    images: Tensor,
    preprocessing: Preprocessing,
    constants: Normalisation,
    *,
    data: DataName,
    stream: torch.Generator,
) -> Tensor:
    """Network input [b, c, h, w] float32 of uint8 `images`, augmented from `stream`."""
    match preprocessing:
        case "lcn" | "none":
            return prepare_test(images, preprocessing, constants)
        case "lcnaug1":
            cropped = crop_and_flip(images, padding_px=_LCNAUG1_PADDING_PX, stream=stream)
            return _local(cropped.float() / 255, constants)
        case "aug1":
            strength, padding_px, noise_std = _AUG1[data]
            unit = jitter(images.float() / 255, strength=strength, stream=stream)
            unit = crop_and_flip(unit, padding_px=padding_px, stream=stream)
            noise = torch.randn(unit.shape, generator=stream, device=unit.device)
            return _standardise(unit + noise_std * noise, constants)
        case _:
            raise ValueError(f"preprocessing {preprocessing!r} is not made yet")


def _local(unit: Tensor, constants: Normalisation) -> Tensor:
    low, high = _channels(constants.lcn_min, unit), _channels(constants.lcn_max, unit)
    return (contrast_normalise(unit) - low) / (high - low)


def _standardise(unit: Tensor, constants: Normalisation) -> Tensor:
    return (unit - _channels(constants.mean, unit)) / _channels(constants.std, unit)


def _channels(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None]


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


def jitter(unit: Tensor, *, strength: float, stream: torch.Generator) -> Tensor:
    """Images [b, c, h, w] in [0, 1] with brightness, contrast, saturation and hue each changed by
    up to `strength`, a factor per image, in an order drawn once per batch. Gray images keep hue and
    saturation."""
    order = torch.randperm(4, generator=stream, device=unit.device).tolist()
    for step in order:
        draw = torch.rand((len(unit), 1, 1, 1), generator=stream, device=unit.device) * 2 - 1
        factor = 1 + strength * draw
        if step == 0:
            unit = _blend(unit, torch.zeros_like(unit), factor)
        elif step == 1:
            unit = _blend(unit, _gray(unit).mean(dim=(1, 2, 3), keepdim=True), factor)
        elif step == 2 and unit.shape[1] == 3:
            unit = _blend(unit, _gray(unit), factor)
        elif step == 3 and unit.shape[1] == 3:
            unit = shift_hue(unit, strength * draw)
    return unit


def _blend(unit: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor * unit + (1 - factor) * other).clamp(0, 1)


def _gray(unit: Tensor) -> Tensor:
    if unit.shape[1] == 1:
        return unit
    weights = unit.new_tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601 luma
    return (unit * weights).sum(dim=1, keepdim=True)


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
    offsets = unit.new_tensor([5.0, 3.0, 1.0])[:, None, None]
    k = torch.remainder(offsets + hue * 6, 6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)
