"""Metrics from stored scores and pixel histograms, in numpy alone.

Written on its own, beside what the runs computed, so that `fcdd verify` checks one against the
other. Labels: 0 nominal, 1 anomalous; higher scores are more anomalous (docs/method.md section 7).
"""

import numpy as np

# Bergmann et al., IJCV 2021: PRO is integrated up to this false-positive rate.
PRO_LIMIT = 0.3


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of labels and scores [n], ties counted half. Raises ValueError for
    scores that are not finite or a single label."""
    nominal, anomalous = _by_score(labels, scores)
    return auroc_of_counts(nominal, anomalous)


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The sum of recall steps times precision over falling thresholds, ties in one step. Raises
    ValueError as `auroc` does."""
    nominal, anomalous = _by_score(labels, scores)
    return average_precision_of_counts(nominal, anomalous)


def _by_score(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of nominal and anomalous images [m] per distinct score, rising."""
    if len(labels) != len(scores):
        raise ValueError(f"{len(labels)} labels do not fit {len(scores)} scores")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).sum())} scores are not finite")
    place = np.unique(scores, return_inverse=True)[1]
    anomalous = np.bincount(place, weights=(labels == 1))
    return np.bincount(place) - anomalous, anomalous


def auroc_of_counts(nominal: np.ndarray, anomalous: np.ndarray) -> float:
    """AUROC of counts [m] per value, values rising: the share of pairs of a nominal and an
    anomalous one in the right order, pairs of equal value counted half."""
    _refuse_one_kind(nominal, anomalous)
    nominal, anomalous = nominal.astype(np.float64), anomalous.astype(np.float64)
    below = np.concatenate([[0.0], np.cumsum(nominal)[:-1]])
    pairs = float(np.sum(anomalous * (below + nominal / 2)))
    return pairs / (float(nominal.sum()) * float(anomalous.sum()))


def average_precision_of_counts(nominal: np.ndarray, anomalous: np.ndarray) -> float:
    """Average precision of counts [m] per value, values rising."""
    _refuse_one_kind(nominal, anomalous)
    found = np.cumsum(anomalous[::-1].astype(np.float64))
    flagged = found + np.cumsum(nominal[::-1].astype(np.float64))
    steps = anomalous[::-1] / found[-1]
    some = steps > 0
    return float(np.sum(steps[some] * found[some] / flagged[some]))


def pro_of_counts(nominal: np.ndarray, overlap: np.ndarray) -> float:
    """Per-region overlap of counts [m] per value, values rising: the area under the mean share of
    each defect region that is found, over the false-positive rate up to 0.3, divided by 0.3."""
    _refuse_one_kind(nominal, overlap)
    rate = np.concatenate([[0.0], np.cumsum(nominal[::-1] / nominal.sum())])
    share = np.concatenate([[0.0], np.cumsum(overlap[::-1] / overlap.sum())])
    inside = rate < PRO_LIMIT
    # np.interp takes the last of equal rates, where the curve has risen.
    end = float(np.interp(PRO_LIMIT, rate, share))
    x = np.append(rate[inside], PRO_LIMIT)
    y = np.append(share[inside], end)
    return float(np.trapezoid(y, x)) / PRO_LIMIT


def _refuse_one_kind(nominal: np.ndarray, anomalous: np.ndarray) -> None:
    if nominal.sum() <= 0 or anomalous.sum() <= 0:
        raise ValueError(
            f"a ranking needs both kinds, but there are {nominal.sum():g} nominal and "
            f"{anomalous.sum():g} anomalous ones"
        )
