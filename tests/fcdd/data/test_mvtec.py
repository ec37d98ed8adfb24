"""MVTec-AD and data in its layout, on small sets written here and on the real screws."""

import io
import logging
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from fcdd.config import Data
from fcdd.data.load import images_name, load
from fcdd.data.mvtec import OFFICIAL_COUNTS

SIZE = (20, 24)  # height and width of the images written here


def data(**changes) -> Data:
    fields = {"name": "mvtec", "normal_class": 9, "preprocessing": "lcnaug1"}
    return Data(**{**fields, "size": (14, 14), **changes})  # stored at 15 x 15


def own(*classes: str, normal_class: int = 0) -> Data:
    return data(name="mvtec_layout", classes=classes, normal_class=normal_class)


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)


def mask(*, size: tuple[int, int] = SIZE) -> np.ndarray:
    values = np.zeros(size, np.uint8)
    values[2:7, 3:9] = 255
    return values


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_class(folder: Path, *, nominal: str = "good", mask_name: str = "{}_mask.png") -> Path:
    """3 training images, 2 nominal test images, 2 cut and 1 burnt; number of each in its seed."""
    for number in range(3):
        save(picture(number), folder / f"train/{nominal}/{number:03}.png")
    for number in range(2):
        save(picture(10 + number), folder / f"test/{nominal}/{number:03}.png")
        save(picture(20 + number), folder / f"test/cut/{number:03}.png")
        save(mask(), folder / "ground_truth/cut" / mask_name.format(f"{number:03}"))
    save(picture(30), folder / "test/burnt/000.png")
    save(mask(), folder / "ground_truth/burnt" / mask_name.format("000"))
    return folder


def pack(folder: Path, tar: Path, *, below: str, mode: str = "w") -> Path:
    with tarfile.open(tar, mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        archive.add(folder, below)
    return tar


def test_images_classes_defects_and_masks_come_in_order_of_folders_and_names(tmp_path):
    write_class(tmp_path / "screw")
    images = load(data(), tmp_path)
    assert isinstance(images.train, np.ndarray)
    assert (images.train.shape, images.train.dtype) == ((3, 3, 15, 15), np.uint8)
    assert images.test.shape == (5, 3, 15, 15)
    assert images.test_defects == ("burnt", "cut", "cut", "good", "good")
    assert images.test_files == tuple(
        f"screw/test/{name}.png" for name in ("burnt/000", "cut/000", "cut/001", *GOOD)
    )
    assert images.test_anomalous is not None
    assert images.test_anomalous.tolist() == [True, True, True, False, False]
    assert images.train_classes.tolist() == [9] * 3
    assert images.test_classes.tolist() == [9] * 5
    assert images.train_anomalous is images.train_masks is None


GOOD = ("good/000", "good/001")


def test_masks_keep_their_native_size_and_nominal_ones_are_empty(tmp_path):
    write_class(tmp_path / "screw")
    masks = load(data(), tmp_path).test_masks
    assert masks is not None
    assert masks.sizes == (SIZE,) * 5
    for index in range(3):
        np.testing.assert_array_equal(masks[index], mask() > 0)
    assert masks.packed[3:] == (None, None)


def test_mended_images_are_resized_by_antialiased_bilinear(tmp_path):
    write_class(tmp_path / "screw")
    expected = Image.fromarray(picture(1)).resize((15, 15), Image.Resampling.BILINEAR)
    images = load(data(), tmp_path)
    np.testing.assert_array_equal(images.train[1], np.asarray(expected).transpose(2, 0, 1))


def test_published_images_are_resized_by_torchs_nearest(tmp_path):
    write_class(tmp_path / "screw")
    unit = torch.from_numpy(picture(1)).permute(2, 0, 1)[None].float()
    expected = F.interpolate(unit, size=(15, 15))[0].byte().numpy()
    images = load(data(resizing="published"), tmp_path)
    np.testing.assert_array_equal(images.train[1], expected)


@pytest.mark.parametrize("place", ["", "mvtec", "mvtec_anomaly_detection"])
def test_class_is_found_in_every_known_folder(tmp_path, place):
    write_class(tmp_path / place / "screw")
    assert len(load(data(), tmp_path).test) == 5


@pytest.mark.parametrize(
    ("name", "mode", "below"),
    [
        ("mvtec_screw.tar", "w", "screw"),
        ("mvtec_anomaly_detection.tar.xz", "w:xz", "screw"),
        ("mvtec.tar.gz", "w:gz", "mvtec_anomaly_detection/screw"),
        ("mvtec.tar", "w", "./screw"),
        ("mvtec/mvtec_all.tar.bz2", "w:bz2", "screw"),
    ],
)
def test_tar_gives_the_same_as_the_folder_and_is_not_unpacked(tmp_path, name, mode, below):
    folder = write_class(tmp_path / "folder" / "screw")
    (tmp_path / "root" / "mvtec").mkdir(parents=True)
    tar = pack(folder, tmp_path / "root" / name, below=below, mode=mode)
    found = load(data(), tmp_path / "root")
    expected = load(data(), tmp_path / "folder")
    np.testing.assert_array_equal(found.test, expected.test)
    assert found.fingerprint == expected.fingerprint
    assert found.test_files == expected.test_files
    assert {p for p in (tmp_path / "root").rglob("*") if p.is_file()} == {tar}


def test_root_may_be_the_tar_itself(tmp_path):
    folder = write_class(tmp_path / "folder" / "screw")
    tar = pack(folder, tmp_path / "any_name.tar", below="screw")
    assert load(data(), tar).fingerprint == load(data(), tmp_path / "folder").fingerprint


def test_missing_class_names_place_known_classes_and_source(tmp_path):
    write_class(tmp_path / "mvtec" / "grid")
    with pytest.raises(ValueError) as caught:
        load(data(), tmp_path)
    assert str(caught.value) == (
        f"class 'screw' of 'mvtec' is not under the data root {tmp_path}: expected screw/train/, "
        "in it, mvtec_anomaly_detection, mvtec or a tar mvtec*.tar[.gz|.xz]; there are: grid; get "
        "it from https://www.mvtec.com/company/research/datasets/mvtec-ad, or point --data-root "
        "or FCDD_DATA to its folder"
    )


def test_class_in_two_tars_is_refused(tmp_path):
    folder = write_class(tmp_path / "folder" / "screw")
    for name in ("mvtec_a.tar", "mvtec_b.tar"):
        pack(folder, tmp_path / name, below="screw")
    with pytest.raises(ValueError, match=r"'screw' is in .*mvtec_a\.tar and in .*mvtec_b\.tar; ke"):
        load(data(), tmp_path)


@pytest.mark.parametrize("name", ["../screw", "a/b", ".hidden", "", "..", "a\\b"])
def test_class_that_is_no_folder_name_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"data\.classes: .* is not the name of a folder"):
        load(own(name), tmp_path)


