"""Stacks in other precisions, recorded and compiled."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fcdd import stacked, stacked_steps
from fcdd.config import Run, change
from fcdd.data.constants import Normalisation
from fcdd.data.task import Task
from fcdd.evaluation import evaluate
from fcdd.execution import EAGER, Execution
from fcdd.stacked import fit_stacked, why_never_stacked, why_not_stacked
from fcdd.stacked_nets import stack_nets
from fcdd.training import Fit, fit

CPU = torch.device("cpu")
GRAPHS = Execution(graphs=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    stacked_steps._proven.clear()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def runs(digits_run: Run) -> list[Run]:
    changes = {
        "training.epochs": 3,
        "training.batch_size": 8,
        "training.lr_factor": 0.5,
        "data.preprocessing": "none",
        "net.bias": False,
    }
    base = change(digits_run, changes)
    return [change(base, {"seed": s, "training.lr": 1e-3 * (s + 1)}) for s in range(2)]


def a_task(seed: int) -> Task:
    """Epochs of five whole batches of 8 and one of 2 images, for seed 1 of 4 and one of 3."""
    num = (42, 35)[seed]
    stream = np.random.default_rng(seed)
    smooth = stream.normal(128, 10, (num + 12, 1, 28, 28)).clip(0, 255)
    rough = stream.integers(0, 256, (num + 12, 1, 28, 28))
    nominal, anomalous = (torch.from_numpy(i.astype(np.uint8)) for i in (smooth, rough))
    return Task(
        train_images=nominal[:num],
        outliers=anomalous[:num],
        test_images=torch.cat([nominal[num:], anomalous[num:]]),
        test_labels=torch.arange(24, dtype=torch.uint8) // 12,
        test_classes=torch.zeros(24, dtype=torch.int64),
        normalisation=Normalisation((0.0,), (1.0,), (0.5,), (0.25,)),
        test_ids=torch.arange(24),
    )


def fitted(outcome: Fit | Exception) -> Fit:
    assert isinstance(outcome, Fit), outcome
    return outcome


def losses(outcome: Fit | Exception) -> list[float]:
    return [epoch.train_loss for epoch in fitted(outcome).epochs]


def tasks() -> list[Task]:
    return [a_task(0), a_task(1)]


def test_bfloat16_stack_trains_as_single_runs_of_it(runs: list[Run]) -> None:
    short = [change(run, {"training.precision": "bfloat16"}) for run in runs]
    for run, task, outcome in zip(
        short, tasks(), fit_stacked(short, tasks(), device=CPU), strict=True
    ):
        single = fit(run, task, device=CPU)
        assert losses(outcome) == pytest.approx(losses(single), rel=0.02)
        scores = evaluate(run, fitted(outcome).net, task).scores
        assert_close(scores, evaluate(run, single.net, task).scores, rtol=0.1, atol=0.01)


def test_runs_of_different_precision_do_not_share_a_stack(runs: list[Run]) -> None:
    other = change(runs[1], {"training.precision": "bfloat16"})
    assert why_not_stacked([runs[0], other]) == (
        "training.precision differs: 'float32' and 'bfloat16'"
    )


def test_net_that_draws_random_numbers_is_never_stacked(digits_run: Run) -> None:
    assert why_never_stacked(digits_run) is None
    changes = {
        **{"data.name": "imagenet30", "data.preprocessing": "aug1", "net.name": "CNN224_VGG"},
        **{"outliers.source": "imagenet22k", "objective.name": "hsc", "heatmaps.gauss_std": None},
    }
    run = change(digits_run, changes)
    assert why_never_stacked(run) == (
        "net.name 'CNN224_VGG' has Dropout, which draws random numbers for each run of its own"
    )
    with pytest.raises(ValueError, match="cannot be trained as one stack: .*Dropout"):
        fit_stacked([run], [], device=CPU)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_recorded_stack_trains_as_a_plain_one(
    runs: list[Run],
    optimizer: str,
    record: Callable[..., Callable[[], Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recordings: list[int] = []

    def counted(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        recordings.append(1)
        return record(work)

    for module in (stacked, stacked_steps):
        made = partial(stacked_steps.make_stack_step, record=counted)
        monkeypatch.setattr(module, "make_stack_step", made)
    runs = [change(run, {"training.optimizer": optimizer}) for run in runs]
    found, plain = (
        fit_stacked(runs, tasks(), device=CPU, execution=way) for way in (GRAPHS, EAGER)
    )
    assert len(recordings) == 2  # in the rehearsal, and for the whole batches of both runs
    for one, other in zip(found, plain, strict=True):
        assert str(fitted(one).execution) == "CUDA graphs"
        assert losses(one) == pytest.approx(losses(other), rel=1e-5)
        for name, tensor in fitted(one).net.state_dict().items():
            expected = fitted(other).net.state_dict()[name]
            assert_close(tensor, expected, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("place", [0, 1])
def test_stack_that_lost_a_run_is_recorded_anew(
    runs: list[Run],
    place: int,
    record: Callable[..., Callable[[], Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (stacked, stacked_steps):
        made = partial(stacked_steps.make_stack_step, record=record)
        monkeypatch.setattr(module, "make_stack_step", made)
    sgd = [change(run, {"training.optimizer": "sgd"}) for run in runs]
    given = [change(run, {"training.lr": 1e38}) if n == place else run for n, run in enumerate(sgd)]
    found = fit_stacked(given, tasks(), device=CPU, execution=GRAPHS)
    assert isinstance(found[place], FloatingPointError)
    sound = 1 - place
    assert str(fitted(found[sound]).execution) == "CUDA graphs"
    single = fit(sgd[sound], tasks()[sound], device=CPU)
    assert losses(found[sound]) == pytest.approx(losses(single), rel=1e-4)


def test_kernels_lie_as_channels_last_convolutions_read_them() -> None:
    nets = [torch.nn.Conv2d(4, 6, 3) for _ in range(3)]
    weight = stack_nets(nets).learnt["weight"]
    assert weight.shape == (3, 6, 4, 3, 3)
    assert weight.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    for place, net in enumerate(nets):
        assert torch.equal(weight[place], net.weight)


@pytest.mark.services  # a compiler, for a minute and more
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
def test_compiled_stack_trains_as_a_plain_one(runs: list[Run]) -> None:
    way = Execution(compiled=True)
    found, plain = (fit_stacked(runs, tasks(), device=CPU, execution=one) for one in (way, EAGER))
    for one, other in zip(found, plain, strict=True):
        assert str(fitted(one).execution) == "compiled"
        assert losses(one) == pytest.approx(losses(other), rel=1e-4)
