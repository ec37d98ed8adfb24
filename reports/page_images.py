"""Pictures inside the page: small PNGs as data URIs, a strip of tiles each."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from reports import panels
from reports.figures_panels import Kept
from reports.panels import Shown

SIDE = 64  # pixels of an image in the page, at most
HEAT_SIDE = 40  # of a heatmap, which is smooth
MAX_BYTES = 8_000_000  # of all heatmaps of a page


def uri(pixels: np.ndarray, *, colours: int | None = None) -> str:
    """A PNG as data URI: uint8 [h, w] gray or [h, w, 3]; with `colours` reduced to that many."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if colours is not None:
        # Maximum coverage keeps the colours of thin lines, which median cut mixes with others.
        image = image.quantize(colours, method=Image.Quantize.MAXCOVERAGE)
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=9)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def small(tiles: np.ndarray, side: int) -> np.ndarray:
    """uint8 tiles [k, h, w, ...], each at most `side` high: the mean of the pixels that fall into
    one; smaller tiles stay."""
    from PIL import Image

    k, h, w = tiles.shape[:3]
    if h <= side:
        return tiles
    size = (max(1, round(side * w / h)), side)
    images = [Image.fromarray(tile).resize(size, Image.Resampling.BOX) for tile in tiles]
    return np.stack([np.asarray(image) for image in images]).reshape(
        k, size[1], size[0], *tiles.shape[3:]
    )


def _strip(tiles: np.ndarray) -> np.ndarray:
    """Tiles [k, h, w, ...] side by side [h, k * w, ...]."""
    return np.concatenate(list(tiles), axis=1)


def inputs(kept: Kept) -> dict[str, Any]:
    """What all runs of a class share: ids, labels, the images and, where there are any, masks."""
    first = next(run for seeds in kept.runs.values() for run in seeds.values())
    found: dict[str, Any] = {
        "ids": first.ids.tolist(),
        "labels": first.labels.tolist(),
        "images": uri(_strip(small(panels.pictures(first.images), SIDE))),
        "order": kept.order,
    }
    if first.defects:
        found["defects"] = list(first.defects)
    if first.masks is not None and first.masks.any():
        masks = np.where(first.masks, 255, 0).astype(np.uint8)
        found["masks"] = uri(_strip(small(masks, HEAT_SIDE)))
    return found


def heat(run: Shown, *, quantile: float) -> dict[str, Any]:
    """The heatmaps of one run in 256 steps between each one's `low` and `high`, and what each
    normalisation subtracts and divides by: `local` per image, `semi_global` and `global`."""
    maps = run.heatmaps
    low, high = maps.min((1, 2)), maps.max((1, 2))
    span = np.where(high > low, high - low, 1.0)
    steps = np.rint((maps - low[:, None, None]) / span[:, None, None] * 255).astype(np.uint8)
    local = [panels.reference(one, quantile=quantile) for one in maps]
    found: dict[str, Any] = {
        "tiles": uri(_strip(small(steps, HEAT_SIDE))),
        "low": _rounded(low.tolist()),
        "high": _rounded(high.tolist()),
        "local": [_rounded(pair) for pair in local],
        "semi_global": _rounded(panels.reference(maps, quantile=quantile)),
        "scores": _rounded(run.scores.tolist()),
    }
    by = run.reference.at(quantile) if run.reference else None
    if by is not None:
        found["global"] = _rounded(by)
    return found


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def per_label(num_runs: int) -> int:
    """Images of each label that a page of that many runs shows, so that it stays small."""
    for limit, count in ((300, 4), (600, 3), (1000, 2)):
        if num_runs <= limit:
            return count
    return 1


def palette() -> str:
    """The 256 colours of heatmaps as hexadecimal digits."""
    return panels.table().tobytes().hex()
