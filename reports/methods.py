"""How methods are told apart and called, in tables and figures alike.

A method is a setting: all fields of a Run that decide a result, but the data set, the nominal class
and the seed. Its name is the objective and the fewest words that tell it from the others beside it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.schema import SCHEMA

Setting = Mapping[str, Any]

RUN = tuple(SCHEMA.names[SCHEMA.names.index("data.name") : SCHEMA.names.index("class_name")])
# What has the same test images and the same labels is one data set.
DATA = ("data.name", "data.classes", "data.layout", "data.inverted")
SETTING = tuple(n for n in RUN if n not in (*DATA, "data.normal_class", "seed"))

OBJECTIVES = {"fcdd": "FCDD", "hsc": "HSC", "ae": "AE"}
DATA_NAMES = {
    "digits": "digits",
    "fmnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "imagenet30": "ImageNet-30",
    "mvtec": "MVTec-AD",
    "pascal_voc": "Pascal VOC",
    "textures": "textures",
    "mvtec_layout": "own images",
    "custom": "own images",
}
POOLS = {
    "photographs": "photographs",
    "cifar100": "CIFAR-100",
    "emnist": "EMNIST",
    "mnist": "MNIST",
    "imagenet1k": "ImageNet-1k",
    "imagenet22k": "ImageNet-22k",
    "folder": "a folder",
}


def labels(settings: Sequence[Setting]) -> list[str]:
    """A name per setting, all different: "FCDD", or "FCDD, k = 4 maps" beside "FCDD, k = 0 maps".

    Settings of one objective are told apart by the first of `_WORDS` that splits them, then by the
    next that splits what is left, until each stands alone.
    """
    chosen: list[list[str]] = [[objective(setting)] for setting in settings]
    for words in (*_WORDS, *(_field_words(name) for name in SETTING)):
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, parts in enumerate(chosen):
            groups.setdefault(tuple(parts), []).append(place)
        if len(groups) == len(settings):
            break
        for group in groups.values():
            said = [words(settings[place]) for place in group]
            if len(set(said)) > 1:
                for place, text in zip(group, said, strict=True):
                    chosen[place].append(text)
    return [", ".join(part for part in parts if part) for parts in chosen]


def objective(setting: Setting) -> str:
    """FCDD, HSC or AE."""
    name = str(setting["objective.name"])
    return OBJECTIVES.get(name, name)


def supervision(setting: Setting) -> str:
    """What training saw besides nominal images, in a few words."""
    noise = setting["supervision.noise"]
    match setting["supervision.mode"]:
        case "outlier_exposure":
            source = str(setting["outliers.source"])
            return f"OE {POOLS.get(source, source)}"
        case "noise":
            return f"{noise} noise"
        case "malformed_nominal":
            return f"{noise}"
        case "malformed_nominal_maps":
            return f"{noise} with maps"
        case "true_anomalies":
            return "true anomalies"
        case "few_maps":
            return f"k = {setting['supervision.maps_per_defect']} maps"
        case other:
            return str(other)


def in_words(setting: Setting) -> str:
    """A setting for a caption: objective, net, supervision, epochs and preprocessing."""
    return (
        f"{objective(setting)} with {_net(setting)}, {supervision(setting)}"
        f"{'' if setting['outliers.limit'] is None else f' ({_limit(setting)})'}, "
        f"{setting['training.epochs']} epochs, preprocessing {setting['data.preprocessing']}"
    )


def _limit(setting: Setting) -> str:
    limit = setting["outliers.limit"]
    return "all OE images" if limit is None else f"{limit} OE images"


def _gaussian(setting: Setting) -> str:
    std = setting["heatmaps.gauss_std"]
    return "std by field" if std is None else f"std {std:g} px"


def _net(setting: Setting) -> str:
    trunk = setting["net.trunk"]
    return str(setting["net.name"]) if trunk is None else f"{trunk} {setting['net.trunk_layer']}"


def _maps(setting: Setting) -> str:
    return "pixel loss" if setting["objective.maps"] else "image loss"


def _protocol(setting: Setting) -> str:
    return f"{setting['protocol']} protocol"


_WORDS: tuple[Callable[[Setting], str], ...] = (
    *(supervision, _limit, _gaussian, _net, _maps, _protocol),
)


def _field_words(name: str) -> Callable[[Setting], str]:
    short = name.replace("supervision.", "").replace("training.", "").replace("_", " ")
    return lambda setting: f"{short} {value_words(setting[name])}"


def value_words(value: Any) -> str:
    """A field's value as a heading prints it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return " ".join(value_words(one) for one in value) or "none"
    return str(value)


def heading(field: str, value: Any) -> str:
    """What stands at a row or column for `value` of `field`."""
    if field == "objective.name":
        return OBJECTIVES.get(value, str(value))
    if field == "data.name":
        return DATA_NAMES.get(value, str(value))
    if field == "outliers.source":
        return "no pool" if value == "none" else POOLS.get(value, str(value))
    if field == "outliers.limit" and value is None:
        return "all"
    return value_words(value)


def hashable(value: Any) -> Any:
    """Lists as tuples."""
    return tuple(value) if isinstance(value, list) else value


def order(value: Any) -> tuple:
    """A sort key for values of one field: numbers, then texts and lists (numbers in them by their
    value: 3K before 11K), None last."""
    if value is None:
        return (2, 0.0, ())
    if isinstance(value, bool | int | float):
        return (0, float(value), ())
    parts = re.split(r"(\d+)", str(value))
    return (1, 0.0, tuple(int(part) if place % 2 else part for place, part in enumerate(parts)))


def rank(setting: Setting) -> tuple:
    """A sort key for settings: FCDD, HSC, AE; then by supervision and the values of all fields."""
    name = setting["objective.name"]
    known = list(OBJECTIVES)
    place = known.index(name) if name in known else len(known)
    first = ("supervision.maps_per_defect", "outliers.limit", "heatmaps.gauss_std")
    return (place, str(name), *(order(setting[field]) for field in (*first, *SETTING)))
