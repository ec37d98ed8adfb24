"""Our model format: what is written is what is read, and nothing else is taken."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fcdd.config import Run, change
from fcdd.data.constants import Normalisation
from fcdd.model_file import read_model, write_model
from fcdd.nets.build import build
from fcdd.nets.vgg import FCDD_CNN224_VGG_F

ONE = Normalisation(lcn_min=(-1.5,), lcn_max=(2.25,), mean=(0.1,), std=(1 / 3,))
THREE = Normalisation((-1.0,) * 3, (2.0,) * 3, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def _write(path: Path, run: Run) -> nn.Module:
    net = build(run)
    write_model(path, net, run=run, normalisation=ONE)
    return net


def test_a_model_comes_back_bit_for_bit(digits_run: Run, tmp_path: Path) -> None:
    net = build(digits_run)
    net(torch.rand(8, 1, 28, 28))  # so that BatchNorm has statistics
    write_model(tmp_path / "m.safetensors", net, run=digits_run, normalisation=ONE)
    run, again, normalisation = read_model(tmp_path / "m.safetensors")
    assert run == digits_run
    assert normalisation == ONE
    assert not any(module.training for module in again.modules())
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(again(images), net.eval()(images))
    assert list(again.state_dict()) == list(net.state_dict())


def test_the_same_model_gives_the_same_bytes_whatever_its_memory_format(
    digits_run: Run, tmp_path: Path
) -> None:
    net = _write(tmp_path / "a.safetensors", digits_run)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    write_model(tmp_path / "b.safetensors", net, run=digits_run, normalisation=ONE)
    first, second = ((tmp_path / f"{name}.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert {path.name for path in tmp_path.iterdir()} == {"a.safetensors", "b.safetensors"}


def test_a_residual_trunk_comes_back_bit_for_bit(digits_run: Run, tmp_path: Path) -> None:
    trunk = change(
        digits_run,
        {
            "data.name": "textures",
            "data.normal_class": 0,
            "outliers.source": "none",
            "supervision.mode": "malformed_nominal",
            "supervision.noise": "gaussian",
            "net.name": "FCDD_TRUNK",
            "net.trunk": "regnet_y_400mf",
            "net.trunk_layer": "trunk_output.block1",
        },
    )
    net = build(trunk)
    write_model(tmp_path / "m.safetensors", net, run=trunk, normalisation=THREE)
    _, again, _ = read_model(tmp_path / "m.safetensors")
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(again(images), net.eval()(images))


def test_a_frozen_net_comes_back_frozen_without_pretrained_weights(
    digits_run: Run, tmp_path: Path
) -> None:
    run = change(
        digits_run,
        {
            "data.name": "mvtec",
            "data.normal_class": 0,
            "outliers.source": "none",
            "supervision.mode": "malformed_nominal",
            "supervision.noise": "gaussian",
            "net.name": "FCDD_CNN224_VGG_F",
            "net.frozen_batch_norm": "published",
        },
    )
    net = FCDD_CNN224_VGG_F(frozen_batch_norm="published")
    write_model(tmp_path / "m.safetensors", net, run=run, normalisation=THREE)
    _, again, _ = read_model(tmp_path / "m.safetensors")
    frozen = [name for name, p in again.named_parameters() if not p.requires_grad]
    assert frozen == [name for name, p in net.named_parameters() if not p.requires_grad]
    assert len(frozen) == 16
    again.train()
    assert all(module.training for module in again.modules())  # as the published ones


def _damaged(change_header: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        tensors = load_file(path)
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            content = json.loads(file.metadata()["fcdd_model"])
        change_header(content)
        save_file(tensors, path, metadata={"fcdd_model": json.dumps(content)})

    return damage


def _foreign(path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "pt"})


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _tensors(**changes: torch.Tensor | None) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        tensors = {**load_file(path), **changes}
        save_file({n: t for n, t in tensors.items() if t is not None}, path, metadata=metadata)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"not a model"), "no complete safetensors file"),
        (lambda path: path.write_bytes(b""), "no complete safetensors file"),
        (_cut, "no complete safetensors file"),
        (_foreign, "no model of this program"),
        (_damaged(lambda c: c.update(version=99)), "version 99 of the model format, known is 1"),
        (_damaged(lambda c: c.pop("run")), "header that does not hold: 'run'"),
        (_damaged(lambda c: c.update(run={"seed": 1})), "data = .* Field required"),
        (_damaged(lambda c: c["run"].update(extra=1)), "extra = 1: Extra inputs"),  # pyright: ignore
        (_damaged(lambda c: c.update(normalisation={"mean": [1]})), "does not hold: 'lcn_min'"),
        (
            _damaged(lambda c: c["normalisation"].update(mean=[1.0, 2.0])),  # pyright: ignore
            r"normalisation.mean = \(1.0, 2.0\) is not one number for each of 1 channels",
        ),
        (_damaged(lambda c: c["normalisation"].update(std=[float("nan")])), "normalisation.std"),  # pyright: ignore
        (
            _tensors(**{"conv1.bias": None}),
            r"'conv1.bias' is nothing, needed: float32 \[8\]",
        ),
        (
            _tensors(**{"conv9.bias": torch.zeros(3)}),
            r"'conv9.bias' is float32 \[3\], needed: nothing",
        ),
        (
            _tensors(**{"conv1.bias": torch.zeros(9)}),
            r"'conv1.bias' is float32 \[9\], needed: float32 \[8\]",
        ),
        (
            _tensors(**{"conv1.bias": torch.zeros(8, dtype=torch.float64)}),
            r"'conv1.bias' is float64 \[8\], needed: float32 \[8\]",
        ),
    ],
)
def test_files_that_are_no_whole_model_of_ours_are_refused(
    digits_run: Run, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "m.safetensors"
    _write(path, digits_run)
    damage(path)
    with pytest.raises(ValueError, match=message) as error:
        read_model(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent.safetensors"):
        read_model(tmp_path / "absent.safetensors")


def test_constants_that_are_not_finite_are_not_written(digits_run: Run, tmp_path: Path) -> None:
    broken = Normalisation((0.0,), (1.0,), (float("nan"),), (1.0,))
    with pytest.raises(ValueError, match="JSON compliant"):
        write_model(
            tmp_path / "m.safetensors", build(digits_run), run=digits_run, normalisation=broken
        )
    assert not list(tmp_path.iterdir())
