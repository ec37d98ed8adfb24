from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fcdd import stacked, training
from fcdd.config import Run, Supervision, change
from fcdd.data.batches import Batch, batches
from fcdd.data.constants import Normalisation
from fcdd.data.task import Task
from fcdd.evaluation import evaluate
from fcdd.nets.build import build
from fcdd.stacked import fit_stacked, why_not_stacked
from fcdd.stacked_optimisers import OptimizerName, coefficients, update
from fcdd.training import Epoch, Fit, fit

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def a_task(run: Run, *, num: int) -> Task:
    """`num` smooth nominal images and as many noisy ones to train on, 12 of each to test."""
    c, h, w = run.data.shape
    stream = np.random.default_rng(run.seed)
    total = num + 12
    waves = np.sin(np.arange(h)[:, None] / 3) * np.cos(np.arange(w)[None, :] / 4)
    smooth = 128 + 60 * waves + stream.normal(0, 5, (total, c, h, w))
    spots = stream.random((total, 1, h, w)) < 0.3
    rough = np.where(spots, stream.integers(0, 256, (total, c, h, w)), smooth)
    nominal, anomalous = (
        torch.from_numpy(images.clip(0, 255).astype(np.uint8)) for images in (smooth, rough)
    )
    exposed = run.supervision.mode == "outlier_exposure"
    return Task(
        train_images=nominal[:num],
        outliers=anomalous[:num] if exposed else None,
        test_images=torch.cat([nominal[num:], anomalous[num:]]),
        test_labels=torch.arange(24, dtype=torch.uint8) // 12,
        test_classes=torch.zeros(24, dtype=torch.int64),
        normalisation=Normalisation((0.0,) * c, (1.0,) * c, (0.5,) * c, (0.25,) * c),
        test_ids=torch.arange(24),
    )


SHORT: dict[str, object] = {
    "training.epochs": 3,
    "training.batch_size": 8,
    "training.lr": 1e-3,
    "data.preprocessing": "none",
}
SETTINGS: dict[str, dict[str, object]] = {
    "adam, exponential": {},
    "sgd, exponential": {"training.optimizer": "sgd", "training.weight_decay": 1e-3},
    "adam, milestones": {
        "training.schedule": "milestones",
        "training.lr_factor": 0.1,
        "training.lr_milestones": [1, 3],
    },
    "sgd, milestones": {
        "training.optimizer": "sgd",
        "training.schedule": "milestones",
        "training.lr_factor": 0.1,
        "training.lr_milestones": [2],
    },
    "an unused BatchNorm": {
        "data.name": "cifar10",
        "net.name": "FCDD_CNN32",
        "outliers.source": "cifar100",
        "training.epochs": 1,
    },
    "augmentation": {"data.preprocessing": "lcnaug1"},
    "hsc": {"objective.name": "hsc", "net.name": "CNN28"},
    "ae": {
        "objective.name": "ae",
        "net.name": "AE28",
        "outliers.source": "none",
        "supervision.mode": "unsupervised",
    },
}
MAPS: dict[str, object] = {
    "data.name": "textures",
    "data.normal_class": 0,
    "net.name": "FCDD_CNN32_S",
    "objective.maps": True,
    "training.epochs": 1,
    "outliers.source": "none",
    "supervision": Supervision(mode="malformed_nominal_maps", noise="confetti"),
}


def three(run: Run) -> tuple[list[Run], list[Task]]:
    """Runs of other seeds, learning rates and numbers of images: epochs of 2, 3 and 3 steps, whose
    last batches hold 4, 8 and 1 images."""
    runs = [change(run, {"seed": s, "training.lr": run.training.lr * (s + 1)}) for s in range(3)]
    return runs, [a_task(r, num=num) for r, num in zip(runs, (12, 24, 17), strict=True)]


