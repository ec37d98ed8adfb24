"""What may be wrong with the user's own class folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from fcdd.data.check_files import Inventory
from fcdd.data.check_findings import Notes
from fcdd.data.check_images import Examined, taken
from fcdd.data.check_rules import note_copies, note_masks, note_strays

ROLES = {"nominal": False, "normal": False, "anomalous": True}  # folder -> is it anomalous?


@dataclass(frozen=True)
class CustomFolders:
    """What class folders turned out to be, and their test images."""

    layout: Literal["one_vs_rest", "nominal_anomalous"]
    classes: tuple[str, ...]
    maps: bool
    tested: Mapping[str, Examined]


def check_custom(files: Inventory, examined: Mapping[str, Examined], notes: Notes) -> CustomFolders:
    """Notes the faults of train/<class>/ and test/<class>/."""
    images = {part: _parts_of(files, part) for part in ("train", "test")}
    classes = {part: {parts[0] for parts in found.values()} for part, found in images.items()}
    for part, other in (("train", "test"), ("test", "train")):
        for name in sorted(classes[part] - classes[other]):
            remedy = f"both need every class: add {other}/<class>/, or take the class out"
            notes.add(f"{part}/{name}", "class only in one of train and test", "refused", remedy)
    for name in sorted(classes["train"] | classes["test"]):
        if name.lower() in ROLES:
            remedy = "put it into the folder of a class: train/<class>/nominal/"
            notes.add(name, "class folder with the name of a part of a class", "refused", remedy)
    roles = {
        name: ROLES.get(parts[1].lower()) if len(parts) > 2 else None
        for found in images.values()
        for name, parts in found.items()
    }
    by_role = any(role is not None for role in roles.values())
    if by_role:
        _note_roles(images, roles, notes)
    else:
        roles = _as_if_anomalous(files, images, notes)
    maps = _map_files(files, roles, notes)
    seen = taken(images["train"], examined, notes)
    tested = taken(images["test"], examined, notes)
    map_files = taken(maps.values(), examined, notes)
    anomalous = {name for name, role in roles.items() if role}
    note_masks({**seen, **tested}, anomalous, maps, map_files, notes)
    note_copies(seen, tested, notes)
    tops = ("train", "test", "train_maps", "test_maps")
    told = {name for name in files.images() if PurePosixPath(name).parts[0] in tops[2:]}
    note_strays(files, {*images["train"], *images["test"], *told}, tops, notes)
    layout = "nominal_anomalous" if by_role else "one_vs_rest"
    both = sorted(classes["train"] & classes["test"])
    return CustomFolders(layout, tuple(both), bool(maps), tested)


def _parts_of(files: Inventory, part: str) -> dict[str, tuple[str, ...]]:
    """The images below train/ or test/ in a class folder, with the path of each in it."""
    paths = ((name, PurePosixPath(name).parts) for name in files.images())
    return {name: parts[1:] for name, parts in paths if parts[0] == part and len(parts) > 2}


def _note_roles(
    images: Mapping[str, Mapping[str, tuple[str, ...]]],
    roles: Mapping[str, bool | None],
    notes: Notes,
) -> None:
    for part, found in images.items():
        kinds: dict[str, set[bool | None]] = {}
        for name, parts in found.items():
            kinds.setdefault(parts[0], set()).add(roles[name])
            if roles[name] is None:
                remedy = "put it into nominal/ or anomalous/ of its class"
                notes.add(name, "image that is neither nominal nor anomalous", "refused", remedy)
        for class_name, present in sorted(kinds.items()):
            folder = f"{part}/{class_name}"
            if False not in present:
                notes.add(folder, "no nominal images", "refused", "put them into nominal/")
            if part == "test" and True not in present:
                notes.add(folder, "no anomalous images", "refused", "put them into anomalous/")


def _as_if_anomalous(
    files: Inventory, images: Mapping[str, Mapping[str, tuple[str, ...]]], notes: Notes
) -> dict[str, bool | None]:
    """Every image is anomalous where another class is nominal. Those of one class need no maps: it
    may be the nominal one."""
    roles: dict[str, bool | None] = {}
    for part, found in images.items():
        start = f"{part}_maps/"
        mapped = {name.split("/")[1] for name in files.images() if name.startswith(start)}
        without = sorted({parts[0] for parts in found.values()} - mapped)
        if mapped and len(without) > 1:
            remedy = "only one class, the nominal one, can be without; or run without data.maps"
            for name in without:
                notes.add(f"{start}{name}", "class without maps", "refused", remedy)
        roles |= {name: parts[0] in mapped for name, parts in found.items()}
    return roles


def _map_files(files: Inventory, roles: Mapping[str, bool | None], notes: Notes) -> dict[str, str]:
    """The map of each image that has one, below train_maps/ and test_maps/."""
    stems: dict[str, list[str]] = {}
    parts_with_maps = set()
    for name in files.images():
        top = PurePosixPath(name).parts[0]
        if top in ("train_maps", "test_maps"):
            parts_with_maps.add(top.removesuffix("_maps"))
            stems.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)
    maps = {}
    for name, anomalous in roles.items():
        part = PurePosixPath(name).parts[0]
        same = name.replace(part, f"{part}_maps", 1)
        found = stems.pop(str(PurePosixPath(same).with_suffix("")), [])
        found = [same] if same in found else found
        if len(found) > 1:
            notes.add(name, "image with several masks", "refused", "keep one", ", ".join(found))
        if found:
            maps[name] = found[0]
        elif anomalous and part in parts_with_maps:
            remedy = "put it below the path of its image, or run without data.maps"
            notes.add(name, "anomalous image without a map", "refused", remedy)
    for name in sorted(name for names in stems.values() for name in names):
        notes.add(name, "mask without an image", "harmless", "delete it, or add its image")
    return maps
