"""Checkpoints of a run in training: an interrupted run goes on from them, bit for bit on a CPU.

One safetensors file holds the tensors of net and optimiser and, as JSON in its header, the epochs
so far. Random numbers are drawn from (seed, purpose, epoch) (docs/method.md section 8), so the
number of the last epoch is the state of all generators.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

logger = logging.getLogger(__name__)

VERSION = 1
_KEY = "fcdd_checkpoint"  # of the header's metadata
_FILE = "checkpoint.safetensors"


class Away(Protocol):
    """A folder on no disk of this machine, such as one in an object store. What is written there is
    there whole or not at all; its methods raise OSError."""

    def __truediv__(self, name: str) -> "Away": ...
    def in_haste(self) -> "Away": ...
    def exists(self) -> bool: ...
    def read_bytes(self) -> bytes: ...
    def write_bytes(self, data: bytes) -> None: ...
    def remove_all(self) -> None: ...


@dataclass(frozen=True)
class Checkpoints:
    """Where one run keeps its checkpoint, and how often it is replaced, at ends of epochs.

    `identity` is what a run must share with the one that wrote a checkpoint to go on from it: the
    Run, its data, versions; plain JSON by name.
    """

    folder: Path | Away
    every_seconds: float
    identity: Mapping[str, Any]

    @property
    def path(self) -> Path | Away:
        """The checkpoint's file."""
        return self.folder / _FILE

    def remove(self) -> None:
        """Removes the folder with all that interrupted writing left in it."""
        if isinstance(self.folder, Path):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            with suppress(OSError):
                self.folder.remove_all()


@dataclass(frozen=True)
class State:
    """What training changes."""

    net: nn.Module
    optimizer: Optimizer
    schedule: LRScheduler


@dataclass(frozen=True)
class Progress:
    """How far a run had come: fields of its `Epoch`s, and the seconds spent training."""

    epochs: Sequence[Mapping[str, Any]]
    train_seconds: float


def save_checkpoint(checkpoints: Checkpoints, state: State, *, progress: Progress) -> None:
    """Replaces the checkpoint, whole or not at all.

    A disk that does not take it is logged and the old one stays: training needs no checkpoint.
    """
    tensors = {name: _plain(tensor) for name, tensor in _tensors(state).items()}
    content = {
        "version": VERSION,
        "identity": dict(checkpoints.identity),
        "epochs": [dict(epoch) for epoch in progress.epochs],
        "train_seconds": progress.train_seconds,
        "lrs": state.schedule.get_last_lr(),
        "layout": {name: _form(tensor) for name, tensor in tensors.items()},
    }
    text = json.dumps(content, sort_keys=True)
    data = save(tensors, {_KEY: text, "sha256": _digest(text, tensors)})
    try:
        _write(checkpoints.folder, data)
    except OSError as error:
        logger.warning("checkpoint not written (%s); training goes on", error)


def _write(folder: Path | Away, data: bytes) -> None:
    if not isinstance(folder, Path):
        (folder / _FILE).in_haste().write_bytes(data)
        return
    part = folder / f".{_FILE}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / _FILE)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


def restore_checkpoint(checkpoints: Checkpoints, state: State) -> Progress | None:
    """How far the checkpoint had come, with net, optimiser and schedule put into that state.

    None, and nothing touched, where there is no checkpoint or one that does not fit: damaged, or of
    another run, data, version, commit or kind of machine. Why it is not used is logged.
    """
    try:
        if not checkpoints.path.exists():
            return None
        content, tensors = _read(checkpoints)
        _check_tensors(content, tensors, state.net)
        progress = Progress(content["epochs"], content["train_seconds"])
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        logger.warning(
            "checkpoint %s is not used, the run begins anew: %s", checkpoints.path, error
        )
        return None
    state.net.load_state_dict(  # into the tensors of the net, which keep device and layout
        {name[4:]: tensor for name, tensor in tensors.items() if name.startswith("net.")}
    )
    _load_optimizer(tensors, state.optimizer, lrs=content["lrs"])
    state.schedule.load_state_dict(
        state.schedule.state_dict()
        | {"last_epoch": len(progress.epochs), "_last_lr": content["lrs"]}
    )
    logger.info("goes on from its checkpoint after epoch %d", len(progress.epochs))
    return progress


def _tensors(state: State) -> dict[str, Tensor]:
    """All tensors by name: "net.NAME", and "optimizer.PARAMETER.NAME" by number of parameter."""
    found = {f"net.{name}": tensor for name, tensor in state.net.state_dict().items()}
    for number, values in state.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": tensor for name, tensor in values.items()}
    return found


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(checkpoints: Checkpoints) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors. Raises ValueError unless the file is what was written, for this run."""
    with _local(checkpoints.path) as path, safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        # copied into memory aligned as PyTorch aligns it: elsewhere sums differ in last digits
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if _KEY not in metadata:
        raise ValueError("it is a safetensors file, but no checkpoint")
    if metadata.get("sha256") != _digest(metadata[_KEY], tensors):
        raise ValueError("it is damaged: its content has another checksum")
    content = json.loads(metadata[_KEY])
    if content["version"] != VERSION:
        raise ValueError(f"it has version {content['version']} of the format, known is {VERSION}")
    written, now = content["identity"], json.loads(json.dumps(dict(checkpoints.identity)))
    odd = [name for name in sorted({*written, *now}) if written.get(name) != now.get(name)]
    if odd:
        told = (f"{name} was {written.get(name)!r}, is {now.get(name)!r}" for name in odd)
        raise ValueError("it is of other circumstances: " + "; ".join(told))
    return content, tensors


@contextmanager
def _local(path: Path | Away) -> Iterator[Path]:
    """A file of this machine with the content of `path`."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="fcdd-checkpoint-") as folder:
        copy = Path(folder) / _FILE
        copy.write_bytes(path.read_bytes())
        yield copy


def _check_tensors(
    content: Mapping[str, Any], tensors: Mapping[str, Tensor], net: nn.Module
) -> None:
    needed = {f"net.{name}": _form(tensor) for name, tensor in net.state_dict().items()}
    found = {name: _form(tensor) for name, tensor in tensors.items()}
    if found != content["layout"] or not needed.items() <= found.items():
        raise ValueError("it holds other tensors than those of the run's net")


def _load_optimizer(
    tensors: Mapping[str, Tensor], optimizer: Optimizer, *, lrs: Sequence[float]
) -> None:
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    values: dict[int, dict[str, Tensor]] = {}
    for full, tensor in tensors.items():
        if full.startswith("optimizer."):
            _, number, name = full.split(".", 2)
            if name != "step":  # Adam's counter; the rest has its parameter's layout and device
                tensor = torch.empty_like(parameters[int(number)]).copy_(tensor)
            values.setdefault(int(number), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    for group, lr in zip(groups, lrs, strict=True):
        group["lr"] = lr
    optimizer.load_state_dict({"state": values, "param_groups": groups})
