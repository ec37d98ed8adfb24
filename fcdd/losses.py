"""The FCDD objective (Liznerski et al. 2021, section 3; docs/method.md section 1)."""

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
    anomalous = -torch.log((1 - torch.exp(-nominal)) + _OFFSET)
    losses = torch.where(labels == 1, anomalous, nominal)
    if one_label_batches == "published":
        one_label = (labels == labels[0]).all()  # stays on the device
        losses = torch.where(one_label, nominal, losses)
    return losses.mean()
