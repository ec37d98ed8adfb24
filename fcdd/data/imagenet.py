"""ImageNet-30: 30 classes of ImageNet-1k, and where the files of ImageNet lie (section 4.4).

Layout below the data root, as torchvision's: `imagenet/{train,val}/<wnid>/*`. The archives of
ILSVRC 2012 in `imagenet/` are read as they are, without unpacking.
"""

import io
import logging
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

import numpy as np

from fcdd.catalog import CLASS_NAMES
from fcdd.config import Data
from fcdd.data.files import data_root, fingerprint
from fcdd.data.listed_images import ListedFit, decode_listing
from fcdd.data.listing import Listing
from fcdd.data.ragged import Ragged
from fcdd.data.scanning import scan_classes, scan_tar, scan_tar_of_tars
from fcdd.data.synsets import IMAGENET_1K, IMAGENET_30
from fcdd.data.task import Images

log = logging.getLogger(__name__)

Split = Literal["train", "val"]

ARCHIVES: Mapping[Split, str] = {
    "train": "ILSVRC2012_img_train.tar",
    "val": "ILSVRC2012_img_val.tar",
}
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
_VAL_IMAGES = 50  # of every class; Russakovsky et al. 2015
_CONTENTS = (tarfile.TarError, OSError, EOFError, KeyError, ValueError, IndexError)

# One array for the test images of all 30 classes, as long as something holds it.
_tests: WeakValueDictionary[str, np.ndarray] = WeakValueDictionary()


def load(data: Data, root: Path | None, *, cache: Path | None = None) -> Images:
    """ImageNet-30 with the training images of `data.class_name` and the test images of all classes.

    "aug1": training images `Ragged`, their shorter side resized to that of `data.raw_size`; test
    images the centre of the same at `data.raw_size`. "none": all squashed to `data.shape`. Bilinear
    and antialiased (Pillow). Raises ValueError if files are missing or cannot be read.
    """
    root = data_root(root, data.name)
    wnid = IMAGENET_30[data.normal_class]
    squash = data.preprocessing == "none"
    size = data.shape[1:] if squash else data.raw_size
    fits: tuple[ListedFit, ListedFit] = ("squash", "squash") if squash else ("cover", "centre")
    train_files = _of_classes(split_files(root, "train", only=[wnid]), [wnid])
    test_files = _of_classes(split_files(root, "val", only=IMAGENET_30), IMAGENET_30)
    label = f"imagenet30 {data.class_name} train"
    train = decode_listing(train_files, size=size, fit=fits[0], cache=cache, label=label)
    name = f"{root.resolve()} {test_files.fingerprint()} {size} {fits[1]}"
    test = _tests.get(name)
    if test is None:
        decoded = decode_listing(
            test_files, size=size, fit=fits[1], cache=cache, label="imagenet30 test"
        )
        assert isinstance(decoded, np.ndarray)
        test = _tests.setdefault(name, decoded)
    train_classes = np.full(len(train), data.normal_class, np.int64)
    groups = [test_files.group(index) for index in range(len(test_files))]
    test_classes = np.array([IMAGENET_30.index(group) for group in groups], np.int64)
    arrays = (train.pixels, train.sizes) if isinstance(train, Ragged) else (train,)
    return Images(
        train,
        train_classes,
        test,
        test_classes,
        fingerprint=fingerprint(*map(np.asarray, arrays), train_classes, test, test_classes),
        test_files=tuple(
            f"imagenet/val/{test_files.name(index)}" for index in range(len(test_files))
        ),
    )


def split_files(
    root: Path, split: Split, *, only: Collection[str] | None = None, cache: Path | None = None
) -> Listing:
    """The images of a split of ImageNet-1k as `<wnid>/<name>`, of the classes `only` or of all.

    From the folder `imagenet/<split>` below `root`, else from the archive, else ValueError.
    """
    base = root / "imagenet"
    folder, archive = base / split, base / ARCHIVES[split]
    if folder.is_dir():
        try:
            return scan_classes(folder, only=only, cache=cache)
        except ValueError as error:
            raise ValueError(
                f"{error}: ImageNet lies in one folder per class, {split}/n01440764/ and so on; "
                f"torchvision.datasets.ImageNet({str(base)!r}, {split!r}) unpacks {archive.name} "
                "so"
            ) from None
    if archive.is_file() and split == "train":
        return scan_tar_of_tars(archive, IMAGENET_1K if only is None else only)
    if archive.is_file():
        wanted = _val_classes(base / DEVKIT)
        return scan_tar(
            archive, classes={n: c for n, c in wanted.items() if only is None or c in only}
        )
    raise ValueError(
        f"ImageNet's {split!r} split is not under the data root {root}: expected "
        f"imagenet/{split}/<wnid>/ or imagenet/{archive.name}"
        f"{f' with imagenet/{DEVKIT}' if split == 'val' else ''}; get it from "
        "https://image-net.org, or point --data-root or FCDD_DATA to its folder"
    )


def _of_classes(files: Listing, wnids: Collection[str]) -> Listing:
    """`files`, checked to have images of all `wnids`."""
    present, counts = np.unique(files.group_numbers, return_counts=True)
    found = {files.groups[group]: int(n) for group, n in zip(present, counts, strict=True)}
    if lacking := [wnid for wnid in wnids if wnid not in found]:
        names = dict(zip(IMAGENET_30, CLASS_NAMES["imagenet30"], strict=True))
        raise ValueError(
            f"no images of {', '.join(f'{wnid} ({names[wnid]})' for wnid in lacking)} in "
            f"{Path(files.sources[0]).parent if files.sources else 'ImageNet'}: the split is not "
            "complete; unpack it again (links are not followed)"
        )
    others = {wnid: n for wnid, n in found.items() if n != _VAL_IMAGES}
    if len(wnids) > 1 and others:
        log.warning(
            "%d of %d classes have another number of validation images than %d, such as %s with "
            "%d: numbers are not comparable with published ones",
            *(len(others), len(found), _VAL_IMAGES, *next(iter(others.items()))),
        )
    return files


def _val_classes(devkit: Path) -> dict[str, str]:
    """File name -> wnid of the 50,000 validation images, from the devkit's archive.

    Raises ValueError if it is not there or not as published.
    """
    from scipy.io import loadmat

    folder = "ILSVRC2012_devkit_t12/data"
    try:
        with tarfile.open(devkit, "r:gz") as archive:
            truth, meta = (
                _member(archive, f"{folder}/{name}")
                for name in ("ILSVRC2012_validation_ground_truth.txt", "meta.mat")
            )
        synsets = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        wnids = {
            int(synset["ILSVRC2012_ID"]): str(synset["WNID"])
            for synset in synsets
            if not synset["num_children"]
        }
        classes = [wnids[int(number)] for number in truth.split()]
    except _CONTENTS as error:
        raise ValueError(
            f"{devkit}, which tells the classes of {ARCHIVES['val']}, cannot be used ({error}); "
            "get it from https://image-net.org, or unpack with torchvision.datasets.ImageNet"
        ) from None
    return {f"ILSVRC2012_val_{i:08}.JPEG": wnid for i, wnid in enumerate(classes, 1)}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is no file")
    return stream.read()
