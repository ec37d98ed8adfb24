import torch

from fcdd.config import Run, change
from fcdd.data.batches import batches, draw
from fcdd.data.constants import Normalisation
from fcdd.data.task import Task, generator

N = 1000


def task(*, exposed: bool = True) -> Task:
    """Nominal image i is i % 100 everywhere, outlier j is 100 + j everywhere."""
    nominal = (torch.arange(N) % 100).to(torch.uint8).view(N, 1, 1, 1).expand(N, 1, 28, 28).clone()
    outliers = (100 + torch.arange(50)).to(torch.uint8).view(50, 1, 1, 1).expand(50, 1, 28, 28)
    empty = torch.empty(0)
    constants = Normalisation((0.0,), (1.0,), (0.0,), (1 / 255,))  # inputs are the pixel values
    return Task(
        nominal, outliers if exposed else None, nominal, empty, empty, constants, torch.arange(N)
    )


def epoch(run: Run, number: int, *, exposed: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    parts = list(batches(run, task(exposed=exposed), epoch=number))
    assert [len(labels) for _, labels in parts[:-1]] == [32] * (N // 32)
    inputs, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return inputs[:, 0, 0, 0].round().long(), labels


def test_half_of_the_images_are_replaced_and_carry_label_1(digits_run: Run) -> None:
    values, labels = epoch(change(digits_run, {"data.preprocessing": "none"}), 1)
    assert len(values) == N
    assert torch.equal(values >= 100, labels)
    assert 0.45 < labels.float().mean().item() < 0.55  # 3 standard deviations of n = 1,000


def test_outliers_come_evenly_and_nominal_images_once(digits_run: Run) -> None:
    values, labels = epoch(change(digits_run, {"data.preprocessing": "none"}), 1)
    counts = values[labels].bincount(minlength=150)[100:]
    assert counts.max() - counts.min() <= 1
    nominal = values[~labels].bincount(minlength=100)
    assert nominal.max() <= N // 100


def test_epochs_and_seeds_differ_and_repeat_exactly(digits_run: Run) -> None:
    run = change(digits_run, {"data.preprocessing": "none"})
    first, labels = epoch(run, 1)
    again, labels_again = epoch(run, 1)
    assert torch.equal(first, again)
    assert torch.equal(labels, labels_again)
    assert not torch.equal(first, epoch(run, 2)[0])
    assert not torch.equal(first, epoch(change(run, {"seed": 8}), 1)[0])


def test_unsupervised_epoch_holds_every_nominal_image_once(digits_run: Run) -> None:
    run = change(
        digits_run,
        {
            "data.preprocessing": "none",
            "supervision.mode": "unsupervised",
            "outliers.source": "none",
        },
    )
    values, labels = epoch(run, 1, exposed=False)
    assert not bool(labels.any())
    assert values.bincount().tolist() == [N // 100] * 100


def test_replacement_probability_is_used(digits_run: Run) -> None:
    changes = {"data.preprocessing": "none", "supervision.replacement_probability": 1.0}
    assert bool(epoch(change(digits_run, changes), 1)[1].all())


def test_batches_leave_the_images_alone(digits_run: Run) -> None:
    one = task()
    before = one.train_images.clone()
    list(batches(digits_run, one, epoch=1))
    assert torch.equal(one.train_images, before)


def test_draw_goes_through_everything_before_it_repeats() -> None:
    picks = draw(5, 12, generator(0, "draw"))
    assert sorted(picks[:5].tolist()) == sorted(picks[5:10].tolist()) == [0, 1, 2, 3, 4]
    assert len(draw(5, 0, generator(0, "draw"))) == 0
