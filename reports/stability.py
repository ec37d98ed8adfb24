"""How alike the heatmaps of different seeds are, and how much of them lies inside the masks.

The paper shows heatmaps of one seed; whether another seed would point at the same pixels is not
seen there. Two measures per image and pair of seeds, averaged over pairs, then over images:

- overlap: Jaccard index (shared / united) of the sets of the highest 5 % of pixels. Two random sets
  share 0.05 / (2 - 0.05) = 0.026.
- rank correlation: Spearman's, over all pixels, ties at their mean rank. Unrelated maps: 0.

And per image with a mask: the mass, the share of the sum of heatmap values that lies inside the
mask; a uniform heatmap has the mask's share of the image there (`mask_share`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from reports.panels import Shown, common_ids, select

TOP = 0.05


@dataclass(frozen=True)
class Stability:
    """Means over the `num_images` images of one label that all `num_seeds` seeds kept; None where
    nothing can be computed: below two seeds, or no mask with a pixel in it.

    `num_constant` images have a constant heatmap for some seed, which has no highest pixels and no
    ranks; they are left out of overlap and rank_correlation.
    """

    label: int
    num_images: int
    num_seeds: int
    num_constant: int
    overlap: float | None
    rank_correlation: float | None
    num_masks: int
    mass: float | None
    mask_share: float | None


def measure(runs: Sequence[Shown], *, label: int, top: float = TOP) -> Stability:
    """The measures for the images of `label` over `runs`, one per seed of one method and class.
    Raises ValueError when the seeds' heatmaps differ in size."""
    ids = common_ids(runs)
    chosen = [select(run, ids) for run in runs]
    chosen = [select(run, run.ids[run.labels == label]) for run in chosen]
    if len({run.heatmaps.shape for run in chosen}) > 1:
        sizes = sorted({run.heatmaps.shape[1:] for run in chosen})
        raise ValueError(f"heatmaps of different sizes {sizes} cannot be compared")
    maps = np.stack([_flat(run.heatmaps) for run in chosen])  # [s, k, pixels]
    varied = (maps.max(-1) > maps.min(-1)).all(0)
    overlap, correlation = _agreement(maps[:, varied], top)
    mass, share, num_masks = _inside(chosen)
    return Stability(
        label=label,
        num_images=maps.shape[1],
        num_seeds=len(runs),
        num_constant=int((~varied).sum()),
        overlap=overlap,
        rank_correlation=correlation,
        num_masks=num_masks,
        mass=mass,
        mask_share=share,
    )


def _flat(maps: np.ndarray) -> np.ndarray:
    """[k, h, w] as [k, pixels], also for no image at all."""
    return maps.reshape(len(maps), maps.shape[1] * maps.shape[2])


def _agreement(maps: np.ndarray, top: float) -> tuple[float | None, float | None]:
    """Mean overlap and rank correlation of maps [s, k, pixels], none of them constant."""
    if len(maps) < 2 or maps.shape[1] == 0:
        return None, None
    sets = highest(maps, top)
    ranks = _standard_ranks(maps)
    overlaps, correlations = [], []
    for one, other in combinations(range(len(maps)), 2):
        shared = (sets[one] & sets[other]).sum(-1)
        overlaps.append(shared / (sets[one] | sets[other]).sum(-1))
        correlations.append((ranks[one] * ranks[other]).mean(-1))
    return float(np.mean(overlaps)), float(np.mean(correlations))


def highest(maps: np.ndarray, top: float = TOP) -> np.ndarray:
    """bool like `maps` [..., pixels]: the ceil(top * pixels) highest of each map, and every pixel
    equal to the lowest of these, so that no tie is broken by position."""
    if not 0 < top < 1:
        raise ValueError(f"top {top} is not in (0, 1); the share of pixels to compare, {TOP}")
    pixels = maps.shape[-1]
    k = pixels - int(np.ceil(top * pixels))
    return maps >= np.partition(maps, k, axis=-1)[..., k : k + 1]


def _standard_ranks(maps: np.ndarray) -> np.ndarray:
    """Ranks along the last axis, ties at their mean, brought to mean 0 and variance 1: the mean of
    the product of two is Spearman's correlation."""
    ranks = mean_ranks(maps.reshape(-1, maps.shape[-1])).reshape(maps.shape)
    ranks -= ranks.mean(-1, keepdims=True)
    return ranks / ranks.std(-1, keepdims=True)


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 along each row of `values` [n, m]; equal values share the mean of their places
    (as scipy.stats.rankdata less 1, without its second of import)."""
    order = np.argsort(values, axis=-1)
    ordered = np.take_along_axis(values, order, axis=-1)
    starts = np.ones(values.shape, dtype=bool)  # a new value begins here
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(starts.ravel()) - 1
    places = np.tile(np.arange(values.shape[1], dtype=np.float64), len(values))
    means = np.bincount(group, places) / np.bincount(group)
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, means[group].reshape(values.shape), axis=-1)
    return ranks


def _inside(runs: Sequence[Shown]) -> tuple[float | None, float | None, int]:
    """Mean mass inside the mask and mean share of the mask over seeds and images, and the number
    of images that have one. Heatmaps are at least 0 for every objective; one that is 0 everywhere
    has no mass to place and counts as uniform."""
    masks = runs[0].masks
    if masks is None:
        return None, None, 0
    flat = _flat(masks)
    marked = flat.any(-1)
    if not marked.any():
        return None, None, 0
    share = flat[marked].mean(-1)
    masses = []
    for run in runs:
        heat = _flat(run.heatmaps)[marked]
        total = heat.sum(-1)
        inside = (heat * flat[marked]).sum(-1)
        masses.append(np.divide(inside, total, out=share.copy(), where=total > 0))
    return float(np.mean(masses)), float(share.mean()), int(marked.sum())
