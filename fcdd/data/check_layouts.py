"""What may be wrong with a class folder in the layout of MVTec-AD, and with a pool."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath

from fcdd.data.check_files import Inventory
from fcdd.data.check_findings import Notes
from fcdd.data.check_images import Examined, note_faults, taken
from fcdd.data.check_rules import note_copies, note_masks, note_strays
from fcdd.data.layout import NOMINAL, NOMINAL_FOLDERS


def check_mvtec_class(
    files: Inventory, examined: Mapping[str, Examined], notes: Notes
) -> dict[str, Examined]:
    """Notes the faults of a class folder (train/, test/, ground_truth/); its test images."""
    train, test = (_by_folder(files, part, notes) for part in ("train", "test"))
    for name, folder in train.items():
        if folder not in NOMINAL_FOLDERS:
            remedy = "training images are nominal: put it below test/, with a mask"
            notes.add(name, "anomalous training image", "refused", remedy)
    anomalous = {name: folder for name, folder in test.items() if folder not in NOMINAL_FOLDERS}
    _note_missing(train, set(NOMINAL_FOLDERS), "train", notes)
    _note_missing(test, set(NOMINAL_FOLDERS), "test", notes)
    if not anomalous:
        notes.add(
            "test", "no defective images", "refused", "put them into a folder per defect type"
        )
    masks = _mask_files(files, test, notes)
    for name in anomalous:
        if name not in masks:
            remedy = "put it to ground_truth/<defect>/<name of the image>_mask.png"
            notes.add(name, "defective image without a mask", "refused", remedy)
    seen = taken(train, examined, notes)
    tested = taken(test, examined, notes)
    mask_files = taken(masks.values(), examined, notes)
    note_masks(tested, set(anomalous), masks, mask_files, notes)
    note_copies(seen, tested, notes)
    told = {name for name in files.images() if is_mask_path(name)}  # each is a mask, or noted
    note_strays(files, {*train, *test, *told}, ("train", "test", "ground_truth"), notes)
    return tested


def check_pool(
    files: Iterable[tuple[str, Examined]], notes: Notes, *, tests: Mapping[bytes, str]
) -> int:
    """Notes the images of a pool that a run would leave out, and those among `tests` (digest of a
    test image -> its name); the number of all others. Holds no more than the findings."""
    num_readable = 0
    for name, examined in files:
        note_faults(name, examined, notes, skipped=True)
        num_readable += examined.digest is not None
        if examined.digest is not None and examined.digest in tests:
            remedy = "take it out of the pool: training would learn to call it anomalous"
            detail = f"the same picture as {tests[examined.digest]}"
            notes.add(name, "image of the pool that is a test image", "refused", remedy, detail)
    return num_readable


def _by_folder(files: Inventory, part: str, notes: Notes) -> dict[str, str]:
    """The images of train/ or test/ of a class, with the folder of each."""
    found = {}
    for name in files.images():
        parts = PurePosixPath(name).parts
        if parts[0] == part and len(parts) == 3:
            found[name] = parts[1]
        elif parts[0] == part:
            remedy = f"images are in {part}/<{NOMINAL} or defect>/"
            notes.add(name, "image at another depth", "refused", remedy)
    return found


def is_mask_path(name: str) -> bool:
    """Whether a mask has this name in a class folder."""
    parts = PurePosixPath(name).parts
    return parts[0] == "ground_truth" and len(parts) == 3


def _note_missing(
    found: Mapping[str, str], folders: Collection[str], part: str, notes: Notes
) -> None:
    if not any(folder in folders for folder in found.values()):
        remedy = f"they belong into {part}/{NOMINAL}/ (or {', '.join(NOMINAL_FOLDERS[1:])})"
        notes.add(part, "no nominal images", "refused", remedy)


def _mask_files(files: Inventory, test: Mapping[str, str], notes: Notes) -> dict[str, str]:
    """The mask file of each test image that has one."""
    candidates: dict[tuple[str, str], list[str]] = {}
    for name in files.images():
        if is_mask_path(name):
            path = PurePosixPath(name)
            candidates.setdefault((path.parts[1], path.stem), []).append(name)
    masks = {}
    for name, folder in test.items():
        stem = PurePosixPath(name).stem
        found = [m for s in (f"{stem}_mask", stem) for m in candidates.pop((folder, s), [])]
        if len(found) > 1:
            notes.add(name, "image with several masks", "refused", "keep one", ", ".join(found))
        if found:
            masks[name] = found[0]
    for name in sorted(name for names in candidates.values() for name in names):
        notes.add(name, "mask without an image", "harmless", "delete it, or add its image")
    return masks
