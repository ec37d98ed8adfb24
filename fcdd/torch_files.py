"""Files that `torch.save` wrote, read without running what they say."""

import re
import zipfile
from collections import Counter
from pathlib import Path

import torch

# A snapshot of the published code holds its milestones as a Counter: data, like a dict.
_ALLOWED = (Counter,)
_FOREIGN = re.compile(r"Unsupported (?:global|class|operand)[^\n]*?([\w.]+\.\w+)")


def read_torch_file(path: Path) -> object:
    """What `torch.save` wrote to `path`, in the zip format or the one before it, on the CPU.

    Only tensors, numbers, text and containers of them are made. Raises ValueError in one line for a
    file that holds anything else, or is damaged; OSError where it cannot be opened.
    """
    try:
        with torch.serialization.safe_globals(list(_ALLOWED)):
            # mapped, not read, where the format allows it: an optimiser's state is seldom wanted
            mapped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError:
        raise
    except Exception as error:  # the format is a small program, so it fails in any way
        foreign = _FOREIGN.search(str(error))
        if foreign is not None:
            raise ValueError(
                f"{path} was not read: it asks to run {foreign[1]!r} besides holding tensors; a "
                "file like this can harm, so ask whoever made it for one of tensors only"
            ) from error
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} is no complete file of torch.save ({first[:200]}); fetch it again"
        ) from error
