"""The outcome of a run: scores of the test images, metrics, heatmaps on demand (section 7)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fcdd import objectives
from fcdd.config import Run
from fcdd.data.augment import prepare_test
from fcdd.data.masks import Masks
from fcdd.data.task import Task
from fcdd.metrics import auroc, average_precision
from fcdd.pixels import PixelMetrics, pixel_metrics
from fcdd.regions import Truth, truth

# Pixels per batch, which bounds memory: 256 images of 32 x 32, or 5 of 224 x 224, whose widest
# feature maps in VGG take 64 MB each.
_BATCH_PIXELS = {"cpu": 1 << 18, "cuda": 1 << 20}
_MOST_IMAGES = 256


@dataclass(frozen=True)
class Evaluation:
    """Scores [n] of the test images in their order (CPU, higher = more anomalous) and metrics.

    `pixels` is None for test images without masks.
    """

    scores: Tensor
    image_auroc: float
    image_ap: float
    pixels: PixelMetrics | None = None


def evaluate(run: Run, net: nn.Module, task: Task) -> Evaluation:
    """Scores every test image, and every pixel where there are masks. Raises ValueError for scores
    or heatmaps that are not finite, and for a test set of one label."""
    pixels = None
    if task.test_masks is None:
        scores = image_scores(run, net, task.test_images, task=task)
    else:
        parts: list[Tensor] = []
        heatmaps = _explained(run, net, task, task.test_masks, scores=parts)
        pixels = pixel_metrics(heatmaps, pixels=run.evaluation.pixels)
        scores = torch.cat(parts)
    return Evaluation(
        scores=scores,
        image_auroc=auroc(task.test_labels, scores),
        image_ap=average_precision(task.test_labels, scores),
        pixels=pixels,
    )


@torch.inference_mode()
def image_scores(run: Run, net: nn.Module, images: Tensor, *, task: Task) -> Tensor:
    """Scores [n], on the CPU, of uint8 `images` [n, c, h, w], normalised as the run's data."""
    net.eval()
    parts = []
    for batch in _batches(images):
        inputs = _inputs(run, task, batch)
        parts.append(objectives.image_scores(run, net(inputs), inputs=inputs).cpu())
    return torch.cat(parts)


def heatmaps(run: Run, net: nn.Module, task: Task, indices: Tensor) -> Tensor:
    """Heatmaps [k, 1, h, w] of the test images `indices` [k], on the CPU."""
    chosen = task.test_images[indices.to(task.test_images.device)]
    return torch.cat([maps for _, maps in explain(run, net, chosen, task=task)])


def explain(
    run: Run, net: nn.Module, images: Tensor, *, task: Task
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields, batch after batch of uint8 `images` [n, c, h, w], scores [b] and heatmaps
    [b, 1, h, w], on the CPU."""
    net.eval()
    to_heatmap = objectives.spread(run, net, device=images.device)
    for batch in _batches(images):
        inputs = _inputs(run, task, batch)
        scores, maps = objectives.explain(run, net, inputs=inputs, to_heatmap=to_heatmap)
        yield scores.cpu(), maps.cpu()


def _explained(
    run: Run, net: nn.Module, task: Task, masks: Masks, *, scores: list[Tensor]
) -> Iterator[tuple[Tensor, Truth]]:
    """Yields each test image's heatmap with its truth; appends the scores of its batch."""
    place = 0
    for values, maps in explain(run, net, task.test_images, task=task):
        scores.append(values)
        for heatmap in maps[:, 0]:
            yield heatmap, truth(masks[place], (heatmap.shape[0], heatmap.shape[1]))
            place += 1


def _batches(images: Tensor) -> Iterator[Tensor]:
    h, w = images.shape[-2:]
    pixels = _BATCH_PIXELS.get(images.device.type, _BATCH_PIXELS["cpu"])
    size = max(1, min(_MOST_IMAGES, pixels // (h * w)))
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _inputs(run: Run, task: Task, images: Tensor) -> Tensor:
    inputs = prepare_test(images, run.data.preprocessing, task.normalisation)
    return inputs.contiguous(memory_format=torch.channels_last)
