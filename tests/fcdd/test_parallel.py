"""A team of two processes against one, through gloo on the CPU."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from fcdd.checkpoint import Checkpoints
from fcdd.config import Run, change
from fcdd.data.task import Images, Task, make_task
from fcdd.parallel import Team, shared_norms, why_not_parallel
from fcdd.training import fit

CPU = torch.device("cpu")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def member(rank: int, size: int, port: int, work: Callable[..., None], given: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size
    )
    try:
        work(Team.of_this_process(), *given)
    finally:
        dist.destroy_process_group()
    os._exit(0)  # a thread of gloo may outlive Python's end, which then aborts (seen once)


def together(work: Callable[..., None], *given: Any, size: int = 2) -> None:
    """Calls `work(team, *given)` in `size` processes."""
    spawn(member, args=(size, free_port(), work, given), nprocs=size)


def normalised(team: Team, folder: Path, inputs: Tensor, weights: Tensor) -> None:
    norm = nn.BatchNorm2d(3, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        norm.bias.copy_(torch.tensor([1.0, 0.0, 3.0]))
    inputs = inputs.requires_grad_()
    with shared_norms(norm):
        whole = team.outputs(norm, inputs)
        (whole * weights).sum().backward()
    team.sum_gradients(norm)
    dist.all_reduce(inputs.grad)  # each process has that of its rows, and 0 elsewhere
    assert "forward" not in vars(norm)
    assert norm.weight.grad is not None and norm.bias.grad is not None
    found = {"outputs": whole.detach(), "inputs": inputs.grad, "weight": norm.weight.grad}
    found |= {"bias": norm.bias.grad, **norm.state_dict(prefix="state.")}
    save_file({name: one.contiguous() for name, one in found.items()}, folder / f"{team.rank}")


@pytest.mark.parametrize("b", [7, 4, 1])  # uneven shares, even ones, a process without a row
def test_batch_norm_of_a_team_is_that_of_the_whole_batch(tmp_path: Path, b: int) -> None:
    stream = torch.Generator().manual_seed(0)
    inputs = torch.randn((b, 3, 4, 5), generator=stream, dtype=torch.float64) * 3 + 7
    weights = torch.randn((b, 3, 4, 5), generator=stream, dtype=torch.float64)
    together(normalised, tmp_path, inputs, weights)

    norm = nn.BatchNorm2d(3, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        norm.bias.copy_(torch.tensor([1.0, 0.0, 3.0]))
    inputs.requires_grad_()
    outputs = norm(inputs)
    (outputs * weights).sum().backward()
    assert inputs.grad is not None and norm.weight.grad is not None and norm.bias.grad is not None
    expected = {"outputs": outputs.detach(), "inputs": inputs.grad, "weight": norm.weight.grad}
    expected |= {"bias": norm.bias.grad, **norm.state_dict(prefix="state.")}
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}")
        assert set(found) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-12, msg=name)


def small_run(objective: str, digits_run: Run) -> Run:
    run = change(digits_run, {"training.epochs": 2, "training.optimizer": "sgd"})
    run = change(run, {"training.lr": 0.01, "training.batch_size": 24})
    match objective:
        case "maps":
            return change(
                run,
                {
                    "data.name": "textures",
                    "data.size": (32, 32),
                    "outliers.source": "none",
                    "supervision.mode": "malformed_nominal_maps",
                    "supervision.noise": "confetti",
                    "net.name": "FCDD_CNN32_S",
                    "objective.maps": True,
                },
            )
        case "hsc":
            return change(run, {"objective.name": "hsc", "net.name": "CNN28"})
        case "ae":
            none = {"outliers.source": "none", "supervision.mode": "unsupervised"}
            slow = {"training.lr": 1e-3}  # rounding grows with the rate
            return change(run, {**none, **slow, "objective.name": "ae", "net.name": "AE28"})
        case _:
            return run


def make(run: Run) -> Task:
    """70 images: two batches of 24 and a last one of 22."""
    from fcdd.data.load import load
    from fcdd.data.outliers import load_pool

    pool = None
    if run.outliers.source != "none":
        pool = load_pool("photographs", (1, 28, 28), root=None, pool=None)
    images = load(run.data, None)
    assert isinstance(images, Images)
    task = make_task(run, images, pool, device=CPU)
    assert isinstance(task.train_images, Tensor)
    return replace(task, train_images=task.train_images[:70])


def trained(team: Team | None, folder: Path, run: Run, checkpoint: bool) -> None:
    torch.set_num_threads(1)
    places = Checkpoints(folder / "checkpoint", 0.0, {}) if checkpoint else None
    fitted = fit(run, make(run), device=CPU, team=team, checkpoints=places)
    losses = torch.tensor([epoch.train_loss for epoch in fitted.epochs], dtype=torch.float64)
    state = {name: value.contiguous() for name, value in fitted.net.state_dict().items()}
    save_file(state | {"losses": losses}, folder / (str(team.rank) if team else "one"))


@pytest.mark.services
@pytest.mark.parametrize("objective", ["fcdd", "maps", "hsc", "ae"])
def test_team_trains_as_one_process_does(tmp_path: Path, digits_run: Run, objective: str) -> None:
    run = small_run(objective, digits_run)
    trained(None, tmp_path, run, False)
    together(trained, tmp_path, run, False)
    one, first, second = (load_file(tmp_path / name) for name in ("one", "0", "1"))
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], value, rtol=2e-3, atol=2e-5, msg=name)
    name = next(name for name in one if name.endswith("weight"))
    moved = (one[name] - fresh(run)[name]).abs().max()
    assert moved > 100 * (one[name] - first[name]).abs().max()


def fresh(run: Run) -> dict[str, Tensor]:
    from fcdd.nets.build import build

    return build(run).state_dict()


@pytest.mark.services
def test_team_goes_on_from_a_checkpoint_of_its_leader(tmp_path: Path, digits_run: Run) -> None:
    run = small_run("fcdd", digits_run)
    together(trained, tmp_path, change(run, {"training.epochs": 1}), True)
    assert (tmp_path / "checkpoint" / "checkpoint.safetensors").is_file()
    half = load_file(tmp_path / "0")
    together(trained, tmp_path, run, True)
    resumed, other = load_file(tmp_path / "0"), load_file(tmp_path / "1")
    together(trained, tmp_path, run, False)
    undisturbed = load_file(tmp_path / "0")
    assert len(half["losses"]) == 1 and len(resumed["losses"]) == 2
    for name, value in undisturbed.items():
        assert torch.equal(resumed[name], value) and torch.equal(other[name], value), name


def test_nets_that_draw_numbers_are_not_shared(digits_run: Run) -> None:
    assert why_not_parallel(digits_run) is None
    run = change(
        digits_run,
        {
            "data.name": "textures",
            "data.size": (224, 224),
            "objective.name": "hsc",
            "net.name": "CNN224_VGG_NOPT",
            "outliers.source": "none",
            "supervision.mode": "malformed_nominal",
            "supervision.noise": "confetti",
        },
    )
    assert "draw other numbers" in (why_not_parallel(run) or "")
    one = change(digits_run, {"training.batch_size": 1})
    assert why_not_parallel(one) == "training.batch_size is 1"
