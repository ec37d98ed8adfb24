"""Pretrained weights of torchvision: from a local file or through torchvision, checksum checked."""

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcdd.torch_files import read_torch_file
from fcdd.vision import torchvision

# Known without torchvision; its name carries the first digits of its SHA-256.
VGG11_BN = "vgg11_bn-6002323d.pth"
# torchvision's file of DenseNet weights calls norm.1 what its nets call norm1.
_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


def load_weights(trunk: str, *, file: Path | None, net: str) -> dict[str, Tensor]:
    """torchvision's default ImageNet weights of its model `trunk`, for the net named `net`.

    From `file` if given, else from torchvision's cache or by its download. Raises ValueError for a
    file with another checksum and where there is neither file nor cache nor network.
    """
    name = weights_name(trunk)
    if file is None:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / name
        state = _read(cached, name) if cached.exists() else _download(trunk, name, net)
    elif not file.is_file():
        raise ValueError(f"--weights {file} is no file; {net!r} needs {_wanted(name)}")
    else:
        state = _read(file, name)
    return {_DENSENET.sub(r"\1\2", key): tensor for key, tensor in state.items()}


def weights_name(trunk: str) -> str:
    """The name of torchvision's file of default weights of `trunk`. Raises ValueError where
    torchvision offers none."""
    if trunk == "vgg11_bn":
        return VGG11_BN
    return str(_enum(trunk).url).rpartition("/")[2]


def _enum(trunk: str) -> Any:
    weights = torchvision().models.get_model_weights(trunk)
    if not list(weights):
        raise ValueError(
            f"torchvision has no pretrained weights for {trunk!r}; set net.pretrained=false or "
            "take another net.trunk"
        )
    return weights.DEFAULT


def _prefix(name: str) -> str:
    return name.rpartition("-")[2].partition(".")[0]


def _wanted(name: str) -> str:
    return f"{name} of torchvision (SHA-256 beginning with {_prefix(name)})"


def _read(file: Path, name: str) -> dict[str, Tensor]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(_prefix(name)):
        raise ValueError(
            f"the weights {file} have SHA-256 {digest[:16]}..., not that of {_wanted(name)}; "
            "fetch that file again, or give it with --weights"
        )
    state = read_torch_file(file)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"the weights {file} are no state dict of tensors; use {_wanted(name)}")
    return state


def _download(trunk: str, name: str, net: str) -> dict[str, Tensor]:
    try:
        return dict(
            _enum(trunk).get_state_dict(
                progress=False, check_hash=True, weights_only=True, map_location="cpu"
            )
        )
    except (OSError, RuntimeError) as error:  # no network; or a file with another checksum
        raise ValueError(
            f"net {net!r} starts from pretrained weights, which are not here and could not be "
            f"downloaded ({error}); fetch {_wanted(name)} elsewhere and give it with --weights FILE"
        ) from error
