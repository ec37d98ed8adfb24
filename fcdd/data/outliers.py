"""Pools of outlier-exposure images (docs/method.md, section 5)."""

from pathlib import Path
from typing import assert_never

import numpy as np
from PIL import Image

from fcdd.catalog import DataName, PoolName, Protocol
from fcdd.config import Run
from fcdd.data import cifar
from fcdd.data.files import data_root, fingerprint, idx_files
from fcdd.data.folder_pool import load_folder
from fcdd.data.imagenet import split_files
from fcdd.data.listing import Listing
from fcdd.data.load import fetch
from fcdd.data.scanning import scan_classes
from fcdd.data.streamed import Streamed
from fcdd.data.synsets import IMAGENET_1K, IMAGENET_30, LIKE_PASCAL_VOC
from fcdd.data.task import Pool
from fcdd.data.worker import PoolFit, Shape

EMNIST_FILE = "EMNIST/raw/emnist-letters-train-images-idx3-ubyte"
MNIST_FILE = "MNIST/raw/train-images-idx3-ubyte"
# Below the data root; the first that is there. The archive of 2011 unpacks to the first.
IMAGENET22K_FOLDERS = ("imagenet22k/fall11_whole_extracted", "imagenet22k")
_NUM_CROPS = 4000  # ours: two thirds of a Fashion-MNIST class
_CROP_PX = (32, 128)  # ours: smallest and largest side of a crop


def pool_name(run: Run) -> str:
    """Names the pool that `run` needs: runs of one name share it. "none" without a pool."""
    if run.outliers.source == "none":
        return "none"
    (c, _, _), (h, w) = run.data.shape, run.data.raw_size
    name = f"{run.outliers.source} {c}x{h}x{w}"
    if run.outliers.source not in ("imagenet1k", "imagenet22k"):
        return name
    limited = " limited" if run.outliers.limit is not None else ""
    return f"{name} for {run.data.name} {run.outliers.exclusions}{limited}"


def load_pool(
    source: PoolName,
    shape: Shape,
    *,
    root: Path | None,
    pool: Path | None,
    download: bool = False,
    cache: Path | None = None,
    data: DataName | None = None,
    exclusions: Protocol = "mended",
    limited: bool = False,
    workers: int = 2,
) -> Pool | None:
    """The pool `source` as uint8 [n, c, h, w] with (c, h, w) = `shape`; None for "none".

    Data sets are read below `root` (fetched first with `download`), "folder" is read from `pool`, a
    folder or tar of images. The ImageNet pools, and folders above 4 GiB of pixels, are `Streamed`
    by `workers` processes; what they exclude depends on `data`, `exclusions` and whether the run
    has a limit (docs/method.md section 9). ImageNet-1k is squashed; images of ImageNet-22k cover
    the size, and the rest of their longer side is cut off.

    Raises ValueError if what is needed is not given, missing or damaged.
    """
    if download and source in ("cifar100", "emnist", "mnist"):
        fetch(source, root)
    match source:
        case "none":
            return None
        case "cifar100":
            return _of_images(cifar.load_cifar100(root), shape)
        case "emnist":
            (letters,) = idx_files(root, "emnist", [EMNIST_FILE])
            return _of_images(letters[:, None].transpose(0, 1, 3, 2), shape)  # stored sideways
        case "mnist":
            (digits,) = idx_files(root, "mnist", [MNIST_FILE])
            return _of_images(digits[:, None], shape)
        case "photographs":
            return _photographs(shape)
        case "folder":
            return load_folder(pool, shape, workers=workers)
        case "imagenet1k":
            left_out = excluded_1k(data, exclusions, limited=limited)
            files = split_files(data_root(root, source), "val", cache=cache)
            return _streamed(files, left_out, shape, "squash", workers)
        case "imagenet22k":
            left_out = excluded_22k(data, exclusions)
            files = _imagenet22k(data_root(root, source), cache)
            return _streamed(files, left_out, shape, "crop", workers)
        case _:
            assert_never(source)


