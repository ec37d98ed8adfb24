"""Batches of one epoch: shuffled nominal images, a share of them replaced (docs/method.md 5)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fcdd.config import Run
from fcdd.data.augment import prepare_train
from fcdd.data.geometry import fit_train
from fcdd.data.malformed import as_images, changed, malform
from fcdd.data.noise import noise
from fcdd.data.plan import Plan, plan_epoch
from fcdd.data.ragged import Ragged
from fcdd.data.randomness import Streams, generator, streams
from fcdd.data.streamed import Streamed
from fcdd.data.task import Task
from fcdd.data.watermark import Mark


@dataclass(frozen=True)
class Batch:
    """What one step trains on. Labels: 0 (False) nominal, 1 anomalous; the other way round with
    `data.inverted`. Maps are there exactly if the objective uses them."""

    inputs: Tensor  # float32 [b, c, h, w]
    labels: Tensor  # bool [b]
    maps: Tensor | None = None  # float32 [b, 1, h, w], 1 = anomalous, else 0


@dataclass(frozen=True)
class _Group:
    """Images of a batch that come from one source, with maps or one value for all pixels."""

    places: Tensor  # int64 [k], on the host
    images: Tensor  # uint8 [k, c, H, W]
    maps: Tensor | None  # uint8 [k, 1, H, W]
    value: int


def batches(run: Run, task: Task, *, epoch: int) -> Iterator[Batch]:
    """Yields the batches of `epoch` (from 1), which depends on run and epoch alone.

    Each nominal image is replaced with a fixed probability (Liznerski et al. 2021, App. D), so an
    epoch stays as long as there are nominal images, times `training.passes`. Maps: 0 for nominal
    images; of labelled, truly anomalous and malformed images ("malformed_nominal_maps", "few_maps")
    their own; 1 for all other replaced images.
    """
    device = task.device
    plan = plan_epoch(run, task, epoch=epoch)
    augmentation = streams(run.seed, f"augmentation/{epoch}", device=device)
    noises = generator(run.seed, f"noise/{epoch}")
    parts = list(plan.batches(run.training.batch_size))
    served = iter(())
    if isinstance(task.outliers, Streamed):
        served = task.outliers.serve([part.picks for part in parts if len(part.picks)])
    for part in parts:
        groups = [
            _nominal(task, part, run, augmentation),
            *_replaced(run, task, part, served=served, streams=augmentation, noises=noises),
        ]
        images, maps = _joined(run, groups, streams=augmentation, device=device)
        mark = None
        if part.marked is not None:
            mark = Mark(run.watermark, part.marked.to(device, non_blocking=True))
        yield Batch(
            inputs=prepare_train(
                images, run.data, task.normalisation, streams=augmentation, mark=mark
            ),
            labels=(part.replaced != run.data.inverted).to(device, non_blocking=True),
            maps=maps,
        )


def _joined(
    run: Run, groups: list[_Group], *, streams: Streams, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """All groups at the network's size: uint8 [b, c, h, w], and maps where they are used."""
    b, (c, h, w) = sum(len(group.places) for group in groups), run.data.shape
    images = torch.empty((b, c, h, w), dtype=torch.uint8, device=device)
    maps = torch.zeros((b, 1, h, w), device=device) if run.objective.maps else None
    for group in groups:
        if len(group.places) == 0:
            continue
        places = group.places.to(device, non_blocking=True)
        own = group.maps if run.objective.maps else None
        fitted, own = fit_train(group.images, own, run.data, stream=streams.device)
        images.index_copy_(0, places, fitted)
        if maps is not None and own is not None:
            maps.index_copy_(0, places, own.float())
        elif maps is not None:
            maps.index_fill_(0, places, group.value)
    return images, maps


def _nominal(task: Task, part: Plan, run: Run, streams: Streams) -> _Group:
    places = (~part.replaced).nonzero()[:, 0]
    return _Group(places, _images(task.train_images, part.order[places], run, streams), None, 0)


def _replaced(
    run: Run,
    task: Task,
    part: Plan,
    *,
    served: Iterator[Tensor],
    streams: Streams,
    noises: torch.Generator,
) -> Iterator[_Group]:
    """What stands in for the replaced images of a batch, by source."""
    places = part.replaced.nonzero()[:, 0]
    if len(places) == 0:
        return
    picks, device = part.picks, task.device
    if task.outliers is not None:
        if isinstance(task.outliers, Streamed):
            images = next(served).to(device, non_blocking=True)
        else:
            images = _images(task.outliers, picks, run, streams)
        own = task.outlier_maps
        yield _Group(places, images, None if own is None else own[_on(picks, device)], 1)
        return
    if task.labelled is not None:
        chosen = _on(picks[picks >= 0], device)
        yield _Group(
            places[picks >= 0], task.labelled.images[chosen], task.labelled.maps[chosen], 1
        )
    made = places[picks < 0]
    if len(made):
        nominal = _images(task.train_images, part.order[made], run, streams)
        yield _made(run, made, nominal, noises)


def _made(run: Run, places: Tensor, nominal: Tensor, noises: torch.Generator) -> _Group:
    """Noise in place of, or on, the `nominal` images [k, c, H, W] that are replaced."""
    supervision = run.supervision
    if supervision.noise is None:
        raise ValueError(f"supervision.mode {supervision.mode!r} needs a supervision.noise")
    c, h, w = nominal.shape[1:]
    added = noise(
        supervision.noise,
        len(places),
        shape=(c, h, w),
        stream=noises,
        colours=supervision.noise_colours,
        device=nominal.device,
    )
    if supervision.mode == "noise":
        return _Group(places, as_images(added), None, 1)
    images = malform(nominal, added)
    own = None if supervision.mode == "malformed_nominal" else changed(nominal, images)
    return _Group(places, images, own, 1)


def _images(source: Tensor | Ragged, indices: Tensor, run: Run, streams: Streams) -> Tensor:
    """uint8 [k, c, H, W]: images as they are stored; of `Ragged` ones random crops of the network's
    size."""
    if isinstance(source, Ragged):
        _, h, w = run.data.shape
        if len(indices) == 0:
            return torch.empty((0, source.channels, h, w), dtype=torch.uint8)
        return source.random_crops(indices, (h, w), streams.device)
    return source[_on(indices, source.device)]


def _on(indices: Tensor, device: torch.device) -> Tensor:
    return indices.to(device, non_blocking=True)
