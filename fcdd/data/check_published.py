"""What may be wrong with the files of published data sets in a data root."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcdd.catalog import CLASS_NAMES
from fcdd.data import cifar, fmnist
from fcdd.data.check_findings import Checked, Notes
from fcdd.data.check_images import digest_of
from fcdd.data.files import idx_files
from fcdd.data.outliers import EMNIST_FILE, MNIST_FILE
from fcdd.data.task import Images


@dataclass(frozen=True)
class Published:
    """A data set: the `tops` (folders or files below a data root) that show it, the settings that
    name it, and its reader; None where a run checks the files itself when it reads them."""

    tops: tuple[str, ...]
    settings: tuple[str, ...]
    read: Callable[[Path], Images | np.ndarray] | None


def _pool_reader(name: str, file: str) -> Callable[[Path], np.ndarray]:
    return lambda root: idx_files(root, name, [file])[0]


PUBLISHED: Mapping[str, Published] = {
    "fmnist": Published(("FashionMNIST",), ("data.name=fmnist",), fmnist.load),
    "mnist": Published(("MNIST",), ("outliers.source=mnist",), _pool_reader("mnist", MNIST_FILE)),
    "emnist": Published(
        ("EMNIST",), ("outliers.source=emnist",), _pool_reader("emnist", EMNIST_FILE)
    ),
    "cifar10": Published(
        ("cifar-10-batches-py", "cifar-10-python.tar.gz"), ("data.name=cifar10",), cifar.load
    ),
    "cifar100": Published(
        ("cifar-100-python", "cifar-100-python.tar.gz"),
        ("outliers.source=cifar100",),
        cifar.load_cifar100,
    ),
    "imagenet30": Published(("imagenet",), ("data.name=imagenet30",), None),
    "imagenet22k": Published(("imagenet22k",), ("outliers.source=imagenet22k",), None),
    "pascal_voc": Published(
        ("VOCdevkit", "pascal_voc", "VOCtrainval_06-Nov-2007.tar"), ("data.name=pascal_voc",), None
    ),
}


def check_published(root: Path, name: str) -> Checked:
    """What is wrong with the published data set `name` below `root`.

    Files are read and compared with their checksums and headers. Test images that also stand in the
    training set belong to the published data set: they are harmless, and told with their number.
    """
    published, notes = PUBLISHED[name], Notes()
    classes = next((names for data, names in CLASS_NAMES.items() if data == name), ())
    place = next(top for top in published.tops if (root / top).exists())
    if published.read is None:
        remedy = "a run reads and checks its files when it starts"
        notes.add(place, "large data set, not looked into", "harmless", remedy)
        return Checked(name, place, classes, 0, tuple(notes.findings), published.settings)
    try:
        images = published.read(root)
    except ValueError as error:
        notes.add(place, "damaged or incomplete data set", "refused", "see the message", str(error))
        return Checked(name, place, classes, 0, tuple(notes.findings), published.settings)
    findings, settings = notes.findings, published.settings
    if isinstance(images, np.ndarray):
        return Checked(name, place, classes, len(images), tuple(findings), settings)
    _note_copies(images, place, notes)
    count = len(images.train) + len(images.test)
    tests = {_digest(image): f"test image {i} of {name}" for i, image in enumerate(images.test)}
    return Checked(name, place, classes, count, tuple(findings), settings, tests)


def _note_copies(images: Images, place: str, notes: Notes) -> None:
    trained = {image.tobytes() for image in np.asarray(images.train)}
    copies = [i for i, image in enumerate(images.test) if image.tobytes() in trained]
    if copies:
        shown = ", ".join([*map(str, copies[:5]), *(["..."] if len(copies) > 5 else [])])
        detail = f"{len(copies)} of {len(images.test)}: numbers {shown}"
        remedy = "they are part of the published data set"
        notes.add(place, "test images that are also training images", "harmless", remedy, detail)


def _digest(image: np.ndarray) -> bytes:
    """The digest of uint8 [c, h, w] as of an RGB picture."""
    return digest_of(np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0))
