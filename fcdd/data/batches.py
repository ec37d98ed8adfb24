"""Batches of one epoch: shuffled nominal images, a half of them replaced by outliers.

Every choice comes from a generator derived from (seed, purpose, epoch), so an epoch does not depend
on the ones before it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.augment import prepare_train
from fcdd.data.task import Task, generator


def batches(run: Run, task: Task, *, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields network input [b, c, h, w] and labels [b] (0 nominal, 1 anomalous).

    Outlier exposure (Liznerski et al. 2021, App. D; docs/method.md section 5): each nominal image
    is replaced with a fixed probability, so an epoch stays as long as there are nominal images.
    """
    images, device = task.train_images, task.train_images.device
    choices = generator(run.seed, f"batches/{epoch}")
    order = torch.randperm(len(images), generator=choices).to(device)
    labels = torch.zeros(len(images), dtype=torch.bool)
    picks = torch.empty(0, dtype=torch.int64, device=device)
    if task.outliers is not None:
        probability = run.supervision.replacement_probability
        labels = torch.rand(len(images), generator=choices) < probability
        picks = draw(len(task.outliers), int(labels.sum()), choices).to(device)
    starts = [0, *labels.cumsum(0).tolist()]  # outliers used before each image; on the host
    labels = labels.to(device)
    stream = generator(run.seed, f"augmentation/{epoch}", device=device)
    for start in range(0, len(images), run.training.batch_size):
        stop = min(start + run.training.batch_size, len(images))
        batch, batch_labels = images[order[start:stop]], labels[start:stop]
        if task.outliers is not None:
            batch[batch_labels] = task.outliers[picks[starts[start] : starts[stop]]]
        inputs = prepare_train(
            batch, run.data.preprocessing, task.normalisation, data=run.data.name, stream=stream
        )
        yield inputs, batch_labels


def draw(size: int, count: int, choices: torch.Generator) -> Tensor:
    """int64 [count] numbers below `size`: permutations one after the other, so that nothing comes
    a second time before everything came once."""
    rounds = -(-count // size)
    parts = [torch.randperm(size, generator=choices) for _ in range(rounds)]
    return torch.cat(parts)[:count] if parts else torch.empty(0, dtype=torch.int64)
