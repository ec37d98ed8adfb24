"""What an epoch consists of: which nominal images, which of them are replaced, and by what.

Everything is decided on the host before the epoch begins, from a generator of its own, so an epoch
does not depend on the ones before it and nothing waits for a device.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.task import Task, generator
from fcdd.data.watermark import carriers

_LARGE_POOL = 1 << 20  # images; a permutation of more would cost seconds per epoch


@dataclass(frozen=True)
class Plan:
    """`n` places of an epoch (or of a batch), on the host.

    `picks` says what each replaced image is replaced with: a place among the outliers, or among the
    labelled images in few-map supervision; -1 for noise and for malformed nominal images.
    """

    order: Tensor  # int64 [n], the nominal image of each place
    replaced: Tensor  # bool [n]
    picks: Tensor  # int64 [number of replaced images], in the order of their places
    marked: Tensor | None  # bool [n], which images carry the watermark

    def batches(self, size: int) -> Iterator["Plan"]:
        """The plan in batches of `size` places, the last one shorter."""
        used = [0, *self.replaced.cumsum(0).tolist()]
        for start in range(0, len(self.order), size):
            stop = min(start + size, len(self.order))
            yield Plan(
                self.order[start:stop],
                self.replaced[start:stop],
                self.picks[used[start] : used[stop]],
                None if self.marked is None else self.marked[start:stop],
            )


def plan_epoch(run: Run, task: Task, *, epoch: int) -> Plan:
    """The plan of an epoch: `training.passes` permutations of the nominal images, each replaced
    with `supervision.replacement_probability`.

    Outliers and labelled images are gone through in random order, none a second time before all
    came once. In few-map supervision with a noise, a replaced image is a labelled one with
    `labelled_share`, else malformed; without labelled images, always malformed; without either,
    nothing is replaced.
    """
    choices = generator(run.seed, f"batches/{epoch}")
    n = len(task.train_images)
    order = torch.cat([torch.randperm(n, generator=choices) for _ in range(run.training.passes)])
    replaced = torch.zeros(len(order), dtype=torch.bool)
    picks = torch.empty(0, dtype=torch.int64)
    if _replaces(run, task):
        draws = torch.rand(len(order), generator=choices)
        replaced = draws < run.supervision.replacement_probability
        picks = _picks(run, task, int(replaced.sum()), choices)
    return Plan(order, replaced, picks, _marked(run, task, order, replaced, picks))


def _replaces(run: Run, task: Task) -> bool:
    supervision = run.supervision
    if supervision.mode == "few_maps":
        return task.labelled is not None or supervision.noise is not None
    return supervision.mode != "unsupervised"


def _picks(run: Run, task: Task, count: int, choices: torch.Generator) -> Tensor:
    if task.outliers is not None:
        return draw(len(task.outliers), count, choices)
    picks = torch.full((count,), -1)
    if run.supervision.mode == "few_maps":
        share = run.supervision.labelled_share if run.supervision.noise else 1.0
        # Not by k: runs that differ in k > 0 alone see the same malformed images.
        labelled = torch.rand(count, generator=choices) < share
        if task.labelled is not None:
            num_labelled = len(task.labelled.images)
            picks[labelled] = draw(num_labelled, int(labelled.sum()), choices)
    return picks


def draw(size: int, count: int, choices: torch.Generator) -> Tensor:
    """int64 [count] numbers below `size`: permutations one after the other, so that nothing comes
    a second time before everything came once."""
    if size > _LARGE_POOL and count < size // 4:
        return _draw_few(size, count, choices)
    rounds = -(-count // size)
    parts = [torch.randperm(size, generator=choices) for _ in range(rounds)]
    return torch.cat(parts)[:count] if parts else torch.empty(0, dtype=torch.int64)


def _draw_few(size: int, count: int, choices: torch.Generator) -> Tensor:
    """int64 [count] different numbers below a `size` that is much larger."""
    seen: dict[int, None] = {}
    while len(seen) < count:
        more = torch.randint(size, (count - len(seen),), generator=choices)
        seen.update(dict.fromkeys(more.tolist()))
    return torch.tensor(list(seen), dtype=torch.int64)


def _marked(run: Run, task: Task, order: Tensor, replaced: Tensor, picks: Tensor) -> Tensor | None:
    """Which places carry the watermark: a share of the images, the same for the whole training.

    Nominal images and outliers carry it or not as such; noise and malformed images as the nominal
    image that they stand for.
    """
    watermark = run.watermark
    if watermark.kind == "none":
        return None

    def among(count: int, purpose: str) -> Tensor:
        return carriers(count, watermark.fraction, stream=generator(run.seed, purpose))

    nominal = among(len(task.train_images), "watermark")[order]
    if watermark.target == "nominal":
        return nominal & ~replaced
    marked = nominal & replaced
    known = task.labelled.images if task.labelled is not None else task.outliers
    if known is not None:
        chosen = among(len(known), "watermark/outliers")
        marked[replaced] = torch.where(picks >= 0, chosen[picks], marked[replaced])
    return marked
