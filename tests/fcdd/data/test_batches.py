import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fcdd.config import Run, change
from fcdd.data.augment import crop_and_flip
from fcdd.data.batches import Batch, batches
from fcdd.data.constants import Normalisation
from fcdd.data.ragged import Ragged
from fcdd.data.randomness import generator
from fcdd.data.scanning import scan_tree
from fcdd.data.streamed import Streamed
from fcdd.data.task import Labelled, Task

N = 1000


def flat(values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """uint8 [n, c, h, w], image i with `values` i everywhere."""
    return values.to(torch.uint8).view(-1, 1, 1, 1).expand(len(values), *shape).clone()


def task(
    *,
    shape: tuple[int, int, int] = (1, 28, 28),
    outliers: Tensor | Streamed | Ragged | None = None,
    labelled: Labelled | None = None,
    outlier_maps: Tensor | None = None,
    num: int = N,
) -> Task:
    """Nominal image i is i % 100 everywhere."""
    nominal, empty, c = flat(torch.arange(num) % 100, shape), torch.empty(0), shape[0]
    # Inputs are the pixel values.
    constants = Normalisation((0.0,) * c, (1.0,) * c, (0.0,) * c, (1 / 255,) * c)
    return Task(
        nominal,
        outliers,
        nominal[:1],
        empty,
        empty,
        constants,
        empty,
        labelled=labelled,
        outlier_maps=outlier_maps,
    )


def exposed(*, shape: tuple[int, int, int] = (1, 28, 28), num: int = N) -> Task:
    """Outlier j is 100 + j everywhere."""
    return task(shape=shape, outliers=flat(100 + torch.arange(50), shape), num=num)


def epoch(run: Run, number: int, *, one: Task | None = None) -> tuple[Tensor, Tensor]:
    parts = list(batches(run, one or exposed(), epoch=number))
    assert [len(part.labels) for part in parts[:-1]] == [32] * (len(parts) - 1)
    assert all(part.maps is None for part in parts)
    inputs, labels = (torch.cat([getattr(p, n) for p in parts]) for n in ("inputs", "labels"))
    return inputs[:, 0, 0, 0].round().long(), labels


@pytest.fixture
def plain_run(digits_run: Run) -> Run:
    return change(digits_run, {"data.preprocessing": "none"})


@pytest.fixture
def maps_run(digits_run: Run) -> Callable[..., Run]:
    """A texture of 7 x 7 pixels, which is stored so too; keywords set fields of supervision."""

    def make(*, maps: bool = True, **supervision: object) -> Run:
        fields = {f"supervision.{name}": value for name, value in supervision.items()}
        return change(
            digits_run,
            {
                "data.name": "textures",
                "data.size": [7, 7],
                "data.preprocessing": "none",
                "outliers.source": "none",
                "objective.maps": maps,
                "net.name": "FCDD_CNN224",
                **fields,
            },
        )

    return make


SMALL = (3, 7, 7)


def joined(run: Run, one: Task, *, number: int = 1) -> Batch:
    """A whole epoch in one batch."""
    (batch,) = batches(change(run, {"training.batch_size": N}), one, epoch=number)
    return batch


def test_half_of_the_images_are_replaced_and_carry_label_1(plain_run: Run) -> None:
    values, labels = epoch(plain_run, 1)
    assert len(values) == N
    assert torch.equal(values >= 100, labels)
    assert labels.dtype == torch.bool
    assert 0.45 < labels.float().mean().item() < 0.55  # 3 standard deviations of n = 1,000


def test_outliers_come_evenly_and_nominal_images_once(plain_run: Run) -> None:
    values, labels = epoch(plain_run, 1)
    counts = values[labels].bincount(minlength=150)[100:]
    assert counts.max() - counts.min() <= 1
    nominal = values[~labels].bincount(minlength=100)
    assert nominal.max() <= N // 100


def test_epochs_and_seeds_differ_and_repeat_exactly(plain_run: Run) -> None:
    first, labels = epoch(plain_run, 1)
    again, labels_again = epoch(plain_run, 1)
    assert torch.equal(first, again)
    assert torch.equal(labels, labels_again)
    assert not torch.equal(first, epoch(plain_run, 2)[0])
    assert not torch.equal(first, epoch(change(plain_run, {"seed": 8}), 1)[0])


def test_draws_of_earlier_versions_stay(plain_run: Run) -> None:
    # A changed draw would change every row that exists.
    content = b"".join(part.numpy().tobytes() for n in (1, 2) for part in epoch(plain_run, n))
    assert hashlib.sha256(content).hexdigest()[:16] == "e18730adf4b8bd22"
    image = (
        torch.arange(784).remainder(251).to(torch.uint8).view(1, 1, 28, 28).expand(50, -1, -1, -1)
    )
    moved = crop_and_flip(image, padding_px=3, stream=generator(7, "augmentation/1"))
    assert hashlib.sha256(moved.numpy().tobytes()).hexdigest()[:16] == "a8a12b2435c6191a"


def test_unsupervised_epoch_holds_every_nominal_image_once(plain_run: Run) -> None:
    run = change(plain_run, {"supervision.mode": "unsupervised", "outliers.source": "none"})
    values, labels = epoch(run, 1, one=task())
    assert not bool(labels.any())
    assert values.bincount().tolist() == [N // 100] * 100


def test_replacement_probability_is_used(plain_run: Run) -> None:
    run = change(plain_run, {"supervision.replacement_probability": 1.0})
    assert bool(epoch(run, 1)[1].all())


def test_passes_make_an_epoch_longer(plain_run: Run) -> None:
    run = change(plain_run, {"training.passes": 3, "supervision.replacement_probability": 0.01})
    values, labels = epoch(run, 1)
    assert len(values) == 3 * N
    assert values[~labels].bincount().max() <= 3 * N // 100


def test_batches_leave_the_images_alone(digits_run: Run) -> None:
    one = exposed()
    before = one.train_images
    assert isinstance(before, Tensor)
    copy = before.clone()
    list(batches(digits_run, one, epoch=1))
    assert torch.equal(before, copy)


def test_inverted_labels_are_1_for_nominal_images(plain_run: Run) -> None:
    run = change(
        plain_run,
        {
            "data.name": "pascal_voc",
            "data.normal_class": 0,
            "data.inverted": True,
            "data.size": [8, 8],
            "net.name": "FCDD_CNN224",
        },
    )
    values, labels = epoch(run, 1, one=exposed(shape=(3, 8, 8)))
    assert torch.equal(values < 100, labels)


def test_maps_are_zero_for_nominal_and_one_for_replaced_images(
    maps_run: Callable[..., Run],
) -> None:
    for mode, noise in (("noise", "uniform"), ("malformed_nominal", "gaussian")):
        batch = joined(maps_run(mode=mode, noise=noise), task(shape=SMALL))
        assert batch.maps is not None and batch.maps.dtype == torch.float32
        assert batch.maps.shape == (N, 1, 7, 7)
        expected = batch.labels.float().view(N, 1, 1, 1).expand_as(batch.maps)
        assert torch.equal(batch.maps, expected)
        assert 400 < int(batch.labels.sum()) < 600
    without = joined(maps_run(mode="noise", noise="uniform", maps=False), task(shape=SMALL))
    assert without.maps is None


def test_noise_replaces_the_image_altogether(maps_run: Callable[..., Run]) -> None:
    batch = joined(maps_run(mode="noise", noise="solid"), task(shape=SMALL))
    noise, nominal = batch.inputs[batch.labels], batch.inputs[~batch.labels]
    assert noise.max() > 250  # nominal images end at 99
    assert bool((noise == noise[:, :, :1, :1]).all())
    assert nominal.max() < 99.5
    assert (noise[:, 0] != noise[:, 1]).any()


def test_maps_of_malformed_images_are_where_they_changed(maps_run: Callable[..., Run]) -> None:
    run = maps_run(mode="malformed_nominal_maps", noise="blob")
    batch = joined(run, task(shape=SMALL))
    assert batch.maps is not None
    inputs, maps = batch.inputs.round(), batch.maps[:, 0] == 1
    assert not bool(maps[~batch.labels].any())
    assert bool(maps[batch.labels].flatten(1).any(1).all())
    # Blobs of 255 saturate what they hit; the rest keeps its value, one of 0 to 99 everywhere.
    assert bool((inputs[:, 0][maps] == 255).all())
    rest = torch.where(maps, torch.nan, inputs[:, 0]).flatten(1)
    known = rest.isfinite().any(1)
    spread = rest.nan_to_num(1000).amin(1) - rest.nan_to_num(-1000).amax(1)
    assert bool((spread[known] == 0).all())
    assert rest.nan_to_num(0).max() < 100


def test_noise_differs_between_epochs_and_repeats(maps_run: Callable[..., Run]) -> None:
    run = maps_run(mode="noise", noise="uniform")
    first, again, other = (
        joined(run, task(shape=SMALL), number=number).inputs for number in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def labelled(count: int = 4) -> Labelled:
    """Labelled image j is 200 + j, its map covers the first j + 1 rows."""
    maps = torch.zeros((count, 1, 7, 7), dtype=torch.uint8)
    for j in range(count):
        maps[j, :, : j + 1] = 1
    return Labelled(flat(200 + torch.arange(count), SMALL), maps)


def test_labelled_images_come_with_their_maps(maps_run: Callable[..., Run]) -> None:
    run = maps_run(mode="few_maps", maps_per_defect=4, reserved_maps=4)
    batch = joined(run, task(shape=SMALL, labelled=labelled()))
    assert batch.maps is not None
    values = batch.inputs[:, 0, 0, 0].round().long()
    assert torch.equal(values >= 200, batch.labels)
    rows = torch.where(batch.labels, values - 199, 0)
    assert torch.equal(batch.maps.sum(dim=(1, 2, 3)).long(), 7 * rows)
    expected = (torch.arange(7) < rows[:, None])[:, None, :, None].expand_as(batch.maps)
    assert torch.equal(batch.maps, expected.float())


def test_labelled_and_malformed_images_are_mixed_by_their_share(
    maps_run: Callable[..., Run],
) -> None:
    run = maps_run(
        mode="few_maps", maps_per_defect=4, reserved_maps=4, noise="blob", labelled_share=0.3
    )
    batch = joined(run, task(shape=SMALL, labelled=labelled()))
    assert batch.maps is not None
    values = batch.inputs.round()
    whole = (values == values[:, :1, :1, :1]).flatten(1).all(1)
    real = batch.labels & whole & (values[:, 0, 0, 0] >= 200) & (values[:, 0, 0, 0] < 204)
    made = batch.labels & ~real
    n = int(batch.labels.sum())
    assert int(real.sum()) / n == pytest.approx(0.3, abs=4 * (0.21 / n) ** 0.5)
    saturated = values[:, :1] == 255
    assert torch.equal(batch.maps[made] == 1, saturated[made])


def test_few_maps_without_any_map(maps_run: Callable[..., Run]) -> None:
    run = maps_run(mode="few_maps", maps_per_defect=0, reserved_maps=4, noise="blob")
    batch = joined(run, task(shape=SMALL))
    assert batch.maps is not None
    assert 400 < int(batch.labels.sum()) < 600
    assert torch.equal(batch.maps.flatten(1).any(1), batch.labels)
    quiet = maps_run(mode="few_maps", maps_per_defect=0, reserved_maps=4)
    assert not bool(joined(quiet, task(shape=SMALL)).labels.any())


def test_true_anomalies_come_with_the_maps_they_have(digits_run: Run) -> None:
    run = change(
        digits_run,
        {
            "data.name": "custom",
            "data.normal_class": 0,
            "data.classes": ["a"],
            "data.layout": "nominal_anomalous",
            "data.maps": True,
            "data.size": [4, 4],
            "data.preprocessing": "none",
            "outliers.source": "none",
            "supervision.mode": "true_anomalies",
            "objective.maps": True,
            "net.name": "FCDD_CNN224",
        },
    )
    shape = (3, 4, 4)
    maps = torch.zeros((2, 1, 4, 4), dtype=torch.uint8)
    maps[1, :, 3] = 1
    one = task(shape=shape, outliers=flat(torch.tensor([200, 201]), shape), outlier_maps=maps)
    batch = joined(run, one)
    assert batch.maps is not None
    values = batch.inputs[:, 0, 0, 0].round()
    assert torch.equal(batch.maps.sum(dim=(1, 2, 3)), torch.where(values == 201, 4.0, 0.0))
    assert int((values == 200).sum()) > 200


def test_images_with_maps_are_cropped_with_them(maps_run: Callable[..., Run]) -> None:
    run = change(
        maps_run(mode="malformed_nominal_maps", noise="blob"),
        {"data.size": [64, 64], "data.preprocessing": "aug1", "data.resizing": "published"},
    )
    one = task(shape=(3, 68, 68), num=40)
    batch = joined(run, one)
    assert batch.inputs.shape == (40, 3, 64, 64) and batch.maps is not None
    # Blobs are 255, all else is below 100; jitter and noise move neither by half of that.
    assert torch.equal(batch.maps == 1, batch.inputs[:, :1] > 177)


def test_images_of_different_sizes_are_cropped(plain_run: Run) -> None:
    run = change(
        plain_run,
        {
            "data.name": "imagenet30",
            "data.preprocessing": "aug1",
            "data.size": [32, 32],
            "net.name": "FCDD_CNN224",
        },
    )
    rng = np.random.default_rng(0)
    ragged = Ragged.from_images(
        [
            np.full((3, 37 + rng.integers(9), 37 + rng.integers(30)), value, np.uint8)
            for value in range(60)
        ]
    ).to("cpu")
    pool = flat(100 + torch.arange(50), (3, 37, 37))
    one = replace(task(shape=(3, 32, 32), outliers=pool), train_images=ragged)
    parts = list(batches(run, one, epoch=1))
    inputs, labels = (torch.cat([getattr(p, n) for p in parts]) for n in ("inputs", "labels"))
    assert inputs.shape == (60, 3, 32, 32)
    means = inputs.mean(dim=(1, 2, 3))
    assert torch.equal(means > 99.5 - 1, labels)
    assert 15 < int(labels.sum()) < 45
    noise = change(
        run,
        {
            "supervision.mode": "malformed_nominal",
            "supervision.noise": "blob",
            "outliers.source": "none",
        },
    )
    alone = replace(one, outliers=None)
    (batch,) = batches(change(noise, {"training.batch_size": 60}), alone, epoch=1)
    bright = (batch.inputs > 177).flatten(1).any(1)
    assert torch.equal(bright, batch.labels)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_pool_on_disk_gives_the_same_batches_as_one_in_memory(
    digits_run: Run, tmp_path: Path, workers: int
) -> None:
    run = change(digits_run, {"data.name": "cifar10", "net.name": "FCDD_CNN32"})
    shape = (3, 32, 32)
    images = np.random.default_rng(0).integers(0, 256, (7, *shape), np.uint8)
    for number, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
    pool = Streamed(scan_tree(tmp_path), shape, "squash", workers=workers)
    expected = batches(run, task(shape=shape, outliers=torch.from_numpy(images), num=100), epoch=1)
    served = batches(run, task(shape=shape, outliers=pool, num=100), epoch=1)
    for ours, theirs in zip(served, expected, strict=True):
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.inputs, theirs.inputs)


def test_marked_images_are_stamped(plain_run: Run) -> None:
    run = change(
        plain_run,
        {"watermark.kind": "square", "watermark.side_px": 8, "watermark.fraction": 0.5},
    )
    batch = joined(run, exposed())
    middle = batch.inputs[:, 0, 23, 4].round()  # white within the mark, lower left
    stamped = middle == 255
    assert not bool((stamped & batch.labels).any())
    nominal = ~batch.labels
    share = int(stamped.sum()) / int(nominal.sum())
    assert share == pytest.approx(0.5, abs=4 * 0.5 / int(nominal.sum()) ** 0.5)
    assert torch.equal(batch.inputs[:, 0, 10, 20].round() >= 100, batch.labels)
