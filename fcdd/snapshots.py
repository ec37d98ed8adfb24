"""Snapshots of the published code: from snapshot.pt and config.txt to a net of ours.

A snapshot holds the state of the net, optimiser and schedule and the number of epochs, but neither
the net's name nor what it was trained on: that stands in config.txt. No code in the file is run.
"""

from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn

from fcdd.catalog import AENetName, FCDDNetName, HSCNetName, NetName
from fcdd.config import Net, Run
from fcdd.data.constants import Normalisation, normalisation
from fcdd.model_file import net_of
from fcdd.nets.build import architecture
from fcdd.snapshot_config import Custom, published_run, read_arguments
from fcdd.torch_files import read_torch_file

_PARTS = ("net", "opt", "sched", "epoch")
_NETS: tuple[NetName, ...] = tuple(
    name
    for names in (FCDDNetName, HSCNetName, AENetName)
    for name in get_args(names)
    if name != "FCDD_TRUNK"  # ours
)


def import_snapshot(
    snapshot: Path, *, config: Path, custom: Custom | None = None
) -> tuple[Run, nn.Module, Normalisation]:
    """The run, the net in evaluation mode, and the constants of its input, of a published snapshot.

    `custom` says what a config.txt of custom data leaves out. Raises ValueError for files that hold
    anything but data, that do not fit each other, or that no `Run` can say.
    """
    run = published_run(read_arguments(config), custom=custom)
    state = read_state(snapshot)
    fitting = fitting_nets(state)
    if not fitting:
        raise ValueError(
            f"{snapshot} holds no net of the published code: {len(state)} tensors, the first "
            f"{next(iter(state))!r}; only nets that its command line offers can be imported"
        )
    if Net(name=run.net.name, bias=run.net.bias) not in fitting:
        held = " or ".join(one.name + ("" if one.bias else " without bias") for one in fitting)
        raise ValueError(
            f"{snapshot} holds {held}, but {config} says {run.net.name} with bias={run.net.bias}; "
            "give two files of the same folder"
        )
    constants = _constants(run, custom)
    return run, net_of(run, state, source=str(snapshot)), constants


def _constants(run: Run, custom: Custom | None) -> Normalisation:
    """The published constants of the run's class; those of custom data are given."""
    channels = run.data.shape[0]
    if custom is None:
        nominal = torch.empty(0, *run.data.shape, dtype=torch.uint8)  # published ones need none
        return normalisation(run, nominal)
    given = (custom.mean, custom.std)
    if any(len(numbers) != channels for numbers in given) or not all(s > 0 for s in custom.std):
        raise ValueError(
            f"mean {custom.mean} and standard deviation {custom.std} must be {channels} numbers "
            "each, the latter above 0"
        )
    # preprocessing of custom data is by mean and standard deviation only
    return Normalisation((0.0,) * channels, (1.0,) * channels, custom.mean, custom.std)


def read_state(snapshot: Path) -> dict[str, Tensor]:
    """The tensors of the net in a snapshot. Raises ValueError unless it is whole and finite."""
    content = read_torch_file(snapshot)
    if not isinstance(content, dict) or not all(part in content for part in _PARTS):
        raise ValueError(
            f"{snapshot} is no snapshot of the published code, which holds {', '.join(_PARTS)}"
        )
    net = content["net"]
    dense = isinstance(net, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) and value.layout == torch.strided
        for name, value in net.items()
    )
    if not dense or not net:
        raise ValueError(f"{snapshot}: 'net' is no state dict of tensors; fetch the file again")
    for name, tensor in net.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(
                f"{snapshot}: {name!r} holds values that are not finite: its training diverged, so "
                "there is nothing to import"
            )
    return {name: tensor.detach().clone() for name, tensor in net.items()}


def fitting_nets(state: dict[str, Tensor]) -> list[Net]:
    """The published nets whose state has these names and shapes; several where nets differ in their
    training only."""
    autoencoder = any(name.startswith("encoder.") for name in state)
    vgg = any("features." in name for name in state)
    candidates = [
        Net(name=name, bias=bias)
        for name in _NETS
        if name.startswith("AE") == autoencoder and ("VGG" in name) == vgg
        for bias in ((True,) if vgg else (True, False))
    ]
    with torch.device("meta"):
        return [
            net for net in candidates if _shapes(architecture(net).state_dict()) == _shapes(state)
        ]


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}
