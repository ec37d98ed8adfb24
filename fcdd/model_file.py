"""Our own model format: one safetensors file that holds a net's tensors and, as JSON in its header,
its `Run`, the constants that scale its input, and the version of the format."""

import json
import os
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fcdd.config import Run, parse
from fcdd.data.constants import Normalisation
from fcdd.nets.build import architecture

VERSION = 1
_KEY = "fcdd_model"  # of the header's metadata


def write_model(path: Path, net: nn.Module, *, run: Run, normalisation: Normalisation) -> None:
    """Writes `net`, trained by `run` on images scaled by `normalisation`, whole or not at all. The
    same model gives the same bytes."""
    content = {
        "version": VERSION,
        "run": json.loads(run.model_dump_json()),
        "normalisation": asdict(normalisation),
    }
    metadata = {_KEY: json.dumps(content, sort_keys=True, allow_nan=False)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in _state(net).items()}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, part, metadata=metadata)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_model(path: Path) -> tuple[Run, nn.Module, Normalisation]:
    """The run, the net on the CPU in evaluation mode, and the constants of its input.

    Raises ValueError for files that are no model of ours, are damaged, or hold other tensors than
    the run's net has; OSError where the file cannot be opened.
    """
    with path.open("rb"):  # a missing file is no damaged one
        pass
    try:
        with safe_open(path, framework="pt") as file:
            content = _content(path, file.metadata() or {})
            # copied into memory aligned as PyTorch aligns it: elsewhere sums differ in last digits
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no complete safetensors file ({error}); export or copy the model again"
        ) from error
    try:
        run = parse(content["run"])
        normalisation = _normalisation(content["normalisation"], channels=run.data.shape[0])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} has a header that does not hold: {error}") from error
    return run, net_of(run, tensors, source=str(path)), normalisation


def net_of(run: Run, tensors: dict[str, Tensor], *, source: str) -> nn.Module:
    """The run's net with these tensors as its state, in evaluation mode. Raises ValueError naming
    `source` unless names, shapes and types are those of the net."""
    with torch.device("meta"):  # nothing is initialised only to be overwritten
        net = architecture(run.net, size=run.data.shape[1:])
    expected = _state(net)
    for name in sorted(expected.keys() | tensors.keys()):
        have, need = (_form(state.get(name)) for state in (tensors, expected))
        if have != need:
            raise ValueError(
                f"{source} does not fit net {run.net.name!r}: {name!r} is {have}, needed: {need}"
            )
    net.load_state_dict(tensors, assign=True)
    return net.eval()


def _state(net: nn.Module) -> dict[str, Tensor]:
    return dict(net.state_dict())


def _form(tensor: Tensor | None) -> str:
    if tensor is None:
        return "nothing"
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _content(path: Path, metadata: dict[str, str]) -> dict:
    if _KEY not in metadata:
        raise ValueError(
            f"{path} is a safetensors file, but no model of this program; it takes files that "
            "`fcdd import` or `fcdd export` wrote"
        )
    try:
        content = json.loads(metadata[_KEY])
        version = content["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has a damaged header; copy the model again") from error
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version} of the model format, known is {VERSION}; use the "
            "release of fcdd that wrote it"
        )
    return content


def _normalisation(content: dict[str, list[float]], *, channels: int) -> Normalisation:
    values = {}
    for field in fields(Normalisation):
        numbers = tuple(float(number) for number in content[field.name])
        if len(numbers) != channels or not all(isfinite(number) for number in numbers):
            raise ValueError(
                f"normalisation.{field.name} = {numbers} is not one number for each of {channels} "
                "channels"
            )
        values[field.name] = numbers
    return Normalisation(**values)
