"""The test images whose heatmaps are kept with a run."""

import numpy as np
import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.task import Task, generator
from fcdd.evaluation import heatmaps
from fcdd.nets.small import SmallFCDD


def shown_heatmaps(run: Run, net: SmallFCDD, task: Task) -> dict[str, np.ndarray]:
    """Arrays of k test images: ids and labels [k], images uint8 [k, c, h, w], heatmaps float16
    [k, h, w]."""
    shown = shown_images(run, task)
    maps = heatmaps(run, net, task, shown)
    return {
        "ids": task.test_ids[shown].numpy(),
        "labels": task.test_labels[shown].numpy(),
        "images": task.test_images[shown.to(task.test_images.device)].cpu().numpy(),
        "heatmaps": maps[:, 0].numpy().astype(np.float16),
    }


def shown_images(run: Run, task: Task, *, per_label: int = 8) -> Tensor:
    """int64 [k]: the test images whose heatmaps are kept; fixed by data set and class alone, so
    that seeds and methods show the same ones."""
    stream = generator(0, f"shown/{run.data.name}/{run.data.normal_class}")
    chosen = []
    for label in (0, 1):
        found = (task.test_labels == label).nonzero()[:, 0]
        chosen.append(found[torch.randperm(len(found), generator=stream)[:per_label]])
    return torch.cat(chosen).sort().values
