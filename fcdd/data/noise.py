"""Noise that replaces nominal images or is added to them (docs/method.md section 5)."""

from typing import assert_never

import torch
from torch import Tensor

from fcdd.catalog import NoiseName, Protocol
from fcdd.data.confetti import blob_counts, confetti, size_scale

_GAUSSIAN_STD = 64  # grey levels; all numbers here are those of the published code
_BLOB_SIDE_PX, _BLOB_DENSITY = 6, 0.002
_MIXED_SIDE_PX, _MIXED_DENSITY = 34, 1e-5  # for images of 240 px


def noise(
    name: NoiseName,
    count: int,
    *,
    shape: tuple[int, int, int],
    stream: torch.Generator,
    colours: Protocol = "mended",
    device: torch.device | str = "cpu",
) -> Tensor:
    """int16 [count, c, h, w] with (c, h, w) = `shape`: noise in grey levels, on `device`.

    gaussian: 64 N(0, 1), cut to whole levels. uniform: 0 to 255 for each pixel and channel. solid:
    one such colour per image. blob: squares of 6 px and value 255 on 0, on average 0.2 % of the
    pixels being the centre of one. mixed_blob: two layers of squares (34 px of 240) are added, one
    of value 255, one with a random value in each pixel and channel. confetti: negative, see
    `fcdd.data.confetti`; `colours` is for it alone. Squares are cut at the border; every image has
    at least one in each layer.

    `stream` is a generator of the host. Raises ValueError for confetti without three channels.
    """
    size = shape[1:]
    match name:
        case "gaussian":
            dense = _dense(stream, device)
            values = torch.randn((count, *shape), generator=dense, device=device)
            return values.mul_(_GAUSSIAN_STD).to(torch.int16)
        case "uniform":
            return _levels((count, *shape), stream, device)
        case "solid":
            return _levels((count, shape[0], 1, 1), stream, device).expand(-1, -1, *size)
        case "blob":
            blobs = _squares(count, size, _BLOB_SIDE_PX, _BLOB_DENSITY, stream=stream)
            return blobs.to(device, non_blocking=True).mul(255).expand(-1, shape[0], -1, -1)
        case "mixed_blob":
            return _mixed_blob(count, shape, stream, device)
        case "confetti":
            if shape[0] != 3:
                raise ValueError(
                    f"noise 'confetti' is coloured, but images have {shape[0]} channel; use "
                    "'gaussian', 'uniform', 'solid' or 'blob'"
                )
            return confetti(count, size, stream=stream, colours=colours, device=device)
        case unknown:
            assert_never(unknown)


def _dense(stream: torch.Generator, device: torch.device | str) -> torch.Generator:
    """A generator on `device` for numbers of every pixel, which follows from `stream`."""
    seed = int(torch.randint(2**62, (), generator=stream))
    return torch.Generator(device=device).manual_seed(seed)


def _levels(shape: tuple[int, ...], stream: torch.Generator, device: torch.device | str) -> Tensor:
    dense = _dense(stream, device)
    return torch.randint(256, shape, generator=dense, device=device, dtype=torch.int16)


def _mixed_blob(
    count: int, shape: tuple[int, int, int], stream: torch.Generator, device: torch.device | str
) -> Tensor:
    scale = size_scale(shape[1:])
    side, density = max(1, round(_MIXED_SIDE_PX * scale)), _MIXED_DENSITY / scale**2
    white, mixed = (
        _squares(count, shape[1:], side, density, stream=stream).to(device, non_blocking=True)
        for _ in range(2)
    )
    return white * 255 + mixed * _levels((count, *shape), stream, device)


def _squares(
    count: int,
    size: tuple[int, int],
    side: int,
    density: float,
    *,
    stream: torch.Generator,
) -> Tensor:
    """int16 [count, 1, h, w], 1 where at least one square lies, on the host."""
    h, w = size
    numbers = blob_counts(count, h * w * density, stream=stream)
    image = torch.repeat_interleave(numbers)
    place = torch.randint(h * w, (len(image),), generator=stream)
    # Odd sides reach equally far, even ones one pixel further down and right, as published.
    before = (side - 1) // 2
    top, left = place // w - before, place % w - before
    bottom, right = (top + side).clamp(max=h), (left + side).clamp(max=w)
    top, left = top.clamp(min=0), left.clamp(min=0)
    # Corners of +1 and -1 whose running sums along both axes count the squares on each pixel.
    steps = torch.zeros((count, h + 1, w + 1), dtype=torch.int16)
    for row, column, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1)):
        steps.index_put_((image, row, column), steps.new_tensor(sign), accumulate=True)
    steps.index_put_((image, bottom, right), steps.new_tensor(1), accumulate=True)
    counts = steps.cumsum(1, dtype=torch.int16).cumsum(2, dtype=torch.int16)
    return (counts[:, None, :h, :w] > 0).to(torch.int16)
