import pytest
import torch
from torch import Tensor

from fcdd.config import Run, change
from fcdd.data.constants import Normalisation
from fcdd.data.plan import Plan, draw, plan_epoch
from fcdd.data.randomness import generator
from fcdd.data.task import Labelled, Task

N = 600
CONSTANTS = Normalisation((0.0,), (1.0,), (0.0,), (1.0,))


def task(*, outliers: int = 0, labelled: int = 0) -> Task:
    def images(n: int) -> Tensor:
        return torch.zeros((n, 1, 1, 1), dtype=torch.uint8)

    empty = torch.empty(0)
    return Task(
        images(N),
        images(outliers) if outliers else None,
        images(1),
        empty,
        empty,
        CONSTANTS,
        empty,
        labelled=Labelled(images(labelled), images(labelled)) if labelled else None,
    )


@pytest.fixture
def few_run(digits_run: Run) -> Run:
    return change(
        digits_run,
        {
            "data.name": "textures",
            "outliers.source": "none",
            "supervision.mode": "few_maps",
            "supervision.noise": "confetti",
            "supervision.maps_per_defect": 4,
            "supervision.reserved_maps": 4,
            "net.name": "FCDD_CNN224",
        },
    )


def test_draw_goes_through_everything_before_it_repeats() -> None:
    picks = draw(5, 12, generator(0, "draw"))
    assert sorted(picks[:5].tolist()) == sorted(picks[5:10].tolist()) == [0, 1, 2, 3, 4]
    assert len(draw(5, 0, generator(0, "draw"))) == 0


def test_draw_from_millions_is_without_repetition_and_even() -> None:
    size, count = 10_000_000, 5000
    picks = draw(size, count, generator(0, "many"))
    assert len(picks.unique()) == count
    assert picks.min() >= 0 and picks.max() < size
    assert picks.double().mean().item() == pytest.approx(size / 2, rel=4 * 0.577 / count**0.5)
    assert torch.equal(picks, draw(size, count, generator(0, "many")))


def test_an_epoch_has_a_permutation_per_pass(digits_run: Run) -> None:
    run = change(digits_run, {"training.passes": 3})
    plan = plan_epoch(run, task(outliers=50), epoch=1)
    assert len(plan.order) == len(plan.replaced) == 3 * N
    for start in range(0, 3 * N, N):
        assert torch.equal(plan.order[start : start + N].sort().values, torch.arange(N))
    assert not torch.equal(plan.order[:N], plan.order[N : 2 * N])
    assert len(plan.picks) == int(plan.replaced.sum())


def test_batches_of_a_plan_are_its_parts(digits_run: Run) -> None:
    plan = plan_epoch(digits_run, task(outliers=50), epoch=4)
    parts = list(plan.batches(64))
    assert [len(part.order) for part in parts] == [64] * 9 + [24]
    for name in ("order", "replaced", "picks"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(plan, name))
    assert all(len(part.picks) == int(part.replaced.sum()) for part in parts)


def test_labelled_images_replace_with_their_share_else_malformed_ones(few_run: Run) -> None:
    few = change(few_run, {"supervision.labelled_share": 0.2, "training.passes": 5})
    plan = plan_epoch(few, task(labelled=6), epoch=1)
    n = len(plan.picks)
    assert n / (5 * N) == pytest.approx(0.5, abs=4 * 0.5 / (5 * N) ** 0.5)
    assert (plan.picks >= 0).double().mean().item() == pytest.approx(0.2, abs=4 * 0.4 / n**0.5)
    assert set(plan.picks.unique().tolist()) == {-1, 0, 1, 2, 3, 4, 5}
    counts = plan.picks[plan.picks >= 0].bincount()
    assert counts.max() - counts.min() <= 1


def test_without_noise_every_replaced_image_is_a_labelled_one(few_run: Run) -> None:
    run = change(few_run, {"supervision.noise": None})
    plan = plan_epoch(run, task(labelled=6), epoch=1)
    assert 0.4 * N < len(plan.picks) < 0.6 * N
    assert plan.picks.min() == 0


def test_without_labelled_images_all_are_malformed_or_none_without_noise(few_run: Run) -> None:
    none = change(few_run, {"supervision.maps_per_defect": 0})
    plan = plan_epoch(none, task(), epoch=1)
    assert 0.4 * N < len(plan.picks) < 0.6 * N
    assert set(plan.picks.tolist()) == {-1}
    plan = plan_epoch(change(none, {"supervision.noise": None}), task(), epoch=1)
    assert not bool(plan.replaced.any()) and len(plan.picks) == 0


def test_more_labelled_images_change_nothing_else(few_run: Run) -> None:
    one, four = (plan_epoch(few_run, task(labelled=count), epoch=2) for count in (3, 12))
    assert torch.equal(one.order, four.order)
    assert torch.equal(one.replaced, four.replaced)
    assert torch.equal(one.picks < 0, four.picks < 0)


def marked(run: Run, one: Task, *, epoch: int) -> tuple[Plan, Tensor]:
    plan = plan_epoch(run, one, epoch=epoch)
    assert plan.marked is not None
    return plan, plan.marked


def test_the_same_nominal_images_carry_the_mark_in_every_epoch(digits_run: Run) -> None:
    run = change(
        digits_run,
        {"watermark.kind": "cross", "watermark.side_px": 5, "watermark.fraction": 0.25},
    )
    carried: set[int] = set()
    bare: set[int] = set()
    for epoch in range(1, 9):
        plan, on = marked(run, task(outliers=50), epoch=epoch)
        assert not bool((on & plan.replaced).any())
        carried |= set(plan.order[on].tolist())
        bare |= set(plan.order[~on & ~plan.replaced].tolist())
    assert not carried & bare
    assert 0.2 * N < len(carried) <= 0.25 * N
    assert plan_epoch(digits_run, task(outliers=50), epoch=1).marked is None
    other, on = marked(change(run, {"seed": 8}), task(outliers=50), epoch=1)
    assert set(other.order[on].tolist()) - carried


def test_the_same_outliers_carry_the_mark_in_every_epoch(digits_run: Run) -> None:
    run = change(
        digits_run,
        {
            "watermark.kind": "cross",
            "watermark.side_px": 5,
            "watermark.fraction": 0.2,
            "watermark.target": "outliers",
        },
    )
    carried: set[int] = set()
    for epoch in range(1, 4):
        plan, on = marked(run, task(outliers=50), epoch=epoch)
        assert not bool((on & ~plan.replaced).any())
        carried |= set(plan.picks[on[plan.replaced]].tolist())
    assert len(carried) == 10


def test_noise_carries_the_mark_of_the_image_it_stands_for(few_run: Run) -> None:
    run = change(
        few_run,
        {
            "watermark.kind": "cross",
            "watermark.side_px": 5,
            "watermark.fraction": 0.5,
            "watermark.target": "outliers",
        },
    )
    plan, on = marked(run, task(labelled=8), epoch=1)
    assert not bool((on & ~plan.replaced).any())
    on_replaced, made = on[plan.replaced], plan.picks < 0
    labelled = {p for p, m in zip(plan.picks[~made], on_replaced[~made], strict=True) if m}
    assert len({int(p) for p in labelled}) == 4
    again, on_again = marked(run, task(labelled=8), epoch=2)
    first = dict(zip(plan.order[plan.replaced][made].tolist(), on_replaced[made], strict=True))
    made = again.picks < 0
    second = dict(
        zip(again.order[again.replaced][made].tolist(), on_again[again.replaced][made], strict=True)
    )
    both = first.keys() & second.keys()
    assert len(both) > 10
    assert all(first[place] == second[place] for place in both)
