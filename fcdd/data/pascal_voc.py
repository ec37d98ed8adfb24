"""Pascal VOC 2007, horses against all else (section 4.6): the Clever-Hans experiment of the paper.

Everingham et al.: The Pascal Visual Object Classes Challenge. IJCV 88, 2010.
"""

from collections.abc import Sequence
from pathlib import Path
from xml.parsers import expat

import numpy as np

from fcdd.config import Data
from fcdd.data.archive import Files, below, open_files, read
from fcdd.data.decoding import decode_files
from fcdd.data.files import data_root, fingerprint
from fcdd.data.task import Images

_FOLDER = "VOCdevkit/VOC2007"
_TAR = "VOCtrainval_06-Nov-2007.tar"
_PLACES = ("", "pascal_voc")  # below the data root; the first that has one counts
_ANNOTATED = ("annotation", "object", "name")  # not the names of an object's parts


def load(data: Data, root: Path | None, *, cache: Path | None = None) -> Images:
    """VOC 2007 squashed to `data.raw_size`, uint8 RGB: the training images with a horse, and all
    validation images. Bilinear and antialiased (Pillow).

    Class 0 has a horse object, difficult and truncated ones included, class 1 has none;
    `test_anomalous` is True where there is none. Read from the folder VOCdevkit/VOC2007 or the tar
    that holds it. Raises ValueError if files are missing, or not as published.
    """
    files = _find(data_root(root, data.name))
    train_ids = [i for i, horse in _horses(files, "train") if horse]
    test = _horses(files, "val")
    if not train_ids or not any(horse for _, horse in test):
        raise ValueError(f"{files.place}: a split without a horse; fetch it again, it is damaged")
    names = [[f"JPEGImages/{i}.jpg" for i in ids] for ids in (train_ids, [i for i, _ in test])]
    train_images, test_images = (
        decode_files(
            files,
            _present(files, part),
            masks={},
            size=data.raw_size,
            fit="squash",
            cache=cache,
            label=f"pascal_voc {label}",
        ).images
        for part, label in zip(names, ("train", "val"), strict=True)
    )
    assert isinstance(train_images, np.ndarray) and isinstance(test_images, np.ndarray)
    anomalous = np.array([not horse for _, horse in test])
    train_classes = np.zeros(len(train_images), np.int64)
    return Images(
        train_images,
        train_classes,
        test_images,
        anomalous.astype(np.int64),
        fingerprint=fingerprint(train_images, test_images, anomalous),
        train_anomalous=np.zeros(len(train_images), bool),
        test_anomalous=anomalous,
        test_files=tuple(f"{_FOLDER}/{name}" for name in names[1]),
    )


def _find(root: Path) -> Files:
    for place in (root / place for place in _PLACES):
        if (place / _FOLDER).is_dir():
            return open_files(place / _FOLDER)
        if (place / _TAR).is_file():
            return below(open_files(place / _TAR), _FOLDER)
    raise ValueError(
        f"'pascal_voc' is not under the data root {root}: expected {_FOLDER}/ or {_TAR}, there or "
        f"in pascal_voc/; get the tar from "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2007/, or point --data-root or FCDD_DATA to it"
    )


def _horses(files: Files, split: str) -> list[tuple[str, bool]]:
    """The images of a split in its order, and whether each has a horse."""
    listed = f"ImageSets/Main/{split}.txt"
    contents = dict(read(files, _present(files, [listed])))
    ids = contents[listed].decode("ascii", "replace").split()
    notes = {f"Annotations/{i}.xml": i for i in ids}
    has_horse = {
        notes[name]: "horse" in object_names(content, name=files.where(name))
        for name, content in read(files, _present(files, list(notes)))
    }
    return [(i, has_horse[i]) for i in ids]


def _present(files: Files, names: Sequence[str]) -> Sequence[str]:
    """`names`. Raises ValueError if one of them is not among the files."""
    if lacking := [name for name in names if name not in files.sizes]:
        shown = ", ".join(files.where(name) for name in lacking[:3])
        raise ValueError(f"{len(lacking)} files of VOC 2007 are missing: {shown}; unpack it again")
    return names


def object_names(content: bytes, *, name: str = "annotation") -> set[str]:
    """The names of the objects in a VOC annotation.

    Raises ValueError, naming it, for what is not XML and for a document type: entities could expand
    without end or read other files, and no annotation needs one.
    """
    path: list[str] = []
    texts: list[str] = []
    found: set[str] = set()

    def start(tag: str, _: object) -> None:
        path.append(tag)
        texts.clear()

    def end(_: str) -> None:
        if tuple(path) == _ANNOTATED:
            found.add("".join(texts).strip())
        path.pop()

    def refuse(*_: object) -> None:
        raise ValueError(f"{name} declares a document type, which is refused; fetch it again")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = texts.append
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"{name} is no annotation ({error}); fetch it again") from None
    return found
