"""The config.txt beside a snapshot of the published code: from its arguments to a `Run`.

The file holds the net as text, an empty line, all arguments as JSON, and the user's notes. A `Run`
says what was trained, so arguments that the published code ignored are left out
(docs/method.md section 9), and every switch that acts is "published".
"""

import json
import re
from dataclasses import dataclass
from math import isinf
from pathlib import Path
from typing import Any, Literal

from fcdd.catalog import FROZEN_NETS, WITH_DEFECTS
from fcdd.config import Run, parse

_DATA = {
    "fmnist": "fmnist",
    "cifar10": "cifar10",
    "mvtec": "mvtec",
    "imagenet": "imagenet30",
    "pascalvoc": "pascal_voc",
    "custom": "custom",
}
_POOLS = {
    "imagenet": "imagenet1k",
    "imagenet22k": "imagenet22k",
    "cifar100": "cifar100",
    "emnist": "emnist",
}
_NOISES = ("gaussian", "uniform", "solid", "blob", "mixed_blob", "confetti")
_MODES = ("unsupervised", "other", "noise", "malformed_normal", "malformed_normal_gt")


@dataclass(frozen=True)
class Custom:
    """What the config.txt of custom data leaves out: the names of the classes in the published
    order (sorted), the layout of their folders, whether maps were used, and per channel the mean
    and standard deviation that the published code computed at its start."""

    classes: tuple[str, ...]
    layout: Literal["one_vs_rest", "nominal_anomalous"]
    maps: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def read_arguments(config: Path) -> dict[str, Any]:
    """The arguments in a config.txt. Raises ValueError for a file without them."""
    try:
        text = config.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    decoder = json.JSONDecoder()  # takes the Infinity that the published code writes
    for found in re.finditer(r"^\{", text, re.MULTILINE):
        try:
            arguments, _ = decoder.raw_decode(text, found.start())
        except (ValueError, RecursionError):
            continue
        if "normal_class" in arguments and "net" in arguments:
            return arguments
    raise ValueError(
        f"{config} holds no arguments of the published code (a line of JSON with 'net' and "
        "'normal_class'); give the config.txt that lies beside the snapshot"
    )


def published_run(arguments: dict[str, Any], *, custom: Custom | None = None) -> Run:
    """The `Run` that the published code carried out with these arguments, `protocol` published.

    Its seed is the number of the repetition: the published code has no seeds. Raises ValueError for
    arguments that are missing or that no `Run` can say.
    """
    take = _Arguments(arguments)
    data = _data(take, custom)
    with_maps = data["name"] in WITH_DEFECTS or data.get("maps", False)
    maps = with_maps and take("objective", str) == "fcdd"
    supervision, outliers = _supervision(take, data=str(data["name"]), maps=maps)
    return parse(
        {
            "data": data,
            "outliers": outliers,
            "supervision": supervision,
            "net": _net(take),
            "objective": _objective(take, maps=maps),
            "training": _training(take, passes=10 if data["name"] == "mvtec" else 1),
            "heatmaps": _heatmaps(take, scored=with_maps),
            "seed": _repetition(take),
            "protocol": "published",
        }
    )


class _Arguments:
    """Takes arguments by name, with the types they may have."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments

    def __call__(self, name: str, *kinds: type) -> Any:
        value = self._arguments.get(name)
        if type(value) not in kinds:
            wanted = " or ".join(kind.__name__ for kind in kinds)
            found = repr(value) if name in self._arguments else "missing"
            raise ValueError(f"config.txt: {name!r} must be {wanted}, but is {found}")
        return value


def _data(take: _Arguments, custom: Custom | None) -> dict[str, Any]:
    dataset = take("dataset", str)
    if dataset not in _DATA:
        raise ValueError(f"config.txt: no dataset {dataset!r}; known: {', '.join(_DATA)}")
    data: dict[str, Any] = {
        "name": _DATA[dataset],
        "normal_class": take("normal_class", int),
        "preprocessing": take("preproc", str),
    }
    if (dataset == "custom") != (custom is not None):
        raise ValueError(
            f"config.txt has dataset {dataset!r}: names of classes, layout, mean and standard "
            "deviation must be given for 'custom', whose config.txt lacks them, and only there"
        )
    if custom is not None:
        data |= {"classes": list(custom.classes), "layout": custom.layout, "maps": custom.maps}
    nominal_label = take("nominal_label", int)
    if nominal_label not in (0, 1) or (nominal_label == 1 and dataset != "pascalvoc"):
        raise ValueError(
            f"config.txt: nominal_label {nominal_label} on {dataset!r} cannot be imported; 0 can, "
            "and 1 on 'pascalvoc'"
        )
    if dataset == "pascalvoc":
        data |= {"inverted": nominal_label == 1, "contrast_stretch": "published"}
    if data["name"] in WITH_DEFECTS or data.get("maps"):
        data["resizing"] = "published"
    return data


def _supervision(
    take: _Arguments, *, data: str, maps: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a `Run` calls supervision and outliers."""
    mode, none = take("supervise_mode", str), {"source": "none"}
    if mode not in _MODES:
        raise ValueError(f"config.txt: no supervise_mode {mode!r}; known: {', '.join(_MODES)}")
    if mode == "unsupervised" or (mode == "other" and data != "custom"):
        return {"mode": "unsupervised"}, none  # "other" trains on nominal images only, unnoticed
    if not take("online_supervision", bool):
        raise ValueError(
            "config.txt: a snapshot of --offline-supervision cannot be imported: anomalies were "
            "appended to the nominal images once, which no Run can say"
        )
    if mode == "other":
        return {"mode": "true_anomalies"}, none
    noise = take("noise_mode", str)
    if mode == "noise" and noise in _POOLS:
        return {"mode": "outlier_exposure"}, _outliers(take, noise)
    if mode == "noise" and noise == "mvtec_gt":
        return _few_maps(take), none
    if noise not in _NOISES:
        raise ValueError(
            f"config.txt: noise_mode {noise!r} with supervise_mode {mode!r} cannot be imported; "
            f"what can: {', '.join(_NOISES)}, and with 'noise' also {', '.join(_POOLS)}, mvtec_gt"
        )
    name = {"noise": "noise", "malformed_normal_gt": "malformed_nominal_maps"}.get(mode)
    if name == "malformed_nominal_maps" and not maps:
        name = None  # without the pixel-level loss its maps were not used
    supervision = {"mode": name or "malformed_nominal", "noise": noise}
    if noise in ("confetti", "mixed_blob"):
        supervision["noise_colours"] = "published"
    return supervision, none