@pytest.mark.parametrize("nominal", ["good", "ok", "nominal", "normal"])
@pytest.mark.parametrize("mask_name", ["{}_mask.png", "{}.png", "{}_mask.bmp", "{}.TIF"])
def test_own_classes_may_use_other_names_for_nominal_folders_and_masks(
    tmp_path, nominal, mask_name
):
    write_class(tmp_path / "bolt", nominal=nominal, mask_name=mask_name)
    write_class(tmp_path / "nut")
    bolt = load(own("nut", "bolt", normal_class=1), tmp_path)
    nut = load(own("nut", "bolt"), tmp_path)
    assert bolt.test_classes.tolist() == [1] * 5
    assert sorted(bolt.test_defects or ()) == sorted(nut.test_defects or ())
    assert bolt.test_masks is not None
    assert sum(bits is not None for bits in bolt.test_masks.packed) == 3


def test_images_of_other_formats_and_hidden_files_are_read_and_passed_over(tmp_path):
    folder = write_class(tmp_path / "screw")
    save(picture(3), folder / "train/good/003.BMP")
    save(picture(4)[..., 0], folder / "train/good/004.png")
    (folder / "train/good/._000.png").write_bytes(b"resource fork")
    (folder / "train/good/Thumbs.db").write_bytes(b"thumbs")
    (folder / "license.txt").write_text("free")
    images = load(data(), tmp_path)
    assert isinstance(images.train, np.ndarray)
    assert len(images.train) == 5
    assert (images.train[4] == images.train[4, :1]).all()


def refused(tmp_path: Path, *texts: str) -> str:
    with pytest.raises(ValueError) as caught:
        load(data(), tmp_path)
    message = str(caught.value)
    for text in texts:
        assert text in message
    assert "\n" not in message
    return message


def test_defective_image_without_a_mask_is_named_with_the_place_of_its_mask(tmp_path):
    folder = write_class(tmp_path / "screw")
    (folder / "ground_truth/cut/001_mask.png").unlink()
    assert refused(tmp_path) == (
        f"{folder}/test/cut/001.png is defective and has no mask; put it to "
        "ground_truth/cut/001_mask.png (or 001.png, or another image suffix)"
    )


def test_two_masks_of_one_image_are_refused(tmp_path):
    folder = write_class(tmp_path / "screw")
    save(mask(), folder / "ground_truth/cut/001.png")
    refused(
        tmp_path, "test/cut/001.png has several masks: ground_truth/cut/001_mask.png, ground_tr"
    )


def test_mask_of_another_size_than_its_image_is_refused(tmp_path):
    folder = write_class(tmp_path / "screw")
    save(mask(size=(24, 20)), folder / "ground_truth/cut/001_mask.png")
    refused(
        tmp_path,
        f"{folder}/ground_truth/cut/001_mask.png has 24 x 20 pixels (height x width), but its "
        "image has 20 x 24",
    )