def excluded_1k(data: DataName | None, exclusions: Protocol, *, limited: bool) -> tuple[str, ...]:
    """The classes (wnids) that the ImageNet-1k pool of `data` leaves out.

    Pascal VOC: those of Liznerski et al. 2021, App. D, that look like its own; "published" loses
    them with a limit, as the published code does. ImageNet-30: its 30 classes, with "published"
    none. Other data: none.
    """
    if data == "pascal_voc" and not (exclusions == "published" and limited):
        return LIKE_PASCAL_VOC
    return IMAGENET_30 if data == "imagenet30" and exclusions == "mended" else ()


def excluded_22k(data: DataName | None, exclusions: Protocol) -> tuple[str, ...]:
    """The classes (wnids) that the ImageNet-22k pool of `data` leaves out: all of ImageNet-1k, with
    "published" only those of ImageNet-30. Raises ValueError for Pascal VOC with "mended"."""
    if exclusions == "published":
        return IMAGENET_30
    if data == "pascal_voc":
        raise ValueError(
            "pool 'imagenet22k' has many classes of horses that no rule leaves out; use "
            "outliers.source='imagenet1k', or outliers.exclusions='published' to train on them"
        )
    return IMAGENET_1K


def _imagenet22k(root: Path, cache: Path | None) -> Listing:
    folder = next((root / f for f in IMAGENET22K_FOLDERS if (root / f).is_dir()), None)
    if folder is None:
        raise ValueError(
            f"'imagenet22k' is not under the data root {root}: expected "
            f"{' or '.join(f'{name}/<wnid>/' for name in IMAGENET22K_FOLDERS)}; get it from "
            "https://image-net.org, or point --data-root or FCDD_DATA to its folder"
        )
    return scan_classes(folder, cache=cache)


def _streamed(
    files: Listing, left_out: tuple[str, ...], shape: Shape, fit: PoolFit, workers: int
) -> Pool:
    kept = files.keep(lambda group: group not in left_out)
    if len(kept) == 0:
        raise ValueError(
            f"none of the {len(files)} images of the pool is of a class that may be used; complete "
            "the files, or choose another outliers.source"
        )
    images = Streamed(kept, shape, fit, workers)
    return Pool(images=images, fingerprint=kept.fingerprint())


def _of_images(images: np.ndarray, shape: Shape) -> Pool:
    """A pool of uint8 images [n, 1 or 3, any h, any w]."""
    pictures = (Image.fromarray(i[0] if len(i) == 1 else i.transpose(1, 2, 0)) for i in images)
    fitted = np.stack([_fit(picture, shape) for picture in pictures])
    return Pool(images=fitted, fingerprint=fingerprint(fitted))


def _fit(picture: Image.Image, shape: Shape) -> np.ndarray:
    """`picture` (mode L or RGB) as uint8 [c, h, w]: squashed to (h, w), then gray or colour."""
    c, h, w = shape
    picture = picture.resize((w, h), Image.Resampling.BILINEAR)
    array = np.asarray(_converted(picture, "L" if c == 1 else "RGB"))  # h w or h w 3
    return array[None] if c == 1 else array.transpose(2, 0, 1)


def _converted(picture: Image.Image, mode: str) -> Image.Image:
    """`picture` in `mode`; Pillow's own convert copies even where nothing is to be done."""
    return picture if picture.mode == mode else picture.convert(mode)


def _photographs(shape: Shape) -> Pool:
    """Square crops of random size and place of scikit-learn's two photographs, always the same."""
    from sklearn.datasets import load_sample_images  # takes a second to import

    photographs = [Image.fromarray(array) for array in load_sample_images().images]
    rng = np.random.default_rng(0)  # fixed: the pool is data, the run's seed only draws from it
    crops = []
    for _ in range(_NUM_CROPS):
        photograph = photographs[rng.integers(len(photographs))]
        side = int(rng.integers(_CROP_PX[0], _CROP_PX[1], endpoint=True))
        left = int(rng.integers(photograph.width - side, endpoint=True))
        top = int(rng.integers(photograph.height - side, endpoint=True))
        crops.append(_fit(photograph.crop((left, top, left + side, top + side)), shape))
    images = np.stack(crops)
    return Pool(images=images, fingerprint=fingerprint(images))
