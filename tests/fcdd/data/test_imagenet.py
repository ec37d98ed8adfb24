"""ImageNet-30 in torchvision's layout and in the archives of ILSVRC 2012, on small images."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcdd.catalog import CLASS_NAMES, Preprocessing
from fcdd.config import Data
from fcdd.data.imagenet import split_files
from fcdd.data.load import images_name, load
from fcdd.data.ragged import Ragged
from fcdd.data.synsets import IMAGENET_1K, IMAGENET_30, LIKE_PASCAL_VOC

ACORN, AIRLINER = "n12267677", "n02690373"


def data(normal_class: int = 0, preprocessing: Preprocessing = "aug1") -> Data:
    return Data(
        name="imagenet30", normal_class=normal_class, preprocessing=preprocessing, size=(28, 28)
    )


def picture(seed: int, *, width: int = 90, height: int = 60) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 3, width // 3, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(seed: int, *, width: int = 90, height: int = 60) -> bytes:
    stream = io.BytesIO()
    picture(seed, width=width, height=height).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def pixels(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


TRAIN = {
    f"{ACORN}/{ACORN}_2.JPEG": jpeg(1),
    f"{ACORN}/{ACORN}_10.JPEG": jpeg(2, width=60, height=99),
    f"{AIRLINER}/{AIRLINER}_1.JPEG": jpeg(3),
}
# One validation image of every class; the numbers do not follow the classes.
VAL = {
    f"{wnid}/ILSVRC2012_val_{(7 * i) % 30 + 1:08}.JPEG": jpeg(100 + i)
    for i, wnid in enumerate(IMAGENET_30)
}


def write_folders(root: Path, *, val: dict[str, bytes] = VAL) -> Path:
    for split, files in (("train", TRAIN), ("val", val)):
        for name, content in files.items():
            path = root / "imagenet" / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return root


def tar_bytes(files: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def meta_mat() -> bytes:
    """The synsets of a devkit: numbers that do not follow the wnids, and one inner synset."""
    from scipy.io import savemat

    kinds = [("ILSVRC2012_ID", "f8"), ("WNID", "O"), ("words", "O"), ("num_children", "f8")]
    rows = [(i + 1, wnid, "words", 0) for i, wnid in enumerate(IMAGENET_30)]
    synsets = np.array([*rows, (1001, "n00001740", "entity", 3)], dtype=kinds)
    stream = io.BytesIO()
    savemat(stream, {"synsets": synsets[:, None]})
    return stream.getvalue()


def write_archives(root: Path) -> Path:
    base = root / "imagenet"
    base.mkdir(parents=True)
    inner = {
        f"{wnid}.tar": tar_bytes(
            {n.partition("/")[2]: c for n, c in TRAIN.items() if n.startswith(wnid)}
        )
        for wnid in (AIRLINER, ACORN)
    }
    (base / "ILSVRC2012_img_train.tar").write_bytes(tar_bytes(inner))
    flat = {name.partition("/")[2]: content for name, content in VAL.items()}
    (base / "ILSVRC2012_img_val.tar").write_bytes(tar_bytes(flat))
    classes = {name.partition("/")[2]: IMAGENET_30.index(name[:9]) + 1 for name in VAL}
    truth = "".join(f"{classes[name]}\n" for name in sorted(classes))
    folder = "ILSVRC2012_devkit_t12/data"
    devkit = {
        f"{folder}/ILSVRC2012_validation_ground_truth.txt": truth.encode(),
        f"{folder}/meta.mat": meta_mat(),
    }
    (base / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar_bytes(devkit, "w:gz"))
    return root


# Class numbers of ImageNet-1k of the 30 classes, in their order (the published class list).
NUMBERS = (
    *(988, 404, 407, 50, 420, 425, 445, 530, 319, 543, 561, 572, 579, 934, 604),
    *(640, 668, 677, 704, 721, 763, 528, 780, 802, 805, 6, 949, 847, 859, 980),
)


def test_class_ids_are_those_of_the_published_class_numbers():
    assert len(IMAGENET_1K) == len(set(IMAGENET_1K)) == 1000
    assert list(IMAGENET_1K) == sorted(IMAGENET_1K)
    assert tuple(IMAGENET_1K[number] for number in NUMBERS) == IMAGENET_30
    assert len(IMAGENET_30) == len(CLASS_NAMES["imagenet30"])
    assert len(LIKE_PASCAL_VOC) == 51
    assert set(LIKE_PASCAL_VOC) < set(IMAGENET_1K)


def test_training_images_are_the_nominal_class_with_their_short_side_resized(tmp_path):
    images = load(data(), write_folders(tmp_path))
    assert isinstance(images.train, Ragged)
    assert images.train_classes.tolist() == [0, 0]
    for index, name in enumerate(sorted(n for n in TRAIN if n.startswith(ACORN))):
        full = pixels(TRAIN[name])
        side, short = 32, min(full.size)  # 28 * 256 / 224
        size = (full.width * side // short, full.height * side // short)
        expected = full.resize(size, Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(
            np.asarray(images.train[index]), np.asarray(expected).transpose(2, 0, 1)
        )


def test_test_images_are_the_centres_of_all_30_classes(tmp_path):
    images = load(data(1), write_folders(tmp_path))
    assert images.test.shape == (30, 3, 32, 32)
    assert images.train_classes.tolist() == [1]
    assert images.test_files is not None
    for image, number, file in zip(
        images.test, images.test_classes, images.test_files, strict=True
    ):
        name = file.removeprefix("imagenet/val/")
        assert name.startswith(IMAGENET_30[number])
        whole = pixels(VAL[name]).resize((48, 32), Image.Resampling.BILINEAR)
        expected = np.asarray(whole)[:, 8:40].transpose(2, 0, 1)
        np.testing.assert_array_equal(image, expected)


def test_preprocessing_none_squashes_to_the_network_input(tmp_path):
    images = load(data(0, "none"), write_folders(tmp_path))
    assert isinstance(images.train, np.ndarray)
    assert images.train.shape == (2, 3, 28, 28)
    assert images.test.shape == (30, 3, 28, 28)
    first = pixels(TRAIN[f"{ACORN}/{ACORN}_10.JPEG"]).resize((28, 28), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images.train[0], np.asarray(first).transpose(2, 0, 1))
    assert images_name(data(0, "none")) != images_name(data(0, "aug1"))


def test_archives_give_the_same_images_as_folders(tmp_path):
    folders = load(data(), write_folders(tmp_path / "folders"))
    archives = load(data(), write_archives(tmp_path / "archives"))
    assert archives.fingerprint == folders.fingerprint
    assert archives.test_files == folders.test_files
    assert archives.test_classes.tolist() == folders.test_classes.tolist()


def test_all_classes_share_one_array_of_test_images(tmp_path):
    root = write_folders(tmp_path)
    one, two = load(data(0), root), load(data(1), root)
    assert one.test is two.test
    assert one.fingerprint != two.fingerprint


def test_cache_gives_the_same_images_and_follows_changed_files(tmp_path):
    root, cache = write_folders(tmp_path / "data"), tmp_path / "cache"
    plain = load(data(), root).fingerprint
    assert load(data(), root, cache=cache).fingerprint == plain
    assert load(data(), root, cache=cache).fingerprint == plain
    changed = root / "imagenet" / "train" / ACORN / f"{ACORN}_2.JPEG"
    changed.write_bytes(jpeg(77))
    fresh = load(data(), root).fingerprint
    assert fresh != plain
    assert load(data(), root, cache=cache).fingerprint == fresh


def test_missing_class_names_it(tmp_path):
    val = {name: content for name, content in VAL.items() if not name.startswith("n04254680")}
    with pytest.raises(ValueError, match=r"no images of n04254680 \(soccer ball\) in .*imagenet"):
        load(data(), write_folders(tmp_path, val=val))


def test_validation_images_without_class_folders_name_the_remedy(tmp_path):
    root = write_folders(tmp_path, val={"ILSVRC2012_val_00000001.JPEG": jpeg(1)})
    with pytest.raises(ValueError, match=r"one folder per class.*datasets\.ImageNet\(.*'val'"):
        load(data(), root)


def test_missing_split_lists_what_is_expected(tmp_path):
    with pytest.raises(ValueError, match=r"'train' split is not under .*imagenet/train/<wnid>/ or"):
        load(data(), tmp_path)
    with pytest.raises(ValueError, match=r"img_val\.tar with imagenet/ILSVRC2012_devkit_t12"):
        split_files(tmp_path, "val")
    with pytest.raises(ValueError, match="give --data-root or set FCDD_DATA"):
        load(data(), None)


def test_archive_without_devkit_names_it(tmp_path):
    root = write_archives(tmp_path)
    (root / "imagenet" / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    with pytest.raises(ValueError, match=r"devkit_t12\.tar\.gz, which tells the classes of"):
        load(data(), root)


def test_broken_image_is_named(tmp_path):
    root = write_folders(tmp_path)
    (root / "imagenet" / "train" / ACORN / f"{ACORN}_2.JPEG").write_bytes(jpeg(1)[:200])
    with pytest.raises(ValueError, match=rf"{ACORN}_2\.JPEG cannot be read as an image"):
        load(data(), root)


def test_incomplete_validation_split_is_logged(tmp_path, caplog):
    load(data(), write_folders(tmp_path))
    assert "30 of 30 classes have another number of validation images than 50" in caplog.text
