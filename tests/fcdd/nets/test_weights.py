"""Pretrained weights: from a file, from torchvision's cache, or not at all."""

import hashlib
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fcdd.config import Run, change
from fcdd.nets import weights as shipped
from fcdd.nets.build import build
from fcdd.nets.vgg import FCDD_CNN224_VGG
from fcdd.nets.weights import load_weights, weights_name
from fcdd.vision import torchvision


@pytest.fixture
def vgg_run(digits_run: Run) -> Run:
    return change(
        digits_run,
        {
            "data.name": "mvtec",
            "data.normal_class": 0,
            "data.preprocessing": "lcnaug1",
            "outliers.source": "none",
            "supervision.mode": "malformed_nominal",
            "supervision.noise": "confetti",
            "net.name": "FCDD_CNN224_VGG",
        },
    )


def _trunk_weights() -> dict[str, Tensor]:
    torch.manual_seed(5)
    state = FCDD_CNN224_VGG().state_dict()
    return {name: tensor for name, tensor in state.items() if "conv_final" not in name}


def _save(state: dict[str, Tensor], folder: Path) -> Path:
    """A file named as torchvision names its own: by the digits of its SHA-256."""
    path = folder / "part"
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(folder / f"vgg11_bn-{digest[:8]}.pth")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)


def test_pretrained_weights_from_a_file_fill_the_trunk_and_the_seed_fills_the_rest(
    vgg_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = _trunk_weights()
    file = _save(state, tmp_path)
    monkeypatch.setattr(shipped, "VGG11_BN", file.name)
    net = build(vgg_run, weights=file)
    for name, tensor in net.state_dict().items():
        if name in state:
            assert torch.equal(tensor, state[name]), name
    other = build(change(vgg_run, {"seed": 8}), weights=file)
    first, second = (n.state_dict()["conv_final.weight"] for n in (net, other))
    assert not torch.equal(first, second)


def test_a_vgg_net_with_a_file_of_weights_needs_no_torchvision(
    vgg_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _save(_trunk_weights(), tmp_path)
    monkeypatch.setattr(shipped, "VGG11_BN", file.name)
    monkeypatch.setitem(sys.modules, "torchvision", None)  # an import of it fails
    frozen = change(vgg_run, {"net.name": "FCDD_CNN224_VGG_F"})
    assert build(frozen, weights=file)(torch.rand(2, 3, 32, 32)).shape == (2, 1, 4, 4)


@pytest.mark.usefixtures("no_network")
def test_without_file_cache_and_network_the_error_names_the_file_and_its_checksum(
    vgg_run: Run,
) -> None:
    with pytest.raises(ValueError, match=r"'FCDD_CNN224_VGG' starts from pretrained weights") as e:
        build(vgg_run)
    assert "vgg11_bn-6002323d.pth" in str(e.value)
    assert "SHA-256 beginning with 6002323d" in str(e.value)
    assert "--weights FILE" in str(e.value)


@pytest.mark.usefixtures("no_network")
def test_torchvisions_cache_is_used_and_checked(
    vgg_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = _trunk_weights()
    folder = tmp_path / "hub" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    file = _save(state, folder)
    monkeypatch.setattr(shipped, "VGG11_BN", file.name)
    net = build(vgg_run)
    assert torch.equal(net.state_dict()["features.8.weight"], state["features.8.weight"])
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not that of vgg11_bn-"):
        build(vgg_run)


def test_a_file_with_another_checksum_is_refused(vgg_run: Run, tmp_path: Path) -> None:
    file = _save(_trunk_weights(), tmp_path)
    with pytest.raises(ValueError, match="SHA-256 .* not that of vgg11_bn-6002323d.pth"):
        build(vgg_run, weights=file)
    with pytest.raises(ValueError, match="absent.pth is no file; 'FCDD_CNN224_VGG' needs vgg11_bn"):
        build(vgg_run, weights=tmp_path / "absent.pth")


def test_nets_from_scratch_need_no_weights(vgg_run: Run) -> None:
    net = build(change(vgg_run, {"net.name": "FCDD_CNN224_VGG_NOPT"}))
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_504_833


def test_names_of_weights_are_torchvisions() -> None:
    models = torchvision().models
    assert weights_name("vgg11_bn") == models.VGG11_BN_Weights.DEFAULT.url.rpartition("/")[2]
    assert weights_name("resnet18") == "resnet18-f37072fd.pth"


def test_a_pretrained_trunk_takes_torchvisions_weights_of_what_is_left_of_it(
    vgg_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    whole = torchvision().models.densenet121(weights=None)
    state = {
        # torchvision's file says norm.1 where its net says norm1
        name.replace("norm1", "norm.1").replace("conv2", "conv.2"): tensor
        for name, tensor in whole.state_dict().items()
    }
    file = _save(state, tmp_path)
    monkeypatch.setattr(shipped, "weights_name", lambda trunk: file.name)
    changes = {
        "net.name": "FCDD_TRUNK",
        "net.trunk": "densenet121",
        "net.trunk_layer": "features.denseblock1",
        "net.pretrained": True,
    }
    net = build(change(vgg_run, changes), weights=file)
    taken = {
        n.removeprefix("features."): t for n, t in net.state_dict().items() if "final" not in n
    }
    assert len(taken) == 6 + 6 * 12
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in taken.items())
    wrong = _save({"features.conv0.weight": torch.zeros(1)}, tmp_path)
    monkeypatch.setattr(shipped, "weights_name", lambda trunk: wrong.name)
    with pytest.raises(ValueError, match="the weights do not fit net.trunk"):
        build(change(vgg_run, changes), weights=wrong)


def test_weights_are_read_without_running_their_pickle(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "harm"),)

    file = tmp_path / "part"
    torch.save({"features.0.weight": Harm()}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "VGG11_BN", f"vgg11_bn-{digest[:8]}.pth")
        with pytest.raises(ValueError, match="was not read"):
            load_weights("vgg11_bn", file=file, net="FCDD_CNN224_VGG")
    assert not (tmp_path / "harm").exists()
