"""Which test pixels, and how much of which defect regions, lie under each pixel of a heatmap.

Pixel metrics go by the masks at their native size (docs/method.md section 7): the heatmap is
brought there by nearest neighbour, so native row i reads row floor(i * h / H). Rather than to
enlarge every heatmap to a million equal pixels, the mask is counted per pixel of the heatmap,
which gives the same numbers.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

# Pixels that touch at a corner belong to one region, as in the MVTec-AD evaluation.
_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=np.int8)


@dataclass(frozen=True)
class Truth:
    """What the pixels of one flattened heatmap [h * w] stand for.

    `pixels` int64 [h * w]: how many test pixels read each (None: each one). The anomalous ones
    are listed: `places` int64 [m] in the heatmap, rising, `anomalous` int64 [m] test pixels there
    and `overlap` float64 [m], the sum over defect regions of the share of the region that is there.
    """

    pixels: np.ndarray | None
    places: np.ndarray
    anomalous: np.ndarray
    overlap: np.ndarray


def truth(mask: np.ndarray, size: tuple[int, int]) -> Truth:
    """The `Truth` under a heatmap of `size` (height, width) for a bool mask [H, W]."""
    full = (mask.shape[0], mask.shape[1])
    pixels = None if full == size else _pixels(full, size)
    rows, columns = np.divmod(np.flatnonzero(mask), full[1])
    if len(rows) == 0:
        none = np.empty(0, dtype=np.int64)
        return Truth(pixels, none, none, none.astype(np.float64))
    heatmap_rows, heatmap_columns = (
        _source(along, new) for along, new in zip(full, size, strict=True)
    )
    under = heatmap_rows[rows] * size[1] + heatmap_columns[columns]
    region = _regions(mask, rows, columns)
    share = (1 / np.bincount(region))[region]
    counts = np.bincount(under)
    places = counts.nonzero()[0]
    return Truth(pixels, places, counts[places], np.bincount(under, weights=share)[places])


def _regions(mask: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The number of its region, from 0, of each anomalous pixel."""
    top, left = rows[0], columns.min()  # rows come in rising order
    part = mask[top : rows[-1] + 1, left : columns.max() + 1]
    found, _ = ndimage.label(part, structure=_EIGHT_NEIGHBOURS)  # pyright: ignore[reportGeneralTypeIssues]
    return found[rows - top, columns - left] - 1


def _source(along: int, new: int) -> np.ndarray:
    """int64 [along]: the pixel that nearest neighbour reads, of `new` ones."""
    return np.arange(along) * new // along


@lru_cache(maxsize=64)
def _pixels(full: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        np.bincount(_source(along, new), minlength=new)
        for along, new in zip(full, size, strict=True)
    )
    return np.outer(rows, columns).ravel()
