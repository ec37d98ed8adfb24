"""The test images whose heatmaps are kept with a run, and what is kept of them."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcdd.config import Run
from fcdd.data.task import Task, generator
from fcdd.evaluation import explain
from fcdd.heatmaps import kth

_PER_LABEL = 8
_LONGEST_SIDE_PX = 64
_MOST_REFERENCE_IMAGES = 1000  # bounds time and memory; 16 MB at 64 x 64
# Of the published pictures: the minimum, the quantiles of their runs (docs/method.md section 7),
# the maximum.
_QUANTILES = (0.0, 0.85, 0.97, 0.99, 1.0)
# Within these a heatmap's values down to a thousandth of its maximum keep 3 digits as float16.
_HALF_PRECISION = (0.05, 6e4)


def shown_heatmaps(run: Run, net: nn.Module, task: Task) -> dict[str, np.ndarray]:
    """Arrays of k test images, brought to at most 64 pixels per side.

    ids int64, labels uint8 and scores float64 [k]; images uint8 [k, c, h, w] and heatmaps float16
    [k, h, w] (float32 where their range asks for it), averaged over areas; where there are masks,
    masks bool [k, h, w], True where any pixel of the area is, so that no defect vanishes; defects
    [k], fixed-width text, where there are types. `reference_values` float64 are the quantiles
    `reference_quantiles` of the heatmaps of up to 1,000 test images at the same resolution, evenly
    spread over the test set, by the rule of `fcdd.heatmaps.normalise`; 0 stands for the minimum.
    """
    shown = shown_images(run, task)
    places = shown.tolist()
    scores, maps = _explained(run, net, task, shown)
    images = task.test_images[shown.to(task.test_images.device)].cpu()
    size = _shown_size(images)
    arrays = {
        "ids": task.test_ids[shown].numpy(),
        "labels": task.test_labels[shown].numpy(),
        "scores": scores.double().numpy(),
        "images": images.numpy() if images.shape[-2:] == size else _smaller(images, size),
        "heatmaps": _compact(maps[:, 0]),
        "reference_quantiles": np.array(_QUANTILES),
        "reference_values": _reference(run, net, task),
    }
    if task.test_masks is not None:
        arrays["masks"] = np.stack([_any(task.test_masks[place], size) for place in places])
    if task.test_defects is not None:
        arrays["defects"] = np.array([task.test_defects[place] for place in places], dtype=np.str_)
    return arrays


def shown_images(run: Run, task: Task, *, per_label: int = _PER_LABEL) -> Tensor:
    """int64 [k], rising: the test images whose heatmaps are kept, up to `per_label` of each label;
    fixed by data set and class alone, so that seeds and methods show the same ones.

    Defect types take turns, in a fixed order, each with its images in a fixed order. An image that
    few-map supervision reserved at this seed is passed over.
    """
    stream = generator(0, f"shown/{run.data.name}/{run.data.normal_class}")
    chosen = []
    for label in (0, 1):
        found = (task.test_labels == label).nonzero()[:, 0]
        if task.test_defects is None:
            order = torch.randperm(len(found), generator=stream)
            chosen.append(found[order[:per_label]])
        else:
            turns = _in_turns(run, task, found.tolist(), task.test_defects)
            chosen.append(torch.tensor(turns[:per_label], dtype=torch.int64))
    return torch.cat(chosen).sort().values


def _in_turns(run: Run, task: Task, found: Sequence[int], defects: Sequence[str]) -> list[int]:
    """The images `found`, one of each defect type after the other. A permutation would change with
    the images that are left; sorting by a hash of their id does not."""
    seed = f"shown/{run.data.name}/{run.data.normal_class}"

    def place(what: object) -> bytes:
        return hashlib.sha256(f"{seed}/{what}".encode()).digest()

    ordered = sorted(found, key=lambda image: place(int(task.test_ids[image])))
    turn: dict[int, int] = {}
    seen: dict[str, int] = {}
    for image in ordered:
        turn[image] = seen[defects[image]] = seen.get(defects[image], -1) + 1
    return sorted(ordered, key=lambda image: (turn[image], place(defects[image])))


def _explained(run: Run, net: nn.Module, task: Task, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [k] and heatmaps [k, 1, h, w] at the shown size, of test images."""
    images = task.test_images[indices.to(task.test_images.device)]
    size = _shown_size(images)
    scores, maps = [], []
    for values, heatmaps in explain(run, net, images, task=task):
        scores.append(values)
        small = heatmaps.shape[-2:] == size
        maps.append(heatmaps if small else F.interpolate(heatmaps, size, mode="area"))
    return torch.cat(scores), torch.cat(maps)


def _reference(run: Run, net: nn.Module, task: Task) -> np.ndarray:
    num = min(len(task.test_images), _MOST_REFERENCE_IMAGES)
    spread = torch.arange(num) * len(task.test_images) // num
    _, maps = _explained(run, net, task, spread)
    values = maps.numpy().ravel()
    places = [kth(quantile, len(values)) - 1 if quantile else 0 for quantile in _QUANTILES]
    return np.partition(values, places)[places].astype(np.float64)


def _shown_size(images: Tensor) -> tuple[int, int]:
    h, w = images.shape[-2:]
    factor = min(1, _LONGEST_SIDE_PX / max(h, w))
    return max(1, round(h * factor)), max(1, round(w * factor))


def _smaller(images: Tensor, size: tuple[int, int]) -> np.ndarray:
    return F.interpolate(images.float(), size, mode="area").round().to(torch.uint8).numpy()


def _any(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if mask.shape == size:
        return mask
    pixels = torch.from_numpy(mask).float()[None]
    return F.adaptive_max_pool2d(pixels, size)[0].bool().numpy()


def _compact(maps: Tensor) -> np.ndarray:
    low, high = _HALF_PRECISION
    fits = low <= float(maps.max()) <= high
    return maps.to(torch.float16 if fits else torch.float32).numpy()
