"""Confetti noise: soft squares in colour and black (Liznerski et al. 2021, App. D; method.md 5).

Each square is drawn and blurred alone, in a window of its own size, and the windows are added up:
nothing is spent on the empty parts of an image, and no image is looped over.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from fcdd.catalog import Protocol

# Published values, for images of 240 px: sides of squares, largest angle to either side, radius
# (kernel 25 = 2 * 12 + 1) and standard deviation of the blur, centres per pixel of each layer.
_SIDES_PX = (8, 54)
_MAX_ANGLE = math.radians(45)
_BLUR_RADIUS_PX, _BLUR_STD_PX = 12, 5.0
_COLOURED_DENSITY, _BLACK_DENSITY = 1.8e-5, 1.2e-5
_BLACK = -255
_PUBLISHED_SIZES = (224, 256)  # raw sizes of the published code are 240, 248 and 256 px

# Shares of a colour are whole multiples of 1 / _STEPS: their sums are exact in float32 (below 2^23
# steps), so they do not depend on the order of additions, which a GPU does not fix.
_STEPS = 1 << 14
_CHUNK_BYTES = 24 << 20  # of canvas; malloc maps larger blocks afresh, which takes 8 times as long
_TILE = 16  # windows begin at multiples of it, so that they are added as a few long rows


@dataclass(frozen=True)
class Squares:
    """N squares on the host, ordered by layer and image; a later one covers earlier ones.

    Pixel (row, column) belongs to a square if, seen from its centre pixel and turned by `angle`, it
    lies within half a side; even sides reach one pixel further down and right, as published.
    """

    image: Tensor  # int64 [N]
    layer: Tensor  # int64 [N], 0 coloured, 1 black
    row: Tensor  # int64 [N]
    column: Tensor  # int64 [N]
    side: Tensor  # int64 [N], pixels
    angle: Tensor  # float64 [N], radians
    colour: Tensor  # int64 [N, 3], added to the image: -256 to -1

    def of_images(self, start: int, stop: int) -> "Squares":
        """The squares of images `start` to `stop`, counted from `start`."""
        chosen = (self.image >= start) & (self.image < stop)
        parts = {field.name: getattr(self, field.name)[chosen] for field in fields(self)}
        return Squares(**{**parts, "image": parts["image"] - start})

    def reach(self) -> Tensor:
        """float64 [N]: how far each square reaches from its centre pixel, at most."""
        return (self.side / 2 + 0.5) * (self.angle.cos().abs() + self.angle.sin().abs())

    def geometry(self) -> Tensor:
        """float32 [N, 6]: row, column, cosine and sine of the angle, shift and half of the side."""
        shift = (self.side % 2 == 0) * 0.5
        parts = (self.row, self.column, self.angle.cos(), self.angle.sin(), shift, self.side / 2)
        return torch.stack([part.float() for part in parts], dim=1)


def confetti(
    count: int,
    size: tuple[int, int],
    *,
    stream: torch.Generator,
    colours: Protocol,
    device: torch.device | str = "cpu",
) -> Tensor:
    """int16 [count, 3, h, w], at most 0 and at least -511: what confetti adds to images.

    Two layers are added: one of squares in random colours, one of black squares. In each, every
    image has at least one square. `colours`: "mended" draws a colour per square, "published" one
    per side and image. `stream` is a generator of the host, whatever `device` is.

    Sides, densities and blur are the published ones for images of 224 to 256 px. Other sizes scale
    lengths with sqrt(h * w) / 240, so that the number of squares and the covered share stay those
    of 240 px. The published code turns a window around each centre, neighbours within it included,
    and cuts squares at the border before it blurs; here each square turns alone, and is cut last.
    """
    squares = draw_squares(count, size, stream=stream, colours=colours)
    scale = size_scale(size)
    blur = (max(1, round(_BLUR_RADIUS_PX * scale)), _BLUR_STD_PX * scale)
    return render(squares, count, size=size, blur=blur, device=device)


def size_scale(size: tuple[int, int]) -> float:
    """What lengths in pixels of a 240 px image are multiplied with in images of `size`."""
    low, high = _PUBLISHED_SIZES
    if low <= min(size) and max(size) <= high:
        return 1.0
    return math.sqrt(size[0] * size[1]) / 240


def blob_counts(count: int, mean: float, *, stream: torch.Generator) -> Tensor:
    """int64 [count]: numbers from a Poisson distribution of `mean`, under the condition that they
    are at least 1 (the published code draws images without a blob anew)."""
    largest = math.ceil(mean + 12 * math.sqrt(mean)) + 16  # beyond it less than 1e-12
    numbers = torch.arange(1, largest + 1, dtype=torch.float64)
    weights = torch.exp(numbers * math.log(mean) - mean - torch.lgamma(numbers + 1))
    share = weights.cumsum(0) / weights.sum()
    draws = torch.rand(count, generator=stream, dtype=torch.float64)
    return 1 + torch.searchsorted(share, draws).clamp(max=largest - 1)


def draw_squares(
    count: int, size: tuple[int, int], *, stream: torch.Generator, colours: Protocol
) -> Squares:
    """The squares of `count` images of `size`, both layers."""
    scale = size_scale(size)
    low, high = (max(1, round(side * scale)) for side in _SIDES_PX)
    parts = []
    for layer, density in enumerate((_COLOURED_DENSITY, _BLACK_DENSITY)):
        mean = size[0] * size[1] * density / scale**2
        image = torch.repeat_interleave(blob_counts(count, mean, stream=stream))
        n = len(image)
        place = torch.randint(size[0] * size[1], (n,), generator=stream)
        side = torch.randint(low, high + 1, (n,), generator=stream)
        turn = torch.rand(n, generator=stream, dtype=torch.float64) * 2 - 1
        if layer == 1:
            colour = torch.full((n, 3), _BLACK)
        elif colours == "mended":
            colour = torch.randint(-256, 0, (n, 3), generator=stream)
        else:
            palette = torch.randint(-256, 0, (count, high - low + 1, 3), generator=stream)
            colour = palette[image, side - low]
        parts.append((image, torch.full_like(image, layer), place, side, turn, colour))
    image, layer, place, side, turn, colour = (torch.cat(part) for part in zip(*parts, strict=True))
    row, column = place // size[1], place % size[1]
    return Squares(image, layer, row, column, side, turn * _MAX_ANGLE, colour)


def render(
    squares: Squares,
    count: int,
    *,
    size: tuple[int, int],
    blur: tuple[int, float],
    device: torch.device | str = "cpu",
) -> Tensor:
    """int16 [count, 3, h, w]: both layers painted, added, blurred and cut to whole numbers.

    `blur` is (radius, standard deviation) in pixels of a normalised Gaussian.
    """
    tiles = (-(-size[0] // _TILE), -(-size[1] // _TILE))
    per_image = tiles[0] * tiles[1]
    step = min(count, max(1, _CHUNK_BYTES // (12 * _TILE**2 * per_image)))
    # One row per tile, and one more for all that lies outside of the images.
    canvas = torch.empty((step * per_image + 1, 3 * _TILE**2), device=device)
    out = torch.empty(
        (count, 3, tiles[0], _TILE, tiles[1], _TILE), dtype=torch.int16, device=device
    )
    for start in range(0, count, step):
        stop = min(start + step, count)
        canvas.zero_()
        _paint(squares.of_images(start, stop), canvas, tiles=tiles, blur=blur)
        painted = canvas[: (stop - start) * per_image].view(-1, *tiles, 3, _TILE, _TILE)
        out[start:stop] = painted.permute(0, 3, 1, 4, 2, 5)  # cuts towards 0
    return out.view(count, 3, tiles[0] * _TILE, -1)[:, :, : size[0], : size[1]]


def _on(part: Tensor, device: torch.device) -> Tensor:
    return part.to(device, non_blocking=True)  # else the host would wait for the device


def _paint(
    squares: Squares, canvas: Tensor, *, tiles: tuple[int, int], blur: tuple[int, float]
) -> None:
    """Adds the blurred visible part of every square to `canvas` [num_tiles + 1, 3 * tile^2]."""
    device, (radius, std) = canvas.device, blur
    covers = _covering_pairs(squares)
    centre = torch.stack([squares.row, squares.column], dim=1)
    reach = squares.reach()[:, None] + radius
    first, last = ((centre + step).div(_TILE).floor().long() for step in (-reach, reach))
    widths = (last - first).amax(dim=1) + 1  # tiles along the sides of each window
    geometry, colour = _on(squares.geometry(), device), _on(squares.colour.float(), device)
    for width in widths.unique().tolist():
        chosen = (widths == width).nonzero()[:, 0]
        visible = _visible(geometry, chosen, covers, first, length=width * _TILE, margin=radius)
        band = _on(_band(width * _TILE, radius, std), device)
        share = (band @ visible @ band.T).mul_(_STEPS).round_().div_(_STEPS)  # [k, side, side]
        share = share.view(-1, width, _TILE, width, _TILE).transpose(2, 3)
        share = share.reshape(-1, width * width, 1, _TILE**2)
        amount = share * colour[_on(chosen, device), None, :, None]
        places = _places(squares.image[chosen], first[chosen], width, tiles)
        places[places < 0] = len(canvas) - 1
        canvas.index_add_(0, _on(places.flatten(), device), amount.view(-1, 3 * _TILE**2))


def _covering_pairs(squares: Squares) -> list[tuple[Tensor, Tensor]]:
    """int64 [p] twice per lag: squares, and later ones of their image and layer that may cover
    them."""
    # Squares of one image and layer follow each other: pairs at lag 1, then at lag 2, and so on.
    group, reach = squares.image * 2 + squares.layer, squares.reach()
    pairs = []
    for lag in range(1, len(group)):
        near = group[lag:] == group[:-lag]
        if not bool(near.any()):
            break
        for centre in (squares.row, squares.column):
            near = near & ((centre[lag:] - centre[:-lag]).abs() < reach[lag:] + reach[:-lag])
        under = near.nonzero()[:, 0]
        pairs.append((under, under + lag))
    return pairs


def _visible(
    geometry: Tensor,
    chosen: Tensor,
    covers: list[tuple[Tensor, Tensor]],
    first: Tensor,
    *,
    length: int,
    margin: int,
) -> Tensor:
    """float32 [k, L, L], 1 where the chosen squares show; L = length - 2 * margin pixels from
    `margin` behind their first tile."""
    device = geometry.device
    steps = torch.arange(margin, length - margin, device=device)
    corners = _on(first[chosen] * _TILE, device)  # [k, 2]
    shows = _inside(geometry[_on(chosen, device)], corners, steps)
    place = torch.full((len(geometry),), -1)
    place[chosen] = torch.arange(len(chosen))
    for under, over in covers:  # within one lag no square comes twice
        known = place[under] >= 0
        if bool(known.any()):
            window, over = _on(place[under][known], device), _on(over[known], device)
            shows[window] &= ~_inside(geometry[over], corners[window], steps)
    return shows.float()


def _inside(geometry: Tensor, corners: Tensor, steps: Tensor) -> Tensor:
    """bool [k, L, L]: which pixels at `steps` from `corners` [k, 2] belong to squares [k, 6]."""
    row, column, cos, sin, shift, half = geometry[:, :, None].unbind(1)  # each [k, 1]
    down, right = corners[:, :1] + steps - row, corners[:, 1:] + steps - column  # [k, L]
    u = ((cos * down - shift)[:, :, None] + (sin * right)[:, None, :]).abs_()
    v = ((cos * right - shift)[:, None, :] - (sin * down)[:, :, None]).abs_()
    return torch.maximum(u, v, out=u) <= half[:, :, None]


def _band(length: int, radius: int, std: float) -> Tensor:
    """float32 [length, length - 2 * radius]: spreads each pixel by the normalised Gaussian."""
    taps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-taps.square() / (2 * std**2))
    kernel = (kernel / kernel.sum()).float()
    steps = torch.arange(length)[:, None] - torch.arange(length - 2 * radius)[None, :]
    used = (steps >= 0) & (steps <= 2 * radius)
    return torch.where(used, kernel[steps.clamp(0, 2 * radius)], 0.0)


def _places(image: Tensor, first: Tensor, width: int, tiles: tuple[int, int]) -> Tensor:
    """int64 [k, width * width]: number of each tile of the windows, -1 outside of the image."""
    steps = torch.arange(width)
    rows, columns = first[:, :1] + steps, first[:, 1:] + steps  # [k, width]
    inside = ((rows >= 0) & (rows < tiles[0]))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < tiles[1]))[:, None, :]
    places = (image[:, None] * tiles[0] + rows)[:, :, None] * tiles[1] + columns[:, None, :]
    return torch.where(inside, places, -1).flatten(1)
