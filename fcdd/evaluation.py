"""The outcome of a run: scores of the test images, metrics, heatmaps on demand (section 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.augment import prepare_test
from fcdd.data.task import Task
from fcdd.heatmaps import upsample
from fcdd.losses import anomaly_map, scores
from fcdd.metrics import auroc, average_precision
from fcdd.nets.build import receptive_field
from fcdd.nets.small import SmallFCDD
from fcdd.pixels import PixelMetrics

_BATCH = 256  # bounds memory; not tuned


@dataclass(frozen=True)
class Evaluation:
    """Scores [n] of the test images in their order (CPU, higher = more anomalous) and metrics."""

    scores: Tensor
    image_auroc: float
    image_ap: float
    pixels: PixelMetrics | None = None


@torch.inference_mode()
def evaluate(run: Run, net: SmallFCDD, task: Task) -> Evaluation:
    """Scores every test image: the mean of its low-resolution anomaly map. Raises ValueError for
    non-finite scores or a test set of one label."""
    parts = [
        scores(_maps(run, net, task, task.test_images[start : start + _BATCH])).cpu()
        for start in range(0, len(task.test_images), _BATCH)
    ]
    values = torch.cat(parts)
    return Evaluation(
        scores=values,
        image_auroc=auroc(task.test_labels, values),
        image_ap=average_precision(task.test_labels, values),
    )


@torch.inference_mode()
def heatmaps(run: Run, net: SmallFCDD, task: Task, indices: Tensor) -> Tensor:
    """Heatmaps [k, 1, h, w] of the test images `indices` [k], on the CPU."""
    images = task.test_images[indices.to(task.test_images.device)]
    size = (images.shape[-2], images.shape[-1])
    return upsample(
        _maps(run, net, task, images),
        receptive_field(net, size),
        size=size,
        std=run.heatmaps.gauss_std,
        upsampling=run.heatmaps.upsampling,
    ).cpu()


def _maps(run: Run, net: SmallFCDD, task: Task, images: Tensor) -> Tensor:
    net.eval()
    inputs = prepare_test(images, run.data.preprocessing, task.normalisation)
    return anomaly_map(net(inputs.contiguous(memory_format=torch.channels_last)))
