"""MVTec-AD, and any data in its layout, one class at a time (docs/method.md section 4).

Bergmann et al.: MVTec AD - A Comprehensive Real-World Dataset for Unsupervised Anomaly Detection.
CVPR 2019. Read from folders or from a tar, which is not unpacked.
"""

import logging
from pathlib import Path, PurePosixPath

from fcdd.config import Data
from fcdd.data.archive import TAR_SUFFIXES, Files, below, open_files
from fcdd.data.decoding import Fit, check_masks, decode_files, refuse_shared
from fcdd.data.files import data_root
from fcdd.data.layout import NOMINAL, Layout, layout_images, layout_of
from fcdd.data.task import Images

log = logging.getLogger(__name__)

# Folders below the data root that class folders may lie in, the first that has it counts; and how
# the name of a tar begins.
_FOLDERS = {
    "mvtec": ("", "mvtec_anomaly_detection", "mvtec"),
    "mvtec_layout": ("", "mvtec_layout"),
}
_SOURCE = {
    "mvtec": "get it from https://www.mvtec.com/company/research/datasets/mvtec-ad",
    "mvtec_layout": "correct data.classes",
}
# Training and test images of each class: Bergmann et al. 2019, overview of the data.
OFFICIAL_COUNTS = {
    "bottle": (209, 83),
    "cable": (224, 150),
    "capsule": (219, 132),
    "carpet": (280, 117),
    "grid": (264, 78),
    "hazelnut": (391, 110),
    "leather": (245, 124),
    "metal_nut": (220, 115),
    "pill": (267, 167),
    "screw": (320, 160),
    "tile": (230, 117),
    "toothbrush": (60, 42),
    "transistor": (213, 100),
    "wood": (247, 79),
    "zipper": (240, 151),
}


def load(data: Data, root: Path | None, *, cache: Path | None = None) -> Images:
    """The class `data.class_name` ("mvtec" or "mvtec_layout") at `data.raw_size`, uint8 RGB.

    Images are squashed, bilinear with antialiasing; by nearest neighbour with
    `data.resizing="published"`. Masks keep their native size. Order: sorted folders, sorted names.
    Raises ValueError if the class is not there, has not the layout, an image or mask cannot be
    read, a mask does not fit its image, or, in the user's own data, a test image also stands in the
    training set.
    """
    files = find_class(data_root(root, data.name), data)
    layout = layout_of(files)
    if data.name == "mvtec":
        _compare_counts(data.class_name, layout)
    fit: Fit = "squash" if data.resizing == "mended" else "squash_nearest"
    train, test = (
        decode_files(
            files,
            names,
            masks=masks,
            size=data.raw_size,
            fit=fit,
            cache=cache,
            label=f"{data.name} {data.class_name} {part}",
        )
        for names, masks, part in (
            (layout.train, {}, "train"),
            (layout.test, layout.masks, "test"),
        )
    )
    if data.name != "mvtec":  # a published set is as it is; leaks.py counts what it shares
        refuse_shared(train, test, files)
    check_masks(test, [defect != NOMINAL for defect in layout.defects], layout.masks, files)
    return layout_images(
        train.array,
        test.array,
        masks=test.masks,
        defects=layout.defects,
        names=[f"{data.class_name}/{name}" for name in layout.test],
        normal_class=data.normal_class,
    )


def find_class(root: Path, data: Data) -> Files:
    """The folder of class `data.class_name` below `root`: a folder of class folders, or a tar.

    Raises ValueError if it is not there, naming the classes that are, or in two tars.
    """
    name = data.class_name
    if not name or name.startswith(".") or PurePosixPath(name).name != name or "\\" in name:
        raise ValueError(f"data.classes: {name!r} is not the name of a folder; correct it")
    there: set[str] = set()
    if root.is_dir():
        for folder in (root / f for f in _FOLDERS[data.name]):
            if (folder / name / "train").is_dir():
                return below(open_files(folder, only=(name,)), name)
            there.update(path.parent.name for path in folder.glob("*/train"))
    found = []
    for tar in _tars(root, data.name):
        classes = _classes(open_files(tar))
        there.update(classes)
        if name in classes:
            found.append(classes[name])
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"class {name!r} is in {found[0].place} and in {found[1].place}; keep one of them "
            "under the data root"
        )
    raise ValueError(
        f"class {name!r} of {data.name!r} is not under the data root {root}: expected "
        f"{name}/train/, in {', '.join(f or 'it' for f in _FOLDERS[data.name])} or a tar "
        f"{data.name}*.tar[.gz|.xz]; there are: {', '.join(sorted(there)) or 'no classes'}; "
        f"{_SOURCE[data.name]}, or point --data-root or FCDD_DATA to its folder"
    )


def _tars(root: Path, name: str) -> list[Path]:
    if root.is_file():
        return [root]
    places = (root, *(root / folder for folder in _FOLDERS[name] if folder))
    tars = (path for place in places for path in place.glob(f"{name}*"))
    return sorted(path for path in tars if path.name.endswith(TAR_SUFFIXES) and path.is_file())


def _classes(files: Files) -> dict[str, Files]:
    """The class folders of a tar by name: at its top, or below a folder at its top."""
    found = {}
    for name in files.sizes:
        parts = PurePosixPath(name).parts
        for depth in (0, 1):
            if len(parts) > depth + 2 and parts[depth + 1] == "train" and parts[depth] not in found:
                found[parts[depth]] = below(files, "/".join(parts[: depth + 1]))
    return found


def _compare_counts(name: str, layout: Layout) -> None:
    counts = len(layout.train), len(layout.test)
    if counts != OFFICIAL_COUNTS[name]:
        log.warning(
            "class %r has %d training and %d test images; MVTec-AD has %d and %d: the numbers are "
            "not comparable with published ones",
            *(name, *counts, *OFFICIAL_COUNTS[name]),
        )
