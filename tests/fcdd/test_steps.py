"""Steps in other precisions and by other ways than one operation after the other."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fcdd import steps, training
from fcdd.checkpoint import Checkpoints
from fcdd.config import Run, Supervision, change, key
from fcdd.data.constants import Normalisation
from fcdd.data.task import Task
from fcdd.evaluation import evaluate
from fcdd.execution import EAGER, WARM_UP, Execution, proven
from fcdd.training import Epoch, Fit, fit

CPU = torch.device("cpu")
GRAPHS = Execution(graphs=True)
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU"
)

own_warnings = pytest.mark.filterwarnings(  # of torch, as it imports and runs its compiler
    "ignore:.*torch.jit.script_method.*:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    steps._proven.clear()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(digits_run: Run) -> Run:
    """Ten steps of 8 and a last one of 4 images in each of 3 epochs."""
    return change(
        digits_run,
        {
            "training.epochs": 3,
            "training.batch_size": 8,
            "training.lr_factor": 0.5,
            "data.preprocessing": "none",
        },
    )


@pytest.fixture
def task() -> Task:
    stream = np.random.default_rng(0)
    smooth = stream.normal(128, 10, (96, 1, 28, 28)).clip(0, 255)
    rough = stream.integers(0, 256, (96, 1, 28, 28))
    nominal, anomalous = (torch.from_numpy(i.astype(np.uint8)) for i in (smooth, rough))
    return Task(
        train_images=nominal[:84],
        outliers=anomalous[:84],
        test_images=torch.cat([nominal[84:], anomalous[84:]]),
        test_labels=torch.arange(24, dtype=torch.uint8) // 12,
        test_classes=torch.zeros(24, dtype=torch.int64),
        normalisation=Normalisation((0.0,), (1.0,), (0.5,), (0.25,)),
        test_ids=torch.arange(24),
    )


def losses(fitted: Fit) -> list[float]:
    return [epoch.train_loss for epoch in fitted.epochs]


def same_net(one: Fit, other: Fit, *, rtol: float, atol: float) -> None:
    expected = other.net.state_dict()
    for name, tensor in one.net.state_dict().items():
        assert_close(
            tensor, expected[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


# bfloat16


def test_bfloat16_trains_close_to_float32_and_keeps_parameters_in_it(run: Run, task: Task) -> None:
    short = change(run, {"training.precision": "bfloat16"})
    half, full = fit(short, task, device=CPU), fit(run, task, device=CPU)
    assert losses(half) != losses(full)
    assert losses(half) == pytest.approx(losses(full), rel=0.02)
    assert {p.dtype for p in half.net.parameters()} == {torch.float32}
    scores = evaluate(short, half.net, task).scores
    assert scores.dtype == torch.float32
    assert_close(scores, evaluate(run, full.net, task).scores, rtol=0.1, atol=0.01)


def test_bfloat16_run_repeats_to_the_bit(run: Run, task: Task) -> None:
    short = change(run, {"training.precision": "bfloat16"})
    first, second = (fit(short, task, device=CPU) for _ in range(2))
    assert losses(first) == losses(second)
    same_net(first, second, rtol=0, atol=0)


def test_net_computes_in_bfloat16_and_the_loss_in_float32(
    run: Run, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    outputs_of = steps.outputs_of

    def watched(run: Run, net: Callable[..., Tensor], inputs: Tensor) -> Tensor:
        inner: list[Tensor] = []

        def call(images: Tensor) -> Tensor:
            inner.append(net(images))
            return inner[0]

        outputs = outputs_of(run, call, inputs)
        seen.append((inner[0].dtype, outputs.dtype))
        return outputs

    monkeypatch.setattr(steps, "outputs_of", watched)
    for precision in ("float32", "bfloat16"):
        fit(change(run, {"training.precision": precision, "training.epochs": 1}), task, device=CPU)
    half = len(seen) // 2
    assert set(seen[:half]) == {(torch.float32, torch.float32)}
    assert set(seen[half:]) == {(torch.bfloat16, torch.float32)}


def test_precision_is_part_of_the_key_and_its_default_is_not(digits_run: Run) -> None:
    def name(run: Run) -> str:
        return key(run, data_fingerprint="d" * 16, outliers_fingerprint="o" * 16)

    assert name(change(digits_run, {"training.precision": "float32"})) == "5c5e2f7f82b59de6"
    assert name(change(digits_run, {"training.precision": "bfloat16"})) != "5c5e2f7f82b59de6"


def test_the_published_protocol_is_not_claimed_for_bfloat16(digits_run: Run) -> None:
    published = {
        "protocol": "published",
        "objective.one_label_batches": "published",
        "heatmaps.upsampling": "published",
    }
    assert change(digits_run, published).protocol == "published"
    with pytest.raises(ValueError, match="training.precision 'bfloat16' is not that of protocol"):
        change(digits_run, published | {"training.precision": "bfloat16"})
    with pytest.raises(ValueError, match="training.precision = 'half'"):
        change(digits_run, {"training.precision": "half"})


# recorded steps


@pytest.fixture
def recorded(
    monkeypatch: pytest.MonkeyPatch, record: Callable[..., Callable[[], Tensor]]
) -> list[int]:
    """Lets `fit` record on a CPU; the list has an entry for each recording."""
    recordings: list[int] = []

    def counted(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
        recordings.append(1)
        return record(work)

    for module in (steps, training):
        monkeypatch.setattr(module, "make_step", partial(steps.make_step, record=counted))
    return recordings


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_recorded_steps_train_as_plain_ones(
    run: Run, task: Task, recorded: list[int], optimizer: str, precision: str
) -> None:
    # The rate falls from epoch to epoch: a recorded step must not keep that of its recording.
    # Without biases, of whose gradients Adam makes steps although they are rounding alone.
    changes = {"training.optimizer": optimizer, "training.precision": precision}
    run = change(run, changes | {"net.bias": False})
    found, plain = (fit(run, task, device=CPU, execution=way) for way in (GRAPHS, EAGER))
    assert str(found.execution) == "CUDA graphs"
    assert str(plain.execution) == "eager"
    assert len(recorded) == 2  # in the rehearsal, and in the run for its whole batches
    assert [e.lr for e in found.epochs] == [e.lr for e in plain.epochs] == [1e-3, 5e-4, 2.5e-4]
    assert losses(found) == pytest.approx(
        losses(plain), rel=1e-5 if precision == "float32" else 1e-2
    )
    if precision == "float32":
        same_net(found, plain, rtol=1e-4, atol=2e-5)


def test_recorded_run_goes_on_from_its_checkpoint(
    run: Run, task: Task, recorded: list[int], tmp_path
) -> None:
    run = change(
        run,
        {
            "training.schedule": "milestones",
            "training.lr_factor": 0.1,
            "training.lr_milestones": [1, 2],
        },
    )
    whole = fit(run, task, device=CPU, execution=GRAPHS)
    places = Checkpoints(tmp_path, 0.0, {})

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(run, task, device=CPU, execution=GRAPHS, checkpoints=places, report=stop)
    seen: list[Epoch] = []
    again = fit(run, task, device=CPU, execution=GRAPHS, checkpoints=places, report=seen.append)
    assert [epoch.epoch for epoch in seen] == [1, 2, 3]
    assert [epoch.lr for epoch in again.epochs] == pytest.approx([1e-3, 1e-4, 1e-5])
    assert losses(again) == pytest.approx(losses(whole), rel=1e-6)


def test_without_a_gpu_graphs_are_given_up_loudly_and_the_run_is_the_plain_one(
    run: Run, task: Task, caplog: pytest.LogCaptureFixture
) -> None:
    found, plain = (fit(run, task, device=CPU, execution=way) for way in (GRAPHS, EAGER))
    assert str(found.execution) == "eager"
    assert losses(found) == losses(plain)
    same_net(found, plain, rtol=0, atol=0)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage().startswith("NOT trained as 'CUDA graphs', which may be many times")


def test_net_that_draws_random_numbers_is_trained_plainly(
    digits_run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    changes: dict[str, object] = {
        "data.name": "textures",
        "data.normal_class": 0,
        "data.size": [224, 224],
        "net.name": "CNN224_VGG_NOPT",
        "objective.name": "hsc",
        "outliers.source": "none",
        "supervision": Supervision(mode="malformed_nominal", noise="confetti"),
        "heatmaps.gauss_std": None,
    }
    run = change(digits_run, changes)
    assert steps.execution_for(run, GRAPHS, device=CPU) == EAGER
    assert caplog.messages == ["not trained as 'CUDA graphs': Dropout draws random numbers"]


# what is used is proven


def test_way_that_works_is_used_and_asked_once() -> None:
    asked: list[Execution] = []

    def rehearse(way: Execution) -> Tensor:
        asked.append(way)
        return torch.tensor([1.0, 2.0])

    wanted = Execution(compiled=True, graphs=True)
    assert proven(wanted, rehearse) == wanted
    assert asked == [EAGER, wanted]
    assert proven(EAGER, rehearse) == EAGER
    assert len(asked) == 2


def test_way_that_fails_or_computes_something_else_falls_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def rehearse(way: Execution) -> Tensor:
        if way.compiled:
            raise RuntimeError("\n no compiler here\nmore")
        return torch.tensor([1.0, 3.0 if way.graphs else 2.0])

    assert proven(Execution(compiled=True, graphs=True), rehearse) == EAGER
    first, second = caplog.messages
    assert "'compiled, CUDA graphs'" in first
    assert first.endswith("RuntimeError: no compiler here")
    assert "'CUDA graphs'" in second
    assert second.endswith("its losses are [1.0, 3.0] instead of [1.0, 2.0]")


def test_memory_that_ends_is_no_fault_of_a_way() -> None:
    def rehearse(way: Execution) -> Tensor:
        if way != EAGER:
            raise torch.OutOfMemoryError("out of memory")
        return torch.ones(1)

    with pytest.raises(torch.OutOfMemoryError):
        proven(GRAPHS, rehearse)


def test_first_steps_are_not_recorded_and_the_next_is_recorded_once(
    record: Callable[..., Callable[[], Tensor]],
) -> None:
    from fcdd.execution import replayed

    total, calls = torch.zeros(2), 0

    def step(values: Tensor, nothing: Tensor | None) -> Tensor:
        nonlocal calls
        calls += 1
        assert nothing is None
        total.add_(values)
        return total.sum()

    quick = replayed(step, record=record)
    found = [quick(torch.full((2,), float(n)), None) for n in range(1, 7)]
    assert calls == WARM_UP + 1
    assert [float(one) for one in found] == [2.0, 6.0, 12.0, 20.0, 30.0, 42.0]


# compiled nets


@needs_compiler
@own_warnings
@pytest.mark.services  # a compiler, for a minute and more
@pytest.mark.timeout(600)  # on a busy machine
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_compiled_net_trains_as_the_plain_one(run: Run, task: Task, precision: str) -> None:
    run = change(run, {"training.precision": precision})
    way = Execution(compiled=True)
    found, plain = (fit(run, task, device=CPU, execution=one) for one in (way, EAGER))
    assert str(found.execution) == "compiled"
    assert losses(found) == pytest.approx(
        losses(plain), rel=1e-4 if precision == "float32" else 0.02
    )
    assert list(found.net.state_dict()) == list(plain.net.state_dict())


@needs_compiler
@own_warnings
@pytest.mark.services  # a compiler, for a minute and more
@pytest.mark.timeout(600)
def test_later_runs_of_a_worker_are_compiled_too_and_from_what_is_there(
    run: Run, task: Task
) -> None:
    from torch._dynamo.utils import counters

    short = change(run, {"training.epochs": 1})
    graphs = []
    for seed in range(12):  # beyond the 8 at which dynamo gives up
        one = change(short, {"seed": seed})
        assert fit(one, task, device=CPU, execution=Execution(compiled=True)).epochs
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[-1] == graphs[0]
