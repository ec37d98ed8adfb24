import pytest
import torch

from fcdd.config import Run, change
from fcdd.nets.build import build
from fcdd.training import make_optimizer, make_schedule


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