def fitted(outcome: Fit | Exception) -> Fit:
    assert isinstance(outcome, Fit), outcome
    return outcome


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of training in float64, where rounding cannot hide or feign a difference."""
    for module in (training, stacked):
        monkeypatch.setattr(module, "build", lambda run, **rest: build(run, **rest).double())
        monkeypatch.setattr(module, "batches", _double_batches)


def _double_batches(run: Run, task: Task, *, epoch: int) -> Iterator[Batch]:
    for batch in batches(run, task, epoch=epoch):
        yield replace(batch, inputs=batch.inputs.double())


def losses(fit: Fit) -> Tensor:
    return torch.tensor([epoch.train_loss for epoch in fit.epochs], dtype=torch.float64)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.usefixtures("double")
def test_in_float64_a_stacked_run_is_the_single_one(digits_run: Run, name: str) -> None:
    runs, tasks = three(change(digits_run, SHORT | SETTINGS[name]))
    counts = []
    for run, task, outcome in zip(runs, tasks, fit_stacked(runs, tasks, device=CPU), strict=True):
        single, found = fit(run, task, device=CPU), fitted(outcome)
        assert [e.lr for e in found.epochs] == [e.lr for e in single.epochs]
        assert_close(losses(found), losses(single), rtol=1e-9, atol=0)
        state = found.net.state_dict()
        # BatchNorm's statistics and counts among them. Adam divides gradients that are 0 but for
        # rounding by its eps of 1e-8, hence the absolute tolerance.
        for entry, expected in single.net.state_dict().items():
            assert_close(state[entry], expected, rtol=1e-7, atol=1e-7)
        counts += [int(v) for k, v in state.items() if k == "bn2d1.num_batches_tracked"]
    epochs = runs[0].training.epochs
    assert counts in ([2 * epochs, 3 * epochs, 3 * epochs], [])  # steps of all epochs


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    # Of scores. A bias before BatchNorm has a gradient of 0 but for rounding, which Adam scales up
    # to full steps; outputs in training do not change with it, but the running mean lags behind.
    [
        (SETTINGS["sgd, exponential"], 1e-4),
        ({"net.bias": False}, 1e-3),
        (MAPS | {"net.bias": False}, 1e-3),
        ({}, 0.1),
    ],
    ids=["sgd", "adam without biases", "maps without biases", "adam"],
)
def test_in_float32_it_differs_by_rounding_only(
    digits_run: Run, changes: dict[str, object], tolerance: float
) -> None:
    runs, tasks = three(change(digits_run, SHORT | {"evaluation.test_every": 2} | changes))
    for run, task, outcome in zip(runs, tasks, fit_stacked(runs, tasks, device=CPU), strict=True):
        single, found = fit(run, task, device=CPU), fitted(outcome)
        assert_close(losses(found), losses(single), rtol=1e-3, atol=0)
        for epoch in found.epochs:
            assert (epoch.test_auroc is None) == (epoch.epoch != 2)
        scores, expected = (evaluate(run, one.net, task).scores for one in (found, single))
        assert_close(scores, expected, rtol=tolerance, atol=1e-5)


def test_a_stack_repeats_to_the_bit(digits_run: Run) -> None:
    runs, tasks = three(change(digits_run, SHORT))
    first, second = (fit_stacked(runs, tasks, device=CPU) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert [e.train_loss for e in fitted(one).epochs] == [
            e.train_loss for e in fitted(other).epochs
        ]
        for old, new in zip(
            fitted(one).net.parameters(), fitted(other).net.parameters(), strict=True
        ):
            assert torch.equal(old, new)


@pytest.mark.parametrize("broken", [0, 1])
def test_a_run_that_is_not_finite_fails_alone(digits_run: Run, broken: int) -> None:
    base = change(digits_run, SHORT | {"training.optimizer": "sgd", "evaluation.test_every": 1})
    runs = [change(base, {"seed": s, "training.lr": 1e38 if s == broken else 1e-3}) for s in (0, 1)]
    tasks = [a_task(run, num=24) for run in runs]
    seen: list[list[Epoch]] = [[], []]
    outcomes = fit_stacked(runs, tasks, device=CPU, reports=[epochs.append for epochs in seen])
    with pytest.raises(FloatingPointError) as single:
        fit(runs[broken], tasks[broken], device=CPU)
    assert isinstance(outcomes[broken], FloatingPointError)
    assert str(outcomes[broken]) == str(single.value)
    assert "training.lr (1e+38)" in str(single.value)
    sound = fitted(outcomes[1 - broken])
    expected = fit(runs[1 - broken], tasks[1 - broken], device=CPU)
    assert len(sound.epochs) == len(seen[1 - broken]) == 3
    assert_close(losses(sound), losses(expected), rtol=1e-4, atol=0)


def test_when_every_run_fails_all_say_why(digits_run: Run) -> None:
    base = change(digits_run, SHORT | {"training.optimizer": "sgd", "training.lr": 1e38})
    runs = [change(base, {"seed": seed}) for seed in range(2)]
    outcomes = fit_stacked(runs, [a_task(r, num=24) for r in runs], device=CPU)
    assert [type(outcome) for outcome in outcomes] == [FloatingPointError] * 2


def test_the_time_of_a_stack_is_shared(digits_run: Run) -> None:
    runs, tasks = three(change(digits_run, SHORT))
    seconds = [fitted(outcome).train_seconds for outcome in fit_stacked(runs, tasks, device=CPU)]
    assert seconds[0] > 0
    assert seconds == pytest.approx([seconds[0]] * 3)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"net.name": "FCDD_CNN28_W"}, "net differs"),
        ({"training.epochs": 9}, "training.epochs differs: 3 and 9"),
        ({"training.batch_size": 16}, "training.batch_size differs: 8 and 16"),
        ({"heatmaps.gauss_std": 3.0}, "heatmaps differs"),
        ({"threads": 2}, "threads differs: 1 and 2"),
    ],
)
def test_runs_that_do_not_go_together_are_refused(
    digits_run: Run, changes: dict[str, object], reason: str
) -> None:
    run = change(digits_run, SHORT)
    other = change(run, changes)
    assert (why_not_stacked([run, other]) or "").startswith(reason)
    with pytest.raises(ValueError, match="cannot be trained as one stack: .*differs"):
        fit_stacked([run, other], [a_task(run, num=8)] * 2, device=CPU)


def test_class_seed_and_learning_rate_may_differ(digits_run: Run) -> None:
    other = change(digits_run, {"seed": 9, "training.lr": 0.5, "data.normal_class": 1})
    assert why_not_stacked([digits_run, other]) is None


def reference(
    kind: str, values: Tensor, gradients: list[Tensor], lr: float, decay: float
) -> Tensor:
    parameter = torch.nn.Parameter(values.clone())
    if kind == "sgd":
        optimizer = torch.optim.SGD(
            [parameter], lr=lr, weight_decay=decay, momentum=0.9, nesterov=True
        )
    else:
        optimizer = torch.optim.Adam([parameter], lr=lr, weight_decay=decay)
    for gradient in gradients:
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_optimisers_are_those_of_torch(kind: OptimizerName) -> None:
    stream = torch.Generator().manual_seed(0)
    values = torch.randn((2, 5, 3), generator=stream, dtype=torch.float64)
    gradients = [torch.randn((2, 5, 3), generator=stream, dtype=torch.float64) for _ in range(6)]
    settings = [(0.125, 0.25), (0.0625, 0.5)]  # exact in float32
    weights = {"w": values.clone()}
    moments = {"w": (torch.zeros_like(values), torch.zeros_like(values))}
    factors = torch.stack(
        [
            coefficients(kind, lr=lr, weight_decay=decay, steps=range(1, 7))
            for lr, decay in settings
        ],
        dim=1,
    )
    for step, gradient in enumerate(gradients):
        update(kind, weights, [gradient], moments, factors[step])
    for place, (lr, decay) in enumerate(settings):
        expected = reference(kind, values[place], [g[place] for g in gradients], lr, decay)
        assert_close(weights["w"][place], expected, rtol=1e-12, atol=1e-14)


def test_parameters_without_a_gradient_stay() -> None:
    weights = {"w": torch.ones(1, 2)}
    moments = {"w": (torch.zeros(1, 2), torch.zeros(1, 2))}
    factors = coefficients("sgd", lr=0.5, weight_decay=0.5, steps=[1])
    update("sgd", weights, [None], moments, factors)
    assert torch.equal(weights["w"], torch.ones(1, 2))
