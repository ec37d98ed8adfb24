"""Interrupted training goes on from a checkpoint and ends as if nothing had happened."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fcdd.checkpoint import Checkpoints
from fcdd.config import Net, Run, change
from fcdd.data.constants import Normalisation
from fcdd.data.task import Task
from fcdd.evaluation import evaluate
from fcdd.training import Epoch, Fit, fit

CPU = torch.device("cpu")
EXPONENTIAL = {"training.schedule": "exponential", "training.lr_factor": 0.7}
MILESTONES = {
    "training.schedule": "milestones",
    "training.lr_factor": 0.1,
    "training.lr_milestones": [2, 3, 5],
}
COLOUR = {
    "data.name": "textures",
    "data.normal_class": 0,
    "net": Net(name="FCDD_CNN32_S"),
}


class Interrupted(Exception):
    pass


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the sweep does before it trains: the run's number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(digits_run: Run) -> Run:
    """Six epochs of three steps."""
    return change(
        digits_run,
        {"training.epochs": 6, "training.batch_size": 8, "data.preprocessing": "lcnaug1"},
    )


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints" / "k", 0.0, {"run": {"seed": 7}, "torch": "2"})


def a_task(run: Run, *, num: int = 24) -> Task:
    images = torch.randint(
        0, 256, (3 * num, *run.data.shape), dtype=torch.uint8, generator=torch.manual_seed(5)
    )
    c = run.data.shape[0]
    return Task(
        train_images=images[:num],
        outliers=images[num : 2 * num],
        test_images=images[2 * num :],
        test_labels=torch.arange(num, dtype=torch.uint8) % 2,
        test_classes=torch.zeros(num, dtype=torch.int64),
        normalisation=Normalisation((0.0,) * c, (1.0,) * c, (0.5,) * c, (0.25,) * c),
        test_ids=torch.arange(num),
    )


def interrupt(run: Run, checkpoints: Checkpoints, *, after: int) -> None:
    """Trains until epoch `after` is reported for the first time."""
    seen: list[int] = []

    def report(epoch: Epoch) -> None:
        seen.append(epoch.epoch)
        if epoch.epoch == after:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(run, a_task(run), device=CPU, checkpoints=checkpoints, report=report)
    assert seen == list(range(1, after + 1))


def assert_equal(found: Fit, expected: Fit) -> None:
    assert found.epochs == expected.epochs
    for name, tensor in expected.net.state_dict().items():
        other = found.net.state_dict()[name]
        assert torch.equal(other, tensor), name
        assert other.stride() == tensor.stride(), name


@pytest.mark.parametrize("schedule", [EXPONENTIAL, MILESTONES], ids=["exponential", "milestones"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("net", [{}, COLOUR], ids=["grey", "colour"])
def test_interrupted_training_goes_on_to_the_bit(
    run: Run, checkpoints: Checkpoints, net: dict, optimizer: str, schedule: dict
) -> None:
    run = change(
        run,
        {"training.optimizer": optimizer, "evaluation.test_every": 2, **schedule, **net},
    )
    undisturbed = fit(run, a_task(run), device=CPU)
    assert any(isinstance(one, nn.BatchNorm2d) for one in undisturbed.net.modules())
    interrupt(run, checkpoints, after=2)
    interrupt(run, checkpoints, after=4)  # goes on after 2: again interrupted
    torch.rand(3)  # the state of the global generator must not matter
    reported: list[Epoch] = []
    resumed = fit(run, a_task(run), device=CPU, checkpoints=checkpoints, report=reported.append)
    assert_equal(resumed, undisturbed)
    assert reported == undisturbed.epochs
    found, expected = (evaluate(run, one.net, a_task(run)) for one in (resumed, undisturbed))
    assert torch.equal(found.scores, expected.scores)


def test_resumed_run_trains_only_the_epochs_that_are_left(
    run: Run, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fcdd.checkpoint")
    interrupt(run, checkpoints, after=4)
    task = a_task(run)
    for images in (task.train_images, task.outliers):  # only epochs 5 and 6 see the other images
        assert isinstance(images, Tensor)
        images.fill_(0)
    resumed = fit(run, task, device=CPU, checkpoints=checkpoints)
    assert caplog.messages == ["goes on from its checkpoint after epoch 4"]
    undisturbed = fit(run, a_task(run), device=CPU)
    assert resumed.epochs[:4] == undisturbed.epochs[:4]
    assert resumed.epochs[4].train_loss != undisturbed.epochs[4].train_loss


def test_training_seconds_add_up(run: Run, checkpoints: Checkpoints) -> None:
    whole = fit(run, a_task(run), device=CPU, checkpoints=checkpoints)
    again = fit(run, a_task(run), device=CPU, checkpoints=checkpoints)
    assert whole.train_seconds > 0
    assert again.train_seconds == whole.train_seconds  # nothing was left to train
    assert_equal(again, whole)


def test_checkpoints_are_written_only_when_due_and_change_nothing(
    run: Run, checkpoints: Checkpoints
) -> None:
    seldom = replace(checkpoints, every_seconds=3600.0)
    assert_equal(
        fit(run, a_task(run), device=CPU, checkpoints=seldom), fit(run, a_task(run), device=CPU)
    )
    assert not seldom.path.exists()


def test_no_part_is_left_and_remove_takes_everything(run: Run, checkpoints: Checkpoints) -> None:
    interrupt(run, checkpoints, after=1)
    assert isinstance(checkpoints.folder, Path)
    assert list(checkpoints.folder.iterdir()) == [checkpoints.path]
    checkpoints.folder.joinpath(".checkpoint.safetensors.1.part").write_bytes(b"half")
    checkpoints.remove()
    assert not checkpoints.folder.exists()
    checkpoints.remove()


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    save_file({"a": torch.zeros(1)}, path)


def claim_more_epochs(path: Path) -> None:
    tensors, metadata = read(path)
    content = json.loads(metadata["fcdd_checkpoint"])
    content["epochs"] *= 2
    save_file(tensors, path, metadata | {"fcdd_checkpoint": json.dumps(content)})


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (flip, "it is damaged: its content has another checksum"),
        (claim_more_epochs, "it is damaged: its content has another checksum"),
        (cut, "rror while deserializing header"),
        (empty, "rror while deserializing header"),
        (foreign, "it is a safetensors file, but no checkpoint"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_damaged_checkpoint_is_not_trusted_and_said_so(
    run: Run,
    checkpoints: Checkpoints,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], None],
    reason: str,
) -> None:
    interrupt(run, checkpoints, after=3)
    assert isinstance(checkpoints.path, Path)
    harm(checkpoints.path)
    assert_equal(
        fit(run, a_task(run), device=CPU, checkpoints=checkpoints),
        fit(run, a_task(run), device=CPU),
    )
    (message,) = caplog.messages
    assert message.startswith(f"checkpoint {checkpoints.path} is not used, the run begins anew: ")
    assert reason in message


def test_checkpoint_of_other_circumstances_is_not_used_and_they_are_named(
    run: Run, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(run, checkpoints, after=3)
    other = replace(checkpoints, identity={"run": {"seed": 7}, "torch": "3", "cpu": "new"})
    assert_equal(
        fit(run, a_task(run), device=CPU, checkpoints=other), fit(run, a_task(run), device=CPU)
    )
    (message,) = caplog.messages
    assert message.endswith("cpu was None, is 'new'; torch was '2', is '3'")


def test_checkpoint_of_another_net_is_not_loaded(
    run: Run, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    interrupt(run, checkpoints, after=3)
    wide = change(run, {"net.name": "FCDD_CNN28_W"})
    assert_equal(
        fit(wide, a_task(wide), device=CPU, checkpoints=checkpoints),
        fit(wide, a_task(wide), device=CPU),
    )
    assert caplog.messages[0].endswith("it holds other tensors than those of the run's net")


def test_folder_that_cannot_be_written_costs_no_training(
    run: Run, checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "checkpoints").write_text("a file stands where the folder should")
    run = change(run, {"training.epochs": 1})
    assert_equal(
        fit(run, a_task(run), device=CPU, checkpoints=checkpoints),
        fit(run, a_task(run), device=CPU),
    )
    (message,) = caplog.messages
    assert message.startswith("checkpoint not written (")
    assert message.endswith("training goes on")