def test_mask_of_more_than_two_values_is_refused(tmp_path):
    folder = write_class(tmp_path / "screw")
    values = mask()
    values[5] //= 2
    save(values, folder / "ground_truth/burnt/000_mask.png")
    refused(tmp_path, f"{folder}/ground_truth/burnt/000_mask.png is a mask of 3 values")


def test_empty_mask_of_a_defect_and_marked_mask_of_a_nominal_image_are_refused(tmp_path):
    folder = write_class(tmp_path / "screw")
    save(mask() * 0, folder / "ground_truth/good/000_mask.png")
    assert len(load(data(), tmp_path).test) == 5  # an empty mask of a nominal image is fine
    save(mask(), folder / "ground_truth/good/000_mask.png")
    refused(tmp_path, "ground_truth/good/000_mask.png marks pixels of a nominal image")
    (folder / "ground_truth/good/000_mask.png").unlink()
    save(mask() * 0, folder / "ground_truth/cut/000_mask.png")
    refused(tmp_path, "ground_truth/cut/000_mask.png marks no pixel, but its image is anomalous")


@pytest.mark.parametrize(
    ("gone", "text"),
    [
        ("train/good", "screw/train holds no nominal images; they belong into train/good/ (or ok"),
        ("test/good", "screw/test holds no nominal images; they belong into test/good/"),
    ],
)
def test_class_without_nominal_images_is_refused(tmp_path, gone, text):
    folder = write_class(tmp_path / "screw")
    shutil.rmtree(folder / gone)
    (folder / "train").mkdir(exist_ok=True)
    refused(tmp_path, text)


def test_class_without_defective_images_is_refused(tmp_path):
    folder = write_class(tmp_path / "screw")
    for defect in ("cut", "burnt"):
        shutil.rmtree(folder / "test" / defect)
    refused(tmp_path, "screw/test holds no defective images; they belong into a folder per defect")


def test_anomalous_training_images_are_refused(tmp_path):
    folder = write_class(tmp_path / "screw")
    save(picture(5), folder / "train/cut/000.png")
    refused(tmp_path, f"{folder}/train/cut holds training images that are not nominal; put them")


@pytest.mark.parametrize("name", ["train/000.png", "test/good/more/000.png"])
def test_image_at_the_wrong_depth_is_refused(tmp_path, name):
    folder = write_class(tmp_path / "screw")
    save(picture(5), folder / name)
    refused(tmp_path, f"{folder}/{name} has no place in the layout; images are in {name[:4]}")


def test_own_test_image_that_is_also_trained_on_is_refused_in_whatever_format(tmp_path):
    folder = write_class(tmp_path / "screw")
    save(picture(11), folder / "train/good/009.bmp")
    with pytest.raises(ValueError) as caught:
        load(own("screw"), tmp_path)
    assert str(caught.value) == (
        f"{folder}/test/good/001.png is the same picture as train/good/009.bmp: a test image must "
        "not be trained on; delete one of the two"
    )
    assert len(load(data(), tmp_path).train) == 4  # MVTec-AD itself is taken as it is published


def test_unreadable_image_is_named(tmp_path):
    folder = write_class(tmp_path / "screw")
    path = folder / "train/good/001.png"
    path.write_bytes(path.read_bytes()[:300])
    refused(tmp_path, f"{path} cannot be read as an image")
    path.write_bytes(b"")
    refused(tmp_path, f"{path} is an empty file")
    tar = pack(folder, tmp_path / "mvtec.tar", below="mvtec/screw")
    shutil.rmtree(folder)
    refused(tmp_path, f"mvtec/screw/train/good/001.png in {tar} is an empty file")


def test_links_out_of_the_root_are_refused_and_links_within_are_read(tmp_path):
    folder = write_class(tmp_path / "root" / "screw")
    save(picture(40), tmp_path / "outside.png")
    save(picture(41), folder / "spare.png")
    (folder / "train/good/003.png").symlink_to(folder / "spare.png")
    assert len(load(data(), tmp_path / "root").train) == 4
    (folder / "train/good/004.png").symlink_to(tmp_path / "outside.png")
    refused(
        tmp_path / "root", "train/good/004.png is a link to", "is not read; put the file itself"
    )
    (folder / "train/good/004.png").unlink()
    (folder / "test/dirt").symlink_to(tmp_path / "root")
    refused(tmp_path / "root", "test/dirt is a link to a folder, which is not followed")


def test_root_may_be_a_link(tmp_path):
    write_class(tmp_path / "far" / "screw")
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert len(load(data(), tmp_path / "near").train) == 3


