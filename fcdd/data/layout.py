"""The layout of MVTec-AD: which file of a class folder is what, and the `Images` that come of it.

    train/good/*.png   test/<good or defect>/*.png   ground_truth/<defect>/<name>_mask.png

Instead of "good" a nominal folder may be called as in NOMINAL_FOLDERS; a mask may be called like
its image, with any image suffix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from fcdd.data.archive import Files
from fcdd.data.files import fingerprint
from fcdd.data.masks import Masks
from fcdd.data.task import Images

NOMINAL = "good"  # what the defect type of a nominal image is called
NOMINAL_FOLDERS = (NOMINAL, "ok", "nominal", "normal")  # "ok": BTAD


@dataclass(frozen=True)
class Layout:
    """The image files of one class, in order: sorted folders, sorted names. `defects` has the
    folder of each test image ("good" for nominal ones), `masks` the mask file of test images."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    defects: tuple[str, ...]
    masks: Mapping[str, str]


def layout_of(files: Files) -> Layout:
    """The layout of the class folder `files`.

    Raises ValueError, naming file or folder, for: no nominal training or test images, no defective
    ones, anomalous training images, an image in no folder or one too deep, a defective image
    without a mask or with several.
    """
    train = _folder(files, "train")
    anomalous = sorted({folder for folder, _ in train.values()} - set(NOMINAL_FOLDERS))
    if anomalous:
        raise ValueError(
            f"{files.where('train/' + anomalous[0])} holds training images that are not nominal; "
            "put them, with masks, below test/ and ground_truth/"
        )
    test = _folder(files, "test")
    defects = tuple(NOMINAL if folder in NOMINAL_FOLDERS else folder for folder, _ in test.values())
    for names, part in ((train, "train"), ([d for d in defects if d == NOMINAL], "test")):
        if not names:
            raise ValueError(
                f"{files.where(part)} holds no nominal images; they belong into "
                f"{part}/{NOMINAL}/ (or {', '.join(NOMINAL_FOLDERS[1:])})"
            )
    if all(defect == NOMINAL for defect in defects):
        raise ValueError(
            f"{files.where('test')} holds no defective images; they belong into a folder per "
            "defect type"
        )
    masks = _masks(files, test)
    for (name, (folder, stem)), defect in zip(test.items(), defects, strict=True):
        if defect != NOMINAL and name not in masks:
            raise ValueError(
                f"{files.where(name)} is defective and has no mask; put it to "
                f"ground_truth/{folder}/{stem}_mask.png (or {stem}.png, or another image suffix)"
            )
    return Layout(tuple(train), tuple(test), defects, masks)


def _folder(files: Files, part: str) -> dict[str, tuple[str, str]]:
    """The images of train/ or test/: name -> folder and stem."""
    found = {}
    for name in files.images():
        path = PurePosixPath(name)
        if path.parts[0] == part:
            if len(path.parts) != 3:
                raise ValueError(
                    f"{files.where(name)} has no place in the layout; images are in "
                    f"{part}/<{NOMINAL} or defect>/"
                )
            found[name] = (path.parts[1], path.stem)
    return found


def _masks(files: Files, test: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """The mask file of every test image that has one."""
    candidates: dict[tuple[str, str], list[str]] = {}
    for name in files.images():
        path = PurePosixPath(name)
        if path.parts[0] == "ground_truth" and len(path.parts) == 3:
            candidates.setdefault((path.parts[1], path.stem), []).append(name)
    masks = {}
    for name, (folder, stem) in test.items():
        found = [m for s in (f"{stem}_mask", stem) for m in candidates.get((folder, s), [])]
        if len(found) > 1:
            raise ValueError(f"{files.where(name)} has several masks: {', '.join(found)}; keep one")
        if found:
            masks[name] = found[0]
    return masks


def layout_images(
    train: np.ndarray,
    test: np.ndarray,
    *,
    masks: Masks,
    defects: Sequence[str],
    names: Sequence[str],
    normal_class: int,
) -> Images:
    """The `Images` of one class in this layout, from uint8 [n, 3, h, w] and what belongs to the
    test images. All have the class number `normal_class`; anomalous is what has a defect."""
    train_classes = np.full(len(train), normal_class, np.int64)
    test_classes = np.full(len(test), normal_class, np.int64)
    anomalous = np.array([defect != NOMINAL for defect in defects])
    kinds = np.frombuffer("\0".join(defects).encode(), np.uint8)
    parts = (train, train_classes, test, test_classes)
    return Images(
        *parts,
        fingerprint=fingerprint(*parts, kinds, *masks.arrays()),
        test_anomalous=anomalous,
        test_masks=masks,
        test_defects=tuple(defects),
        test_files=tuple(names),
    )
