"""ROC and precision-recall curves of runs, their average over seeds, and score histograms.

Vertical averaging (Fawcett 2006, "An introduction to ROC analysis", section 7.1): every curve is
read off on one fixed grid of the horizontal axis, then mean and standard deviation are taken there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GRID = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Band:
    """A mean curve over seeds, all arrays [g]; `lower` and `upper` are one sample standard
    deviation (ddof 1) away, cut to `limits`, and None below two seeds."""

    x: np.ndarray
    mean: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    n: int


def _counts(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of anomalous and of all images at or above each distinct score, descending."""
    if len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels do not fit {len(scores)} scores")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or infinity, so no curve exists; run it again")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    anomalous = np.cumsum(labels[order] == 1)[last]
    if len(ordered) == 0 or anomalous[-1] in (0, len(ordered)):
        raise ValueError("a curve needs nominal and anomalous images; the test set has one label")
    return anomalous, last + 1


def roc(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False alarm rate and detection rate (shares of the nominal and of the anomalous images that
    are flagged) at every threshold from "none" to "all", ascending: (0, 0) to (1, 1). Higher scores
    are more anomalous; ties are one step. Raises ValueError for scores that are not finite or of
    one label."""
    hits, flagged = _counts(labels, scores)
    false = flagged - hits
    return np.append(0.0, false / false[-1]), np.append(0.0, hits / hits[-1])


def precision_recall(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall (ascending) and precision at every threshold that flags at least one image; anomalous
    is what is looked for. Raises ValueError as `roc` does."""
    hits, flagged = _counts(labels, scores)
    return hits / hits[-1], hits / flagged


def roc_on_grid(labels: np.ndarray, scores: np.ndarray, grid: np.ndarray = GRID) -> np.ndarray:
    """The detection rate [g] at the false alarm rates `grid`, linear between thresholds; where the
    curve rises vertically, its upper end."""
    x, y = roc(labels, scores)
    below = np.searchsorted(x, grid, side="right") - 1
    above = np.minimum(below + 1, len(x) - 1)
    width = x[above] - x[below]
    share = np.divide(grid - x[below], width, out=np.zeros_like(grid), where=width > 0)
    return y[below] + share * (y[above] - y[below])


def precision_on_grid(
    labels: np.ndarray, scores: np.ndarray, grid: np.ndarray = GRID
) -> np.ndarray:
    """The precision [g] at the first threshold that reaches the recalls `grid`: the step curve
    whose area is the average precision (a straight line between thresholds would be too high, Davis
    & Goadrich 2006)."""
    recall, precision = precision_recall(labels, scores)
    # Recalls are ratios of counts: 1 - 1e-12 keeps 0.3 from missing 3/10 by rounding.
    return precision[np.searchsorted(recall, grid * (1 - 1e-12), side="left")]


def band(
    curves: Sequence[np.ndarray],
    x: np.ndarray = GRID,
    *,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Band:
    """Mean and spread over `curves`, one per seed, each [g] on `x`."""
    values = np.stack(curves)
    mean = values.mean(0)
    if len(values) < 2:
        return Band(x, mean, None, None, len(values))
    std = values.std(0, ddof=1)
    low, high = limits
    return Band(x, mean, np.maximum(mean - std, low), np.minimum(mean + std, high), len(values))


def score_edges(scores: Sequence[np.ndarray], *, bins: int = 40) -> tuple[np.ndarray, bool]:
    """Bin edges [bins + 1] over all scores, and whether they are logarithmic: they are where all
    scores are above 0, over the upper five orders of magnitude at most."""
    low = min(float(values.min()) for values in scores)
    high = max(float(values.max()) for values in scores)
    if low == high:
        return np.linspace(low - 0.5, high + 0.5, bins + 1), False
    if low <= 0:
        return np.linspace(low, high, bins + 1), False
    return np.geomspace(max(low, high * 1e-5), high, bins + 1), True


def shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of `scores` in each bin [bins], which sum to 1: what lies outside the edges counts
    in the outermost bin."""
    bins = np.searchsorted(edges, scores, side="right") - 1
    return np.bincount(bins.clip(0, len(edges) - 2), minlength=len(edges) - 1) / len(scores)