def test_link_in_a_tar_is_refused(tmp_path):
    folder = write_class(tmp_path / "folder" / "screw")
    (folder / "train/good/003.png").symlink_to("/etc/hostname")
    pack(folder, tmp_path / "mvtec.tar", below="screw")
    refused(tmp_path, "screw/train/good/003.png in", "is a link or device, which is not followed")


def test_fingerprint_follows_pixels_masks_and_defects_and_not_the_place(tmp_path):
    folder = write_class(tmp_path / "a" / "screw")
    first = load(data(), tmp_path / "a").fingerprint
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "mvtec")
    assert load(data(), tmp_path / "b").fingerprint == first
    marked = mask()
    marked[0, 0] = 255
    save(marked, folder / "ground_truth/cut/001_mask.png")
    second = load(data(), tmp_path / "a").fingerprint
    for part in ("test", "ground_truth"):
        (folder / part / "cut").rename(folder / part / "bent")
    third = load(data(), tmp_path / "a").fingerprint
    changed = picture(0)
    changed[10:16, 10:16] ^= 64
    save(changed, folder / "train/good/000.png")
    fourth = load(data(), tmp_path / "a").fingerprint
    assert len({first, second, third, fourth}) == 4


def test_cache_changes_no_number_and_is_not_read_where_a_file_changed(tmp_path, caplog):
    folder = write_class(tmp_path / "root" / "screw")
    cache = tmp_path / "cache"
    plain = load(data(), tmp_path / "root")
    with caplog.at_level(logging.WARNING):
        made, kept = (load(data(), tmp_path / "root", cache=cache) for _ in range(2))
        assert "made again" not in caplog.text
        for images in (made, kept):
            assert images.fingerprint == plain.fingerprint
            np.testing.assert_array_equal(images.test, plain.test)
            assert images.test_masks is not None and plain.test_masks is not None
            np.testing.assert_array_equal(images.test_masks[1], plain.test_masks[1])
        save(picture(77), folder / "train/good/000.png")
        changed = load(data(), tmp_path / "root", cache=cache)
    assert "made again: it is of other files" in caplog.text
    assert changed.fingerprint == load(data(), tmp_path / "root").fingerprint != plain.fingerprint


def test_cached_images_are_not_decoded_again(tmp_path, monkeypatch):
    write_class(tmp_path / "root" / "screw")
    load(data(), tmp_path / "root", cache=tmp_path / "cache")
    monkeypatch.setattr("fcdd.data.decoding.decode", lambda *a, **k: pytest.fail("decoded"))
    assert len(load(data(), tmp_path / "root", cache=tmp_path / "cache").train) == 3


def test_other_counts_than_the_official_ones_are_said_in_the_log(tmp_path, caplog):
    write_class(tmp_path / "screw")
    load(data(), tmp_path)
    assert "'screw' has 3 training and 5 test images; MVTec-AD has 320 and 160" in caplog.text
    assert sum(train for train, _ in OFFICIAL_COUNTS.values()) == 3629
    assert sum(test for _, test in OFFICIAL_COUNTS.values()) == 1725


def test_name_of_images_differs_wherever_the_images_do():
    runs = [
        data(),
        data(normal_class=3),
        data(size=(28, 14)),
        data(resizing="published"),
        own("screw"),
        own("nut", "screw", normal_class=1),
    ]
    assert len({images_name(run) for run in runs}) == len(runs)
    assert images_name(data()) == images_name(data(preprocessing="aug1"))


@pytest.fixture(scope="module")
def screws() -> Path:
    root = Path(os.environ.get("FCDD_DATA", "nowhere"))
    if not list(root.glob("mvtec_screw*.tar")):
        pytest.skip("no mvtec_screw*.tar under FCDD_DATA")
    return root


def test_real_screws_have_their_official_counts(screws, caplog):
    images = load(data(size=None), screws)
    assert caplog.text == ""
    assert isinstance(images.train, np.ndarray)
    assert images.train.shape == (320, 3, 240, 240)
    assert images.test.shape == (160, 3, 240, 240)
    assert images.test_defects is not None and images.test_masks is not None
    assert images.test_defects.count("good") == 41
    assert len(set(images.test_defects)) == 6
    shares = [images.test_masks[i].mean() for i in range(160) if images.test_defects[i] != "good"]
    assert len(shares) == 119
    assert 0.0025 < np.mean(shares) < 0.005
    with tarfile.open(next(screws.glob("mvtec_screw*.tar"))) as archive:
        file = archive.extractfile("screw/test/thread_top/003.png")
        assert file is not None
        native = Image.open(io.BytesIO(file.read())).convert("RGB")
    expected = native.resize((240, 240), Image.Resampling.BILINEAR)
    assert images.test_files is not None
    index = images.test_files.index("screw/test/thread_top/003.png")
    np.testing.assert_array_equal(images.test[index], np.asarray(expected).transpose(2, 0, 1))
