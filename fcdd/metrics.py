"""Detection metrics from labels (0 nominal, 1 anomalous) and scores (higher = more anomalous)."""

import torch
from torch import Tensor


def auroc(labels: Tensor, scores: Tensor) -> float:
    """Area under the ROC curve, ties counted half (Mann-Whitney U), in float64.

    Raises ValueError for a non-finite score or when a label is absent.
    """
    labels, scores = _checked(labels, scores)
    _, place, counts = scores.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0)  # rank of the last of each group of ties
    ranks = (last - (counts - 1) / 2)[place]  # [n], mean rank within ties
    num_anomalous = int(labels.sum())
    num_nominal = len(labels) - num_anomalous
    excess = float(ranks[labels].sum()) - num_anomalous * (num_anomalous + 1) / 2
    return excess / (num_anomalous * num_nominal)


def average_precision(labels: Tensor, scores: Tensor) -> float:
    """Average precision: the sum of (recall step x precision) over falling thresholds, in float64.

    Raises ValueError for a non-finite score or when a label is absent.
    """
    labels, scores = _checked(labels, scores)
    order = scores.argsort(descending=True, stable=True)
    ranked = scores[order]
    threshold = torch.ones(len(ranked), dtype=torch.bool)
    threshold[:-1] = ranked[1:] != ranked[:-1]  # ties enter together
    hits = labels[order].cumsum(0)[threshold].double()
    predicted = torch.arange(1, len(ranked) + 1)[threshold]
    steps = hits.diff(prepend=hits.new_zeros(1)) / hits[-1]
    return float((steps * hits / predicted).sum())


def _checked(labels: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    labels, scores = labels.cpu().bool(), scores.cpu().double()
    if not bool(scores.isfinite().all()):
        raise ValueError(
            f"{int((~scores.isfinite()).sum())} of {len(scores)} scores are not finite; "
            "train with a lower training.lr"
        )
    if bool(labels.all()) or not bool(labels.any()):
        raise ValueError(
            f"a ranking needs both labels, but all {len(labels)} test images are "
            f"{'anomalous' if bool(labels.any()) else 'nominal'}; check data.normal_class"
        )
    return labels, scores
