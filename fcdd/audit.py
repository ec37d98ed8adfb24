"""The Clever-Hans audit: what a mark that says nothing of the class does to heatmaps and scores.

Liznerski et al. 2021, section 4.3, found a net that looked at the photographer's watermark on
pictures of horses. docs/method.md section 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fcdd.config import Run, Watermark
from fcdd.data.task import Task
from fcdd.data.watermark import mark_region, stamp
from fcdd.evaluation import explain
from fcdd.metrics import auroc

_CHUNK = 256  # images stamped at a time
_NUM_EXAMPLES = 4
_OPPOSITE = {
    "top_left": "bottom_right",
    "top_right": "bottom_left",
    "bottom_left": "top_right",
    "bottom_right": "top_left",
}


@dataclass(frozen=True)
class Audit:
    """What a run trained with `run.watermark` makes of test images without the mark, with it and
    with it moved to the opposite corner.

    Masses are shares, in [0, 1], of the heatmap mass of all nominal test images together that lies
    on the mark's place; a net that does not care has about `area_of_mark`. Marking the nominal test
    images alone, or the anomalous ones alone, tells how far the AUROC hangs on the mark. Shifts are
    mean score with the mark minus mean score without it; `score_spread` is the standard deviation
    of the clean nominal scores, to judge them by. `examples` are a few nominal test images, uint8
    [k, c, h, w], with their heatmaps, float32 [k, h, w]: clean, marked and moved.
    """

    num_nominal: int
    num_anomalous: int
    area_of_mark: float
    mass_on_mark: float
    mass_without_mark: float  # on the same place of the clean images
    mass_on_moved_mark: float
    auroc_clean: float
    auroc_mark_on_nominal: float
    auroc_mark_on_anomalous: float
    auroc_mark_on_all: float
    auroc_mark_moved: float  # on the images that carried it in training, nominal or anomalous
    shift_nominal: float
    shift_anomalous: float
    shift_moved_nominal: float
    score_spread: float
    examples: dict[str, np.ndarray]

    def numbers(self) -> dict[str, float]:
        """All but the examples, by name."""
        return {name: value for name, value in vars(self).items() if name != "examples"}


def audit(run: Run, net: nn.Module, task: Task) -> Audit:
    """The `Audit` of a trained net on the run's test images.

    Raises ValueError for a run without a watermark, or a test set of one label.
    """
    if run.watermark.kind == "none":
        raise ValueError(
            "there is no mark to audit: watermark.kind is 'none'; set it to 'square', 'cross' or "
            "'text' and train again"
        )
    mark, moved_mark = run.watermark, _moved(run.watermark)
    clean = _measure(run, net, task, stamped=None, place=mark)
    marked = _measure(run, net, task, stamped=mark, place=mark)
    moved = _measure(run, net, task, stamped=moved_mark, place=moved_mark)
    nominal = task.test_labels.bool() == run.data.inverted
    carried = nominal if mark.target == "nominal" else ~nominal

    def area(scores: Tensor, *, on: Tensor) -> float:
        return auroc(task.test_labels, torch.where(on, scores, clean.scores))

    shift, moved_shift = marked.scores - clean.scores, moved.scores - clean.scores
    return Audit(
        num_nominal=int(nominal.sum()),
        num_anomalous=int((~nominal).sum()),
        area_of_mark=float(_place(run, mark).float().mean()),
        mass_on_mark=marked.share(nominal),
        mass_without_mark=clean.share(nominal),
        mass_on_moved_mark=moved.share(nominal),
        auroc_clean=area(clean.scores, on=nominal),
        auroc_mark_on_nominal=area(marked.scores, on=nominal),
        auroc_mark_on_anomalous=area(marked.scores, on=~nominal),
        auroc_mark_on_all=area(marked.scores, on=torch.ones_like(nominal)),
        auroc_mark_moved=area(moved.scores, on=carried),
        shift_nominal=float(shift[nominal].mean()),
        shift_anomalous=float(shift[~nominal].mean()),
        shift_moved_nominal=float(moved_shift[nominal].mean()),
        score_spread=float(clean.scores[nominal].std(correction=0)),
        examples=_examples(run, net, task, nominal.nonzero()[:_NUM_EXAMPLES, 0]),
    )


@dataclass(frozen=True)
class _Measured:
    """Of every test image [n], float64: score, heatmap mass, and the mass on the mark's place."""

    scores: Tensor
    mass: Tensor
    on_place: Tensor

    def share(self, chosen: Tensor) -> float:
        """The share of the mass of the `chosen` images that lies on the place; 0 without mass."""
        mass = float(self.mass[chosen].sum())
        return float(self.on_place[chosen].sum()) / mass if mass else 0.0


def _measure(
    run: Run, net: nn.Module, task: Task, *, stamped: Watermark | None, place: Watermark
) -> _Measured:
    under = _place(run, place)
    rows = []
    for images in _chunks(task.test_images, stamped):
        for scores, maps in explain(run, net, images, task=task):
            maps = maps[:, 0].double()
            on_place = (maps * under).sum(dim=(1, 2))
            rows.append(torch.stack([scores.double(), maps.sum(dim=(1, 2)), on_place]))
    return _Measured(*torch.cat(rows, dim=1))


def _chunks(images: Tensor, mark: Watermark | None) -> Iterator[Tensor]:
    for chunk in images.split(_CHUNK):
        yield chunk if mark is None else _stamped(chunk, mark)


def _stamped(images: Tensor, mark: Watermark) -> Tensor:
    chosen = torch.ones(len(images), dtype=torch.bool, device=images.device)
    return stamp(images, mark, chosen=chosen)


def _place(run: Run, mark: Watermark) -> Tensor:
    _, h, w = run.data.shape
    return mark_region(mark, (h, w))


def _moved(mark: Watermark) -> Watermark:
    return Watermark.model_validate(mark.model_dump() | {"corner": _OPPOSITE[mark.corner]})


def _examples(run: Run, net: nn.Module, task: Task, places: Tensor) -> dict[str, np.ndarray]:
    images = task.test_images[places.to(task.test_images.device)]
    made = {
        "clean": images,
        "marked": _stamped(images, run.watermark),
        "moved": _stamped(images, _moved(run.watermark)),
    }
    arrays = {"ids": task.test_ids[places].numpy()}
    for name, version in made.items():
        maps = torch.cat([maps for _, maps in explain(run, net, version, task=task)])
        arrays[f"{name}_images"] = version.cpu().numpy()
        arrays[f"{name}_heatmaps"] = maps[:, 0].numpy()
    return arrays
