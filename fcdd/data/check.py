"""`fcdd data check`: everything in a data root, folder, tar or pool that would change numbers.

A run stops at the first fault; this names them all, before a run starts.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from fcdd.catalog import CLASS_NAMES
from fcdd.data.archive import Files, open_files
from fcdd.data.check_custom import check_custom
from fcdd.data.check_files import Inventory, inventory, is_tar
from fcdd.data.check_findings import Checked, Notes, Report
from fcdd.data.check_images import Examined, examine_each
from fcdd.data.check_layouts import check_mvtec_class, check_pool
from fcdd.data.check_published import PUBLISHED, check_published
from fcdd.data.layout import NOMINAL_FOLDERS, layout_of

# Folders below a data root that hold data sets of their own.
_INNER = ("custom", "mvtec", "mvtec_anomaly_detection", "mvtec_layout")
_MASKS = ("ground_truth", "train_maps", "test_maps")
_SPLITS = ("train", "test")

Told = Callable[[str, int, int], None]  # place, files gone through, all files


def check(path: Path, *, pool: Path | None = None, told: Told = lambda *_: None) -> Report:
    """What a run on `path` (a data root, a data set's folder or a tar) would refuse, count or pass
    over; the images of `pool` are looked into too, and compared with all test images. `told` hears
    of the progress.

    Raises ValueError if `path` or `pool` does not exist, or `path` holds no data set and no image.
    """
    for place, option in ((path, "PATH"), (pool, "--pool")):
        if place is not None and not place.exists():
            raise ValueError(f"{option} {place} does not exist; give a folder or a tar")
    checked = _place(path, "", told)
    if not checked:
        raise ValueError(
            f"{path} holds no known data set and no image; layouts: <class>/train/good, test/"
            "<defect> and ground_truth; train/<class> and test/<class>; images; and of published "
            f"data sets: {', '.join(one.tops[0] for one in PUBLISHED.values())}"
        )
    if pool is not None:
        tests = {digest: name for one in checked for digest, name in one.tests.items()}
        checked.append(_pool(pool, tests, told))
    return Report(str(path), tuple(checked))


def _pool(path: Path, tests: Mapping[bytes, str], told: Told) -> Checked:
    notes = Notes()
    files = inventory(path, notes)
    # A pool passes links by, a data set refuses them.
    notes.findings[:] = [
        replace(f, severity="counted" if f.severity == "refused" else f.severity)
        for f in notes.findings
    ]
    examined = examine_each(files, is_mask=lambda _: False)
    num = check_pool(_watched(examined, files, str(path), told), notes, tests=tests)
    if num == 0:
        notes.add("", "no readable image", "refused", "give a folder or tar of images")
    settings = ("outliers.source=folder",)
    return Checked("pool", str(path), (), num, tuple(notes.findings), settings)


def _place(path: Path, place: str, told: Told) -> list[Checked]:
    """All data sets in a folder or tar; `place` names it relative to the checked one."""
    if path.is_file():
        return _tree(path, place, told, ())
    tops = sorted(entry.name for entry in path.iterdir())
    checked = [
        check_published(path, name)
        for name, one in PUBLISHED.items()
        if any(top in one.tops for top in tops)
    ]
    known = {top for one in PUBLISHED.values() for top in one.tops}
    inner = [t for t in tops if t in _INNER and not place and (path / t).is_dir()]
    tars = [t for t in tops if t not in known and is_tar(path / t) and (path / t).is_file()]
    for name in (*inner, *tars):
        checked += _place(path / name, f"{place}{name}", told)
    return checked + _tree(path, place, told, (*known, *inner))


def _tree(path: Path, place: str, told: Told, skip: tuple[str, ...]) -> list[Checked]:
    """The data set that the files of `path`, without the top folders `skip`, make up; none without
    an image."""
    notes = Notes()
    files = inventory(path, notes, skip=skip)
    if path.is_file():
        if not notes.findings:
            _note_refusal(lambda: open_files(path), path.name, notes)
        files = _unwrapped(files)
    if not files.images():
        found = [f for f in notes.findings if f.severity != "harmless"]
        return [Checked("nothing readable", place, (), 0, tuple(found))] if found else []
    label = place or str(path)
    if not _has_layout(files):
        examined = examine_each(files, is_mask=lambda _: False)
        num = check_pool(_watched(examined, files, label, told), notes, tests={})
        settings = ("outliers.source=folder",)
        return [Checked("images, as a pool", place, (), num, tuple(notes.findings), settings)]
    examined = dict(_watched(examine_each(files, is_mask=_is_mask), files, label, told))
    classes = _mvtec_classes(files)
    if classes or _is_class_folder(files):
        return [_mvtec(files, place, classes, examined, notes)]
    return [_custom(files, place, examined, notes)]


def _unwrapped(files: Inventory) -> Inventory:
    """The files of a tar; of a tar that holds one folder that holds everything, those in it."""
    tops = {PurePosixPath(name).parts[0] for name in files.images()}
    if len(tops) != 1 or tops & {*_SPLITS, *_MASKS}:
        return files
    inside = files.below(*tops)
    return inside if _has_layout(inside) else files


def _has_layout(files: Inventory) -> bool:
    return bool(_mvtec_classes(files)) or any(
        PurePosixPath(name).parts[0] in _SPLITS and name.count("/") > 1 for name in files.images()
    )


def _watched(
    examined: Iterator[tuple[str, Examined]], files: Inventory, place: str, told: Told
) -> Iterator[tuple[str, Examined]]:
    """`examined`, `told` how far it is."""
    total = len(files.images())
    told(place, 0, total)
    for done, item in enumerate(examined, 1):
        yield item
        told(place, done, total)


def _is_mask(name: str) -> bool:
    return any(part in _MASKS for part in PurePosixPath(name).parts[:-2])


def _mvtec_classes(files: Inventory) -> list[str]:
    """Class folders that hold train/ and a folder in it."""
    paths = (PurePosixPath(name).parts for name in files.images())
    found = {parts[0] for parts in paths if len(parts) == 4 and parts[1] in _SPLITS}
    return sorted(found - {*_SPLITS, *_MASKS})


def _is_class_folder(files: Inventory) -> bool:
    paths = [PurePosixPath(name).parts for name in files.images()]
    folders = {parts[1] for parts in paths if len(parts) == 3 and parts[0] == "train"}
    masks = any(parts[0] == "ground_truth" for parts in paths)
    return masks or (bool(folders) and folders <= set(NOMINAL_FOLDERS))


def _mvtec(
    files: Inventory,
    place: str,
    classes: list[str],
    examined: Mapping[str, Examined],
    notes: Notes,
) -> Checked:
    """A folder of class folders; with no `classes`, of one class."""
    tests = {}
    for name in classes or [""]:
        tested = _mvtec_class(files, name, examined, notes)
        tests |= {one.digest: f"{name}/{test}" for test, one in tested.items() if one.digest}
    for name in files.images():
        if classes and PurePosixPath(name).parts[0] not in classes:
            notes.add(name, "stray file", "harmless", "it is not read; move it elsewhere")
    own_name = PurePosixPath(files.prefix.rstrip("/") or files.place.resolve().name).name
    names = tuple(classes) or (own_name,)
    official = set(names) <= set(CLASS_NAMES["mvtec"])
    setting = ("data.name=mvtec",) if official else ("data.name=mvtec_layout", _classes(names))
    words = "layout of MVTec-AD" if classes else "one class folder in the layout of MVTec-AD"
    count = sum(not _is_mask(name) for name in files.images())
    return Checked(words, place, names, count, tuple(notes.findings), setting, tests)


def _mvtec_class(
    files: Inventory, class_name: str, examined: Mapping[str, Examined], notes: Notes
) -> dict[str, Examined]:
    """Checks one class; its findings are named from the top of the data set."""
    start = f"{class_name}/" if class_name else ""
    inside, inner = files.below(class_name) if class_name else files, Notes()
    own = {name: examined[start + name] for name in inside.images() if start + name in examined}
    tested = check_mvtec_class(inside, own, inner)
    if not any(finding.severity == "refused" for finding in inner.findings):
        as_run = Files(inside.place, inside.prefix, dict.fromkeys(inside.names, 0))
        _note_refusal(lambda: layout_of(as_run), "", inner)
    notes.findings += [replace(f, path=f"{start}{f.path}") for f in inner.findings]
    return tested


def _note_refusal(read: Callable[[], object], path: str, notes: Notes) -> None:
    """Notes what a run's own reader refuses, where the rules here found nothing to refuse."""
    try:
        read()
    except ValueError as error:
        notes.add(path, "refused by a run", "refused", "see the message", str(error))


def _classes(names: tuple[str, ...]) -> str:
    return f"data.classes={json.dumps(list(names), ensure_ascii=False)}"


def _custom(
    files: Inventory, place: str, examined: Mapping[str, Examined], notes: Notes
) -> Checked:
    found = check_custom(files, examined, notes)
    settings = ["data.name=custom", f"data.layout={found.layout}", _classes(found.classes)]
    settings += ["data.maps=true"] if found.maps else []
    words = f"class folders, {found.layout}{' with maps' if found.maps else ''}"
    tests = {one.digest: name for name, one in found.tested.items() if one.digest}
    count = sum(not _is_mask(name) for name in files.images())
    findings = tuple(notes.findings)
    return Checked(words, place, found.classes, count, findings, tuple(settings), tests)
