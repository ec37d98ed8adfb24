"""The arithmetic of the three objectives: FCDD, HSC and the autoencoder.

Liznerski et al. 2021, section 3; docs/method.md section 1. Labels are 0 nominal, 1 anomalous;
every score is at least 0, higher = more anomalous.
"""

import torch
from torch import Tensor

from fcdd.catalog import Protocol

# Added inside the logarithm by the published code, in float32: the loss of an anomalous image with
# score 0 is 71.38 instead of infinity.
_OFFSET = 1e-31


def anomaly_map(outputs: Tensor) -> Tensor:
    """A = sqrt(phi^2 + 1) - 1, element-wise: [b, 1, u, v], at least 0, higher = more anomalous."""
    return (outputs.square() + 1).sqrt() - 1


def scores(maps: Tensor) -> Tensor:
    """The image score [b]: the mean of the anomaly map [b, 1, u, v]."""
    return maps.mean(dim=(1, 2, 3))


def fcdd_loss(maps: Tensor, labels: Tensor, *, one_label_batches: Protocol = "mended") -> Tensor:
    """The loss, a scalar: mean over the batch of m for nominal (label 0) and -log(1 - exp(-m)) for
    anomalous images (label 1), with m the mean of the image's anomaly map [b, 1, u, v].

    "published" treats a batch of one label as nominal, even one of anomalies only.
    """
    nominal = scores(maps)
    losses = _by_label(nominal, labels)
    if one_label_batches == "published":
        one_label = (labels == labels[0]).all()  # stays on the device
        losses = torch.where(one_label, nominal, losses)
    return losses.mean()


def fcdd_map_loss(heatmaps: Tensor, truth: Tensor) -> Tensor:
    """The pixel-level loss, a scalar, for upsampled anomaly maps A' and maps Y of 0 and 1, both
    [b, 1, h, w] (docs/method.md section 1.2): the mean over the batch of mean(A' (1 - Y)), plus
    -log(1 - exp(-mean(A' Y))) for images with an anomalous pixel. Means are over all pixels.
    """
    nominal = scores(heatmaps * (1 - truth))
    anomalous = _push(scores(heatmaps * truth))
    some = (truth == 1).flatten(1).any(1)
    return (nominal + torch.where(some, anomalous, torch.zeros_like(anomalous))).mean()


def hsc_scores(outputs: Tensor) -> Tensor:
    """h = sqrt(|z|^2 + 1) - 1 of vectors z [b, d]: [b], the pseudo-Huber value of their norm."""
    return (outputs.square().sum(1) + 1).sqrt() - 1


def hsc_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """The loss, a scalar: mean over the batch of h for nominal and -log(1 - exp(-h)) for anomalous
    images, with h the score of the vectors [b, d]."""
    return _by_label(hsc_scores(outputs), labels).mean()


def squared_error(outputs: Tensor, inputs: Tensor) -> Tensor:
    """What an autoencoder got wrong, element-wise [b, c, h, w]; its mean is the loss."""
    return (outputs - inputs).square()


def _by_label(nominal: Tensor, labels: Tensor) -> Tensor:
    return torch.where(labels == 1, _push(nominal), nominal)


def _push(values: Tensor) -> Tensor:
    """-log(1 - exp(-v)): falls as v rises."""
    return -torch.log((1 - torch.exp(-values)) + _OFFSET)
