"""Files that `torch.save` wrote, read without running what they say."""

import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import torch

# A snapshot of the published code holds its milestones as a Counter: data, like a dict.
_ALLOWED = (Counter,)
_FOREIGN = re.compile(r"(?:GLOBAL|Unsupported class) ([\w.]+)")
_REASON = re.compile(r"WeightsUnpickler error:\s*([^\n]+)")


def read_torch_file(path: Path) -> object:
    """What `torch.save` wrote to `path`, in the zip format or the one before it, on the CPU.

    Only tensors, numbers, text and containers of them are made. Raises ValueError in one line for a
    file that asks for anything else, or is damaged; OSError where it cannot be opened.
    """
    with path.open("rb"):  # a missing file is no damaged one
        pass
    try:
        with torch.serialization.safe_globals(list(_ALLOWED)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # refused anyhow
            warnings.filterwarnings("ignore", message="Sparse invariant checks")  # of torch 2.11
            # mapped, not read, where the format allows it: an optimiser's state is seldom wanted
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # the format is a small program, so it fails in any way
        foreign = _FOREIGN.search(str(error))
        if foreign is not None:
            raise ValueError(
                f"{path} was not read: it asks to run {foreign[1]!r} besides holding tensors; a "
                "file like this can harm, so ask whoever made it for one of tensors only"
            ) from error
        raise ValueError(
            f"{path} is no complete file of torch.save ({_reason(error)}); fetch it again"
        ) from error


def _reason(error: Exception) -> str:
    """PyTorch's own reason, without its advice to read the file without care."""
    text = str(error).strip()
    named = _REASON.search(text)
    if named is None and text.startswith("Weights only load failed"):
        return "a pickle of another kind"
    line = named[1] if named is not None else (text.splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:150]}"
