from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fcdd.config import Run, Supervision, change
from fcdd.data.batches import batches
from fcdd.data.constants import Normalisation
from fcdd.data.task import Task
from fcdd.evaluation import evaluate
from fcdd.losses import anomaly_map
from fcdd.nets.build import build
from fcdd.training import fit, make_optimizer, make_schedule, train_epoch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the sweep does before it trains: the run's number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rates(run: Run) -> list[float]:
    optimizer = make_optimizer(run, build(run))
    schedule = make_schedule(run, optimizer)
    seen = []
    for _ in range(run.training.epochs):
        seen.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return seen


def test_exponential_schedule_multiplies_every_epoch(digits_run: Run) -> None:
    run = change(digits_run, {"training.epochs": 4, "training.lr_factor": 0.5})
    assert rates(run) == pytest.approx([1e-3, 5e-4, 2.5e-4, 1.25e-4])


def test_milestones_multiply_after_their_epoch(digits_run: Run) -> None:
    run = change(
        digits_run,
        {
            "training.epochs": 5,
            "training.schedule": "milestones",
            "training.lr_factor": 0.1,
            "training.lr_milestones": [2, 4],
        },
    )
    assert rates(run) == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])


def test_sgd_has_nesterov_momentum_and_every_setting_arrives(digits_run: Run) -> None:
    run = change(digits_run, {"training.optimizer": "sgd", "training.weight_decay": 0.25})
    (group,) = make_optimizer(run, build(run)).param_groups
    assert (group["momentum"], group["nesterov"]) == (0.9, True)
    assert (group["lr"], group["weight_decay"]) == (1e-3, 0.25)
    assert len(group["params"]) == len(list(build(run).parameters()))


def test_adam_step_by_hand(digits_run: Run) -> None:
    run = change(digits_run, {"training.weight_decay": 0.0})
    net = build(run)
    optimizer = make_optimizer(run, net)
    before = [p.detach().clone() for p in net.parameters()]
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    optimizer.step()
    for old, new in zip(before, net.parameters(), strict=True):
        # The first step of Adam moves by lr against the sign of the gradient.
        torch.testing.assert_close(old - new, torch.full_like(old, 1e-3), rtol=1e-3, atol=1e-6)


def a_task(run: Run, *, num: int = 24) -> Task:
    """Smooth nominal images and as many noisy ones, half of each to test."""
    c, h, w = run.data.shape
    stream = np.random.default_rng(0)
    waves = np.sin(np.arange(h)[:, None] / 3) * np.cos(np.arange(w)[None, :] / 4)
    smooth = 128 + 60 * waves + stream.normal(0, 5, (num, c, h, w))
    spots, noise = stream.random((num, 1, h, w)) < 0.3, stream.integers(0, 256, (num, c, h, w))
    rough = np.where(spots, noise, smooth)
    nominal, anomalous = (
        torch.from_numpy(images.clip(0, 255).astype(np.uint8)) for images in (smooth, rough)
    )
    exposed = run.supervision.mode == "outlier_exposure"
    return Task(
        train_images=nominal[: num // 2],
        outliers=anomalous[: num // 2] if exposed else None,
        test_images=torch.cat([nominal[num // 2 :], anomalous[num // 2 :]]),
        test_labels=torch.arange(2 * (num - num // 2), dtype=torch.uint8) // (num - num // 2),
        test_classes=torch.zeros(2 * (num - num // 2), dtype=torch.int64),
        normalisation=Normalisation((0.0,) * c, (1.0,) * c, (0.5,) * c, (0.25,) * c),
        test_ids=torch.arange(2 * (num - num // 2)),
    )


SHORT = {"training.epochs": 8, "training.batch_size": 8, "data.preprocessing": "none"}
OBJECTIVES = {
    "fcdd": {},
    "maps": {
        "data.name": "textures",
        "data.normal_class": 0,
        "net.name": "FCDD_CNN32_S",
        "objective.maps": True,
        "outliers.source": "none",
        "supervision": Supervision(mode="malformed_nominal_maps", noise="confetti"),
    },
    "hsc": {"objective.name": "hsc", "net.name": "CNN28"},
    "ae": {
        "objective.name": "ae",
        "net.name": "AE28",
        "outliers.source": "none",
        "supervision.mode": "unsupervised",
        "training.lr": 1e-2,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_learns_and_repeats_to_the_bit(digits_run: Run, name: str) -> None:
    run = change(digits_run, SHORT | OBJECTIVES[name])
    task = a_task(run)
    device = torch.device("cpu")
    fitted = fit(run, task, device=device)
    again = fit(run, task, device=device)
    losses = [epoch.train_loss for epoch in fitted.epochs]
    assert losses[-1] < losses[0]
    assert losses == [epoch.train_loss for epoch in again.epochs]
    for old, new in zip(fitted.net.parameters(), again.net.parameters(), strict=True):
        assert torch.equal(old, new)


def test_the_loss_of_an_epoch_weighs_batches_by_their_size(digits_run: Run) -> None:
    run = change(
        digits_run,
        SHORT
        | {
            "outliers.source": "none",
            "supervision.mode": "unsupervised",
            "training.batch_size": 7,  # 12 images: 7 and 5
            "training.lr": 1e-9,
        },
    )
    task, net = a_task(run), build(run)
    found = train_epoch(run, task, net=net, optimizer=make_optimizer(run, net), epoch=1)
    losses = []
    net = build(run).train()
    for batch in batches(run, task, epoch=1):
        losses += [anomaly_map(net(batch.inputs)).mean().item()] * len(batch.inputs)
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_frozen_parameters_do_not_move_although_weights_decay(
    digits_run: Run, optimizer: str
) -> None:
    run = change(
        digits_run, SHORT | {"training.optimizer": optimizer, "training.weight_decay": 0.5}
    )
    net = build(run)
    frozen = next(net.parameters()).requires_grad_(False)
    kept = frozen.clone()
    moving = list(net.parameters())[-2]
    before = moving.detach().clone()
    train_epoch(run, a_task(run), net=net, optimizer=make_optimizer(run, net), epoch=1)
    assert torch.equal(frozen, kept)
    assert not torch.equal(moving, before)


def test_test_curves_are_those_of_the_evaluation_and_change_nothing(digits_run: Run) -> None:
    run = change(digits_run, SHORT | {"training.epochs": 2})
    tested = change(run, {"evaluation.test_every": 2})
    task, device = a_task(run), torch.device("cpu")
    plain, curve = fit(run, task, device=device), fit(tested, task, device=device)
    assert [epoch.test_auroc for epoch in plain.epochs] == [None, None]
    found = evaluate(run, plain.net, task).image_auroc
    assert [epoch.test_auroc for epoch in curve.epochs] == [None, found]
    assert [epoch.train_loss for epoch in curve.epochs] == [e.train_loss for e in plain.epochs]


def test_a_loss_that_is_not_finite_stops_and_names_epoch_and_step(digits_run: Run) -> None:
    run = change(
        digits_run, SHORT | {"training.lr": 1e30, "training.optimizer": "sgd", "training.epochs": 3}
    )
    with pytest.raises(FloatingPointError, match=r"in epoch [123], step \d; lower training.lr"):
        fit(run, a_task(run), device=torch.device("cpu"))
