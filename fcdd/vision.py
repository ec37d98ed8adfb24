"""The only import of torchvision, made on first use; data sets are downloaded through it."""

import importlib
import sys
from types import ModuleType

import torch

# What `import torchvision` raises when its compiled operators do not fit the installed torch, as
# with a CPU build of torch beside the registry's torchvision wheel.
_MISSING_OPERATOR = "operator torchvision::nms does not exist"
_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_kept_alive: list[torch.library.Library] = []  # schemas vanish with their Library


def torchvision() -> ModuleType:
    """The module torchvision, with its data sets usable even where its operators are not.

    The two schemas it looks for are defined only after the import failed for want of them: defined
    first, they would collide with a healthy installation's own and abort the process. Every other
    error of the import is raised on.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if str(error) != _MISSING_OPERATOR:
            raise
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"nms{_NMS}")
    library.define(f"qnms{_NMS}")
    _kept_alive.append(library)
    return importlib.import_module("torchvision")
