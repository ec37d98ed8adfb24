"""Data sets by name; digits, Fashion-MNIST and CIFAR-10 read from their files."""

import gzip
import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcdd.catalog import CLASS_NAMES, FIXED_SHAPES, OWN_CLASSES, DataName
from fcdd.config import Data
from fcdd.data import cifar
from fcdd.data.digits import split
from fcdd.data.load import fetch, images_name, load
from fcdd.data.ragged import Ragged


def data(name: DataName) -> Data:
    return Data(name=name, normal_class=0, preprocessing="none")


def array(images: np.ndarray | Ragged) -> np.ndarray:
    assert isinstance(images, np.ndarray)
    return images


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + b"".join(s.to_bytes(4, "big") for s in array.shape) + array.tobytes()


def write_fmnist(root: Path, *, labels: int = 6) -> np.ndarray:
    """Writes 6 train and 6 test images, half of the files gzipped; the train images [6, 28, 28]."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    for part, values in (("train", images), ("t10k", images[::-1])):
        packed = gzip.compress(idx_bytes(values))
        (raw / f"{part}-images-idx3-ubyte.gz").write_bytes(packed)
        classes = np.arange(labels, dtype=np.uint8)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(classes))
    return images


def write_cifar(folder: Path, names: dict[str, str], label_key: str) -> dict[str, str]:
    """Writes one batch of 2 images per name, the value of all pixels its number; the MD5s."""
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        data = np.full((2, 3072), number, np.uint8)
        data[:, :1024] = 200  # the red plane comes first
        content = pickle.dumps({"data": data, label_key: [number, 9]}, protocol=2)
        (folder / name).write_bytes(content)
    return {n: hashlib.md5((folder / n).read_bytes()).hexdigest() for n in names}


def test_digits_need_no_root_and_fill_the_range():
    images = load(data("digits"), None)
    assert array(images.train).shape[1:] == images.test.shape[1:] == FIXED_SHAPES["digits"]
    assert array(images.train).dtype == images.test.dtype == np.uint8
    assert (array(images.train).min(), array(images.train).max()) == (0, 255)


def test_digits_split_is_disjoint_stratified_and_complete():
    images = load(data("digits"), None)
    assert np.bincount(images.train_classes).tolist() == [
        *(119, 122, 118, 122, 121, 122, 121, 120, 116, 120)
    ]
    assert np.bincount(images.test_classes).tolist() == [*(59, 60, 59, 61, 60, 60, 60, 59, 58, 60)]
    assert not {i.tobytes() for i in array(images.train)} & {i.tobytes() for i in images.test}


def test_digits_test_set_is_every_third_image_of_each_class():
    classes = np.array([0, 0, 1, 0, 1, 0, 1, 0, 0, 1])
    assert np.flatnonzero(split(classes)).tolist() == [3, 6, 8]


def test_digits_fingerprint_is_the_same_at_every_load():
    assert (
        load(data("digits"), None).fingerprint == load(data("digits"), Path("nowhere")).fingerprint
    )


def test_fmnist_is_read_from_torchvisions_layout_on_a_read_only_root(tmp_path):
    train = write_fmnist(tmp_path)
    for path in [*tmp_path.rglob("*"), tmp_path]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        images = load(data("fmnist"), tmp_path)
    finally:
        for path in [tmp_path, *tmp_path.rglob("*")]:
            path.chmod(0o755)
    np.testing.assert_array_equal(images.train, train[:, None])
    np.testing.assert_array_equal(images.test, train[::-1, None])
    assert images.train_classes.tolist() == [0, 1, 2, 3, 4, 5]
    assert images.train_classes.dtype == np.int64


def test_fmnist_with_too_few_labels_is_refused(tmp_path):
    write_fmnist(tmp_path, labels=5)
    with pytest.raises(ValueError) as caught:
        load(data("fmnist"), tmp_path)
    assert str(caught.value) == (
        "fmnist train: images of shape (6, 1, 28, 28) and labels of shape (5,) do not belong "
        "together; delete both files and fetch them again with `fcdd run ... --download`"
    )


def test_missing_fmnist_lists_its_four_files(tmp_path):
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte") as caught:
        load(data("fmnist"), tmp_path)
    assert str(caught.value).count("FashionMNIST/raw/") == 4
    assert "`fcdd run ... --download`" in str(caught.value)


def test_cifar10_joins_its_batches_in_order(tmp_path, monkeypatch):
    md5s = write_cifar(tmp_path / "cifar-10-batches-py", cifar.TRAIN | cifar.TEST, "labels")
    monkeypatch.setattr(cifar, "TRAIN", {n: md5s[n] for n in cifar.TRAIN})
    monkeypatch.setattr(cifar, "TEST", {n: md5s[n] for n in cifar.TEST})
    images = load(data("cifar10"), tmp_path)
    assert array(images.train).shape == (10, 3, 32, 32)
    assert images.test.shape == (2, 3, 32, 32)
    assert array(images.train)[:, 1, 5, 5].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert (array(images.train)[:, 0] == 200).all()
    assert images.train_classes.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    assert images.test_classes.tolist() == [5, 9]


def test_cifar100_is_read_from_its_train_file(tmp_path, monkeypatch):
    md5s = write_cifar(tmp_path / "cifar-100-python", cifar.TRAIN_100, "fine_labels")
    monkeypatch.setattr(cifar, "TRAIN_100", md5s)
    images = cifar.load_cifar100(tmp_path)
    assert images.shape == (2, 3, 32, 32)
    assert images[:, :, 0, 0].tolist() == [[200, 0, 0]] * 2


def test_cifar10_of_another_content_is_refused(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py", cifar.TRAIN | cifar.TEST, "labels")
    with pytest.raises(ValueError, match="expected c99cafc152244af753f735de768cd75f: damaged"):
        load(data("cifar10"), tmp_path)


def test_missing_cifar10_names_archive_and_folder(tmp_path):
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz, or cifar-10-batches-py/data_"):
        load(data("cifar10"), tmp_path)


@pytest.mark.parametrize("name", ["fmnist", "cifar10"])
def test_data_set_without_a_root_names_option_and_variable(name):
    for download in (False, True):
        with pytest.raises(ValueError, match=f"{name}.*: give --data-root or set FCDD_DATA"):
            load(data(name), None, download=download)


def test_download_comes_before_reading(tmp_path, monkeypatch):
    class Datasets:
        @staticmethod
        def FashionMNIST(root, *, download):
            assert download
            write_fmnist(Path(root))

    class Torchvision:
        datasets = Datasets

    monkeypatch.setattr("fcdd.vision.torchvision", Torchvision)
    assert len(load(data("fmnist"), tmp_path, download=True).train) == 6


def test_failed_download_names_data_set_place_and_cause(tmp_path, monkeypatch):
    class Datasets:
        @staticmethod
        def MNIST(root, *, download):
            raise RuntimeError("no mirror answered")

    class Torchvision:
        datasets = Datasets

    monkeypatch.setattr("fcdd.vision.torchvision", Torchvision)
    with pytest.raises(ValueError, match=r"'mnist' could not be downloaded .*: no mirror answer"):
        fetch("mnist", tmp_path)


@pytest.mark.parametrize("name", ["digits", "fmnist", "cifar10"])
def test_one_set_serves_every_nominal_class_and_preprocessing(name):
    runs = [
        Data(name=name, normal_class=number, preprocessing=preprocessing)
        for number in (0, 9)
        for preprocessing in ("none", "lcn")
    ]
    assert {images_name(run) for run in runs} == {name}


@pytest.mark.parametrize("name", ["mvtec", "pascal_voc", "imagenet30", "mvtec_layout", "custom"])
def test_data_sets_of_files_without_a_root_name_option_and_variable(name):
    own: dict[str, Any] = {"classes": ("a", "b")} if name in OWN_CLASSES else {}
    own |= {"layout": "one_vs_rest"} if name == "custom" else {}
    run = Data(name=name, normal_class=0, preprocessing="none", **own)
    with pytest.raises(ValueError, match=f"{name}.*: give --data-root or set FCDD_DATA"):
        load(run, None)


@pytest.mark.skipif("FCDD_DATA" not in os.environ, reason="FCDD_DATA names no data root")
def test_real_fmnist_has_its_published_counts():
    images = load(data("fmnist"), Path(os.environ["FCDD_DATA"]))
    assert array(images.train).shape == (60000, 1, 28, 28)
    assert images.test.shape == (10000, 1, 28, 28)
    classes = len(CLASS_NAMES["fmnist"])
    assert np.bincount(images.train_classes).tolist() == [6000] * classes
    assert np.bincount(images.test_classes).tolist() == [1000] * classes