def _outliers(take: _Arguments, noise: str) -> dict[str, Any]:
    outliers: dict[str, Any] = {"source": _POOLS[noise], "limit": _limit(take)}
    if noise in ("imagenet", "imagenet22k"):
        outliers["exclusions"] = "published"
    return outliers


def _few_maps(take: _Arguments) -> dict[str, Any]:
    limit = _limit(take)
    if limit is None:
        raise ValueError(
            "config.txt: 'mvtec_gt' without oe_limit took all defective images, which no Run can "
            "say; snapshots with a limit can be imported"
        )
    return {"mode": "few_maps", "maps_per_defect": limit, "labelled_in_test": "published"}


def _limit(take: _Arguments) -> int | None:
    limit = take("oe_limit", int, float)
    if isinstance(limit, float) and not isinf(limit):
        raise ValueError(f"config.txt: oe_limit {limit} must be a whole number or Infinity")
    return limit if isinstance(limit, int) else None


def _net(take: _Arguments) -> dict[str, Any]:
    name = take("net", str)
    net = {"name": name, "bias": take("bias", bool)}
    return net | ({"frozen_batch_norm": "published"} if name in FROZEN_NETS else {})


def _objective(take: _Arguments, *, maps: bool) -> dict[str, Any]:
    objective = {"name": take("objective", str), "maps": maps}
    acts = objective["name"] == "fcdd" and not maps
    return objective | ({"one_label_batches": "published"} if acts else {})


def _training(take: _Arguments, *, passes: int) -> dict[str, Any]:
    kinds = {"lambda": "exponential", "milestones": "milestones"}
    schedule, parameters = take("scheduler_type", str), take("lr_sched_param", list)
    milestones = parameters[1:]
    whole = all(isinstance(m, int | float) and float(m).is_integer() for m in milestones)
    if schedule not in kinds or not parameters or not whole:
        raise ValueError(
            f"config.txt: scheduler_type {schedule!r} with lr_sched_param {parameters} is none of "
            f"{', '.join(kinds)} with a factor first, then whole numbers of epochs"
        )
    return {
        "epochs": take("epochs", int),
        "batch_size": take("batch_size", int) * take("acc_batches", int),
        "optimizer": take("optimizer_type", str),
        "lr": take("learning_rate", int, float),
        "weight_decay": take("weight_decay", int, float),
        "schedule": kinds[schedule],
        "lr_factor": parameters[0],
        "lr_milestones": [int(epoch) for epoch in milestones],
        "passes": passes,
    }


def _heatmaps(take: _Arguments, *, scored: bool) -> dict[str, Any]:
    """`scored`: the data have maps to score heatmaps against."""
    objective, blurred = take("objective", str), take("blur_heatmaps", bool)
    heatmaps = {"gauss_std": take("gauss_std", int, float, type(None))}
    if objective == "fcdd":
        return heatmaps | {"upsampling": "published"}
    # --blur-heatmaps blurred the pictures of HSC: not those of AE, nor what is scored
    return heatmaps | (
        {"blur": "gaussian"} if blurred and objective == "hsc" and not scored else {}
    )


def _repetition(take: _Arguments) -> int:
    found = re.findall(r"it_(\d+)", take("logdir", str))
    return int(found[-1]) if found else 0
