"""Which file of the user's own class folders is what: class, nominal or anomalous, map.

Two layouts. "one_vs_rest": images in train/<class>/ and test/<class>/, at any depth.
"nominal_anomalous": in train/<class>/nominal/ and .../anomalous/, the same below test/; "normal" is
another name for "nominal", in any case. A map has the path of its image below train_maps/ or
test_maps/. Hidden files, and files that are no images, are passed over.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from fcdd.config import Data
from fcdd.data.archive import Files, below, folders, open_files

_PARTS = ("train", "test", "train_maps", "test_maps")
_ROLES = {"nominal": False, "normal": False, "anomalous": True}  # is it anomalous?


@dataclass(frozen=True)
class Split:
    """The images of `part` (train or test) that a run needs: names, classes (their places in
    `data.classes`), whether each is anomalous, and map files (None where there are no maps)."""

    part: str
    names: tuple[str, ...]
    classes: np.ndarray
    anomalous: np.ndarray
    maps: Mapping[str, str] | None


def find(root: Path, data: Data) -> Files:
    """The files of train/, test/ and the maps in `root`/custom/ or `root`, a folder or tar.

    Raises ValueError if train/ or test/ is missing, their class folders differ or are named like
    parts of the layout, a class of `data.classes` is not among them, or maps are asked for and
    there are none.
    """
    files = _open(root)
    train, test = (_classes(files, part) for part in ("train", "test"))
    if not train or not test:
        raise ValueError(
            f"{root} has no images in train/<class>/ and test/<class>/, neither directly nor in "
            "custom/; put them there, or point --data-root or FCDD_DATA to their folder"
        )
    if train != test:
        raise ValueError(
            f"{files.where('')}: train/ and test/ need images of the same classes; only in train/: "
            f"{_list(train - test)}; only in test/: {_list(test - train)}"
        )
    parts = sorted(name for name in train if name.lower() in _ROLES)
    if parts:
        raise ValueError(
            f"{files.where('train/' + parts[0])} has the name of a part of a class; put it into "
            f"the folder of its class: train/<class>/{parts[0]}/"
        )
    unknown = set(data.class_names) - train
    if unknown:
        raise ValueError(
            f"data.classes: {_list(unknown)} not in {files.where('train')}; there are: "
            f"{_list(train)}"
        )
    if data.maps and not any(_below(files, f"{part}_maps") for part in ("train", "test")):
        raise ValueError(
            f"data.maps is set, but {files.where('')} has no images in train_maps/ or test_maps/; "
            "put the maps there, each below the path of its image, or leave data.maps out"
        )
    return files


def split_of(files: Files, data: Data, part: Literal["train", "test"]) -> Split:
    """The images of `part` that `data` needs: of all classes where one is tested against the
    others, else of the nominal one.

    Raises ValueError for images outside of the layout's folders, if nominal or, in test, anomalous
    images are missing, and for an anomalous image without a map where there are maps.
    """
    alone = data.layout == "nominal_anomalous"
    numbers = [data.normal_class] if alone else range(len(data.class_names))
    named = [
        (name, number)
        for number in numbers
        for name in _below(files, f"{part}/{data.class_names[number]}")
    ]
    roles = {
        name: _role(files, name, alone=alone, other=number != data.normal_class)
        for name, number in named
    }
    for role, needed in ((False, True), (True, part == "test")):
        if needed and role not in roles.values():
            kind = "anomalous" if role else "nominal"
            raise ValueError(
                f"{files.where(part)} has no {kind} images for class {data.class_name!r}; "
                + (
                    f"they belong into {part}/{data.class_name}/{kind}/"
                    if alone
                    else "name a second class in data.classes"
                )
            )
    return Split(
        part,
        tuple(roles),
        np.array([number for _, number in named], np.int64),
        np.array(list(roles.values()), bool),
        _maps(files, part, roles, alone=alone) if data.maps else None,
    )


def _open(root: Path) -> Files:
    if root.is_dir():
        inner = root / "custom"
        place = inner if (inner / "train").is_dir() else root
        return open_files(place, only=_PARTS)
    files = open_files(root)
    tops = folders(files.sizes)
    # A tar often holds one folder that holds everything.
    return files if "train" in tops or len(tops) != 1 else below(files, tops[0])


def _below(files: Files, folder: str) -> list[str]:
    return [name for name in files.images() if name.startswith(f"{folder}/")]


def _classes(files: Files, part: str) -> set[str]:
    paths = (PurePosixPath(name).parts for name in _below(files, part))
    return {parts[1] for parts in paths if len(parts) > 2}


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _role(files: Files, name: str, *, alone: bool, other: bool) -> bool:
    """Whether the image `name` is anomalous: by its folder, or because it is of an other class."""
    folder = PurePosixPath(name).parts[2]
    known = _ROLES.get(folder.lower()) if len(PurePosixPath(name).parts) > 3 else None
    if alone and known is None:
        raise ValueError(
            f"{files.where(name)} is in no nominal/ or anomalous/ folder of its class; put it into "
            "one, or set data.layout to 'one_vs_rest'"
        )
    if not alone and known is not None:
        raise ValueError(
            f"{files.where(name)} is in a folder {folder!r}, which belongs to data.layout "
            "'nominal_anomalous'; set that, or rename the folder"
        )
    return other if known is None else known


def _maps(
    files: Files, part: str, roles: Mapping[str, bool], *, alone: bool
) -> dict[str, str] | None:
    """The map of each image that has one; in one_vs_rest only of other classes' images."""
    stems: dict[str, list[str]] = {}
    for name in _below(files, f"{part}_maps"):
        stems.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)
    if not stems:
        return None
    maps = {}
    for name, anomalous in roles.items():
        same = name.replace(part, f"{part}_maps", 1)
        found = stems.get(str(PurePosixPath(same).with_suffix("")), [])
        found = [same] if same in found else found
        if len(found) > 1:
            raise ValueError(f"{files.where(name)} has several maps: {', '.join(found)}; keep one")
        if anomalous and not found:
            raise ValueError(
                f"{files.where(name)} is anomalous and has no map; put it to {same}, or leave "
                f"data.maps out"
            )
        if found and (anomalous or alone):
            maps[name] = found[0]
    return maps
