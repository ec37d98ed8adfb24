"""Pixel AUROC, AP and PRO from counts per value or per bin, with bounds. numpy only.

docs/method.md section 7. A table has one row per bin of heatmap values, in rising order, and for
each row the number of nominal and of anomalous pixels and the overlap: the sum over all defect
regions of the share of the region's pixels that fall into the bin.
"""

import numpy as np

# Bergmann et al., CVPR 2020 and IJCV 2021: PRO is integrated up to this false-positive rate.
FALSE_POSITIVE_LIMIT = 0.3


def metrics_from_histograms(
    lower: np.ndarray, nominal: np.ndarray, anomalous: np.ndarray, overlap: np.ndarray
) -> dict[str, float]:
    """The areas "auroc", "ap" and "pro", in [0, 1], and the largest error that binning can have
    caused in each: "auroc_bound", "ap_bound", "pro_bound".

    All arrays are [m]; `lower` rises and gives the order only. Pixels that share a bin count
    as tied. The bounds compare with any order of the pixels inside their bins: they are the worst
    case, and not an estimate. Raises ValueError without a nominal or without an anomalous pixel.
    """
    if bool((lower[1:] <= lower[:-1]).any()):
        raise ValueError("bins must rise, each once; sort and add up the table by its lower edge")
    n, a, o = (column[::-1].astype(np.float64) for column in (nominal, anomalous, overlap))
    if n.sum() == 0 or a.sum() == 0:
        raise ValueError(
            f"pixel metrics need both kinds of pixels, but {n.sum():.0f} are nominal and "
            f"{a.sum():.0f} anomalous; check the masks of the test images"
        )
    auroc, auroc_bound = _auroc(n, a)
    ap, ap_bound = _average_precision(n, a)
    pro, pro_bound = _pro(n / n.sum(), o / o.sum())
    return {
        "auroc": auroc,
        "ap": ap,
        "pro": pro,
        "auroc_bound": auroc_bound,
        "ap_bound": ap_bound,
        "pro_bound": pro_bound,
    }


# Below, bins come in falling order: [0] holds the highest heatmap values.


def _auroc(n: np.ndarray, a: np.ndarray) -> tuple[float, float]:
    """The share of pairs (nominal, anomalous) in the right order, pairs in one bin counted half.
    Inside their bins all of those pairs may be right, or all wrong."""
    pairs = n.sum() * a.sum()
    nominal_below = n.sum() - n.cumsum()
    undecided = float((a * n).sum() / pairs)
    return float((a * nominal_below).sum() / pairs) + undecided / 2, undecided / 2


def _average_precision(n: np.ndarray, a: np.ndarray) -> tuple[float, float]:
    """The mean over anomalous pixels of the precision at their value.

    In a bin with `a0` anomalous and `n0` nominal pixels above it, that precision is at most
    (a0 + a) / (a0 + a + n0), all anomalous ones first. With all nominal ones first, the i-th
    anomalous pixel has (a0 + i) / (a0 + i + n0 + n) = 1 - (n0 + n) / (a0 + i + n0 + n) or more;
    the sum of the fractions over i = 1..a is below (n0 + n) log(1 + a / (a0 + n0 + n)).
    """
    a1, n1 = a.cumsum(), n.cumsum()
    a0 = a1 - a
    some = a > 0
    a, a0, a1, n0, n1 = a[some], a0[some], a1[some], (n1 - n)[some], n1[some]
    binned = a * a1 / (a1 + n1)
    highest = a * a1 / (a1 + n0)
    lowest = np.zeros_like(a)
    behind = n1 > 0
    lowest[behind] = (a - n1 * np.log1p(a / np.where(behind, a0 + n1, 1)))[behind]
    lowest[~behind] = a[~behind]
    bound = max((highest - binned).sum(), (binned - lowest).sum())
    return float(binned.sum() / a.sum()), float(max(bound, 0.0) / a.sum())


def _pro(n: np.ndarray, o: np.ndarray) -> tuple[float, float]:
    """The area under the mean overlap of the defect regions over the false-positive rate, up to
    the limit and divided by it; straight lines join the bins.

    Inside a bin the curve rises somehow from its lower left to its upper right corner.
    """
    x1, y1 = n.cumsum(), o.cumsum()
    x0, y0 = x1 - n, y1 - o
    width = np.clip(FALSE_POSITIVE_LIMIT - x0, 0, n)
    some = width > 0
    width, y0, n, o = width[some], y0[some], n[some], o[some]
    rise = o * width / n  # of the straight line, up to the limit
    area = width * (y0 + rise / 2)
    highest, lowest = width * (y0 + o), width * y0
    bound = max((highest - area).sum(), (area - lowest).sum())
    return float(area.sum() / FALSE_POSITIVE_LIMIT), float(bound / FALSE_POSITIVE_LIMIT)
