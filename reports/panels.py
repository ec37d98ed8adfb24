"""Heatmaps of a run as pictures: which images, how normalised, how laid side by side.

Normalisation and choice of images: Liznerski et al. 2021, Figures 4 to 8 and their code;
docs/method.md section 7.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reports.plots import HEATMAP

Normalisation = Literal["local", "semi_global", "global"]
NORMALISATIONS: tuple[Normalisation, ...] = ("local", "semi_global", "global")
QUANTILE = 0.97  # published default
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """Quantiles of all heatmap values of a test set: values [m] at levels [m] in [0, 1]."""

    levels: np.ndarray
    values: np.ndarray

    def at(self, quantile: float) -> tuple[float, float] | None:
        """What `normalise` takes: the minimum (level 0), and the quantile less the minimum; None
        for a quantile that was not kept."""
        kept = dict(zip(self.levels.tolist(), self.values.tolist(), strict=True))
        if 0.0 not in kept or quantile not in kept:
            return None
        return kept[0.0], kept[quantile] - kept[0.0]


@dataclass(frozen=True)
class Shown:
    """The kept test images of one run, in the order of their ids: ids and labels [k], images uint8
    [k, c, h, w], heatmaps float64 [k, u, v], masks bool [k, u, v] or None, scores [k],
    and what "global" divides by, or None in files of earlier versions. `defects`: the type of each
    image where there are types, else empty."""

    ids: np.ndarray
    labels: np.ndarray
    images: np.ndarray
    heatmaps: np.ndarray
    masks: np.ndarray | None
    scores: np.ndarray
    reference: Reference | None = None
    defects: tuple[str, ...] = ()


def shown(arrays: Arrays) -> Shown:
    """The arrays of a heatmaps/<key>.npz, sorted by id. Raises ValueError naming what is wrong:
    missing arrays, lengths that differ, an id that stands twice, heatmaps that are not finite."""
    needed = ("ids", "labels", "images", "heatmaps", "scores")
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise ValueError(f"the arrays {', '.join(missing)} are missing")
    ids = arrays["ids"]
    if len(np.unique(ids)) != len(ids):
        raise ValueError("an image id stands twice")
    for name in (*needed, "masks", "defects"):
        if name in arrays and len(arrays[name]) != len(ids):
            raise ValueError(f"{len(arrays[name])} {name} do not fit {len(ids)} ids")
    if not np.isfinite(arrays["heatmaps"]).all():
        raise ValueError("heatmaps hold NaN or infinity")
    order = np.argsort(ids, kind="stable")
    return Shown(
        ids=ids[order],
        labels=arrays["labels"][order],
        images=arrays["images"][order],
        heatmaps=arrays["heatmaps"][order].astype(np.float64),
        masks=arrays["masks"][order].astype(bool) if "masks" in arrays else None,
        scores=arrays["scores"][order].astype(np.float64),
        reference=_reference_in(arrays),
        defects=tuple(arrays["defects"][order].tolist()) if "defects" in arrays else (),
    )


def _reference_in(arrays: Arrays) -> Reference | None:
    if "reference_values" not in arrays:
        return None
    return Reference(arrays["reference_quantiles"], arrays["reference_values"])


def common_ids(runs: Sequence[Shown]) -> np.ndarray:
    """The ids, ascending, of the images that every run kept."""
    common = runs[0].ids
    for run in runs[1:]:
        common = np.intersect1d(common, run.ids)
    return common


def select(run: Shown, ids: np.ndarray) -> Shown:
    """`run` cut to the images `ids`, in their order. All must be there."""
    places = {int(number): place for place, number in enumerate(run.ids)}
    chosen = np.array([places[int(number)] for number in ids], dtype=np.int64)
    return Shown(
        *(run.ids[chosen], run.labels[chosen], run.images[chosen], run.heatmaps[chosen]),
        masks=None if run.masks is None else run.masks[chosen],
        scores=run.scores[chosen],
        reference=run.reference,
        defects=tuple(run.defects[place] for place in chosen) if run.defects else (),
    )


def spread_by_score(scores: np.ndarray, count: int) -> np.ndarray:
    """Places of min(count, n) of n images from the lowest to the highest score, the published
    choice: the images sorted by score and split into nearly equal parts; of part t (from 0) the one
    at relative position t / (count - 1), of the last part the last."""
    order = np.argsort(scores, kind="stable")
    count = min(count, len(order))
    if count < 2:
        return order[-1:] if count else order
    parts = np.array_split(order, count)
    chosen = [part[int(t / (count - 1) * len(part))] for t, part in enumerate(parts[:-1])]
    return np.array([*chosen, parts[-1][-1]])


def lowest_to_highest(run: Shown, scores: Mapping[int, float], *, per_label: int) -> np.ndarray:
    """Ids of up to `per_label` nominal and then of as many anomalous images of `run`, each from the
    lowest to the highest of `scores` (by image id)."""
    chosen = []
    for label in (0, 1):
        ids = run.ids[run.labels == label]
        values = np.array([scores[int(number)] for number in ids])
        chosen.append(ids[spread_by_score(values, per_label)])
    return np.concatenate(chosen)


def _kth(values: np.ndarray, quantile: float) -> np.ndarray:
    """Along the last axis, the k-th smallest value, k = int(quantile * count) counted from 1."""
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile {quantile} is not in (0, 1]; published: {QUANTILE}")
    k = max(1, int(quantile * values.shape[-1]))
    return np.partition(values, k - 1, axis=-1)[..., k - 1]


def reference(heatmaps: np.ndarray, *, quantile: float = QUANTILE) -> tuple[float, float]:
    """Minimum of all values of `heatmaps` and the quantile of what lies above that minimum: what
    "semi_global" (over the images shown) and "global" (over the test set) divide by."""
    low = float(heatmaps.min())
    return low, float(_kth(heatmaps.ravel() - low, quantile))


def normalise(
    heatmaps: np.ndarray,
    *,
    quantile: float = QUANTILE,
    by: tuple[float, float] | None = None,
) -> np.ndarray:
    """`heatmaps` [k, h, w] in [0, 1] for display: minus the minimum, divided by the quantile, cut.

    Minimum and quantile are those `by` gives (see `reference`), or each image's own ("local"). An
    image that is constant becomes 0; where the quantile is 0, all that lies above it becomes 1 (the
    limit of the published division, which gives NaN for the pixels at 0).
    """
    if by is None:
        flat = heatmaps.reshape(len(heatmaps), -1)
        low = flat.min(1)[:, None, None]
        scale = _kth(flat - flat.min(1, keepdims=True), quantile)[:, None, None]
    else:
        low, scale = np.float64(by[0]), np.float64(by[1])
    above = heatmaps - low
    scaled = np.divide(above, scale, out=(above > 0).astype(np.float64), where=scale > 0)
    return np.clip(scaled, 0.0, 1.0)


def colours(values: np.ndarray, *, colour_map: str = HEATMAP) -> np.ndarray:
    """Values in [0, 1], any shape, as uint8 colours [..., 3] of a matplotlib colour map."""
    return table(colour_map)[np.rint(values * 255).astype(np.uint8)]


def table(colour_map: str = HEATMAP) -> np.ndarray:
    """The 256 colours uint8 [256, 3] of a matplotlib colour map. Raises ValueError if unknown."""
    import matplotlib

    if colour_map not in matplotlib.colormaps:
        raise ValueError(f"no colour map {colour_map!r}; known: {HEATMAP}, jet and matplotlib's")
    picked = matplotlib.colormaps[colour_map].resampled(256)
    return np.rint(picked(np.arange(256))[:, :3] * 255).astype(np.uint8)


def pictures(images: np.ndarray) -> np.ndarray:
    """Images uint8 [k, c, h, w] as colours [k, h, w, 3], as they are: gray is repeated."""
    coloured = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
    return coloured.transpose(0, 2, 3, 1)


def overlay(
    images: np.ndarray, values: np.ndarray, *, opacity: float = 0.6, colour_map: str = HEATMAP
) -> np.ndarray:
    """Colours uint8 [k, h, w, 3]: images uint8 [k, c, h, w] in gray under heatmaps in [0, 1], which
    cover the more the higher they are, at most `opacity`."""
    gray = pictures(images).astype(np.float64).mean(-1, keepdims=True)
    cover = opacity * values[..., None]
    return np.rint(gray * (1 - cover) + colours(values, colour_map=colour_map) * cover).astype(
        np.uint8
    )


def resize(tiles: np.ndarray, side: int) -> np.ndarray:
    """Tiles [k, h, w, ...] with `side` rows, their shape kept, by the nearest pixel's centre."""
    _, h, w = tiles.shape[:3]
    width = max(1, round(side * w / h))
    rows = ((np.arange(side) + 0.5) * h / side).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * w / width).astype(np.int64)
    return tiles[:, rows][:, :, columns]


def strip(tiles: np.ndarray, *, gap: int, groups: Sequence[int], group_gap: int) -> np.ndarray:
    """Tiles uint8 [k, h, w, 3] side by side on white [h, width, 3]: `gap` pixels between them and
    `group_gap` before each tile whose place is in `groups`."""
    k, h, w = tiles.shape[:3]
    starts, x = [], 0
    for place in range(k):
        x += 0 if place == 0 else (group_gap if place in groups else gap)
        starts.append(x)
        x += w
    canvas = np.full((h, x, 3), 255, np.uint8)
    for start, tile in zip(starts, tiles, strict=True):
        canvas[:, start : start + w] = tile
    return canvas
