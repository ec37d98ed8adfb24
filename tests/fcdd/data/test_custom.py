"""Class folders of the user's own: both layouts, with and without maps."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcdd.config import Data
from fcdd.data.load import images_name, load
from fcdd.data.ragged import Ragged
from fcdd.data.task import Images

CLASSES = ("bolt", "nut")
LONG = (24, 40)  # height and width


def data(layout: str = "one_vs_rest", *, normal_class: int = 0, **changes) -> Data:
    fields = {"name": "custom", "preprocessing": "aug1", "classes": CLASSES, "size": (14, 14)}
    return Data(**{**fields, "layout": layout, "normal_class": normal_class, **changes})


SIDE = 16  # round(14 * 248 / 224): the side that images of size 14 are stored at


def picture(number: int, size: tuple[int, int] = LONG) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)


def save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_one_vs_rest(root: Path) -> Path:
    """Of each class two training and two test images, one of them in a folder of its own."""
    for number, name in enumerate(CLASSES):
        for part, seed in (("train", 0), ("test", 100)):
            save(picture(seed + 10 * number), root / part / name / "a.png")
            save(picture(seed + 10 * number + 1, (40, 24)), root / part / name / "more/b.png")
    return root


def write_by_folder(root: Path, *, nominal: str = "nominal") -> Path:
    """Of each class two nominal and one anomalous training image, one nominal and two anomalous
    test images."""
    for number, name in enumerate(CLASSES):
        for part, counts in (("train", (2, 1)), ("test", (1, 2))):
            for folder, count, seed in ((nominal, counts[0], 0), ("anomalous", counts[1], 5)):
                for index in range(count):
                    seed_all = 1000 * (part == "test") + 100 * number + seed + index
                    save(picture(seed_all), root / part / name / folder / f"{index}.png")
    return root


def mask(number: int, size: tuple[int, int] = LONG) -> np.ndarray:
    values = np.zeros(size, np.uint8)
    values[number : number + 5, 3:9] = 255
    return values


def write_maps(root: Path, *parts: str) -> None:
    """A map for every anomalous image below test/ or train/."""
    for part in parts:
        for number, path in enumerate(sorted((root / part).rglob("anomalous/*.png"))):
            save(mask(number), root / f"{part}_maps" / path.relative_to(root / part))


def refused(run: Data, root: Path | None) -> str:
    with pytest.raises(ValueError) as caught:
        load(run, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def ragged(images: Images) -> Ragged:
    assert isinstance(images.train, Ragged)
    return images.train


@pytest.mark.parametrize("place", ["", "custom"])
def test_one_vs_rest_has_all_images_of_all_classes_in_the_order_of_the_classes(tmp_path, place):
    write_one_vs_rest(tmp_path / place)
    images = load(data(), tmp_path)
    assert images.train_classes.tolist() == [0, 0, 1, 1]
    assert images.test_classes.tolist() == [0, 0, 1, 1]
    assert images.test_files == (
        *("test/bolt/a.png", "test/bolt/more/b.png", "test/nut/a.png", "test/nut/more/b.png"),
    )
    assert images.train_anomalous is images.test_anomalous is images.test_masks is None
    turned = load(data(classes=("nut", "bolt")), tmp_path)
    assert turned.test_files is not None and turned.test_files[0] == "test/nut/a.png"


def test_without_maps_the_short_side_is_resized_and_the_test_image_cut_to_its_centre(tmp_path):
    write_one_vs_rest(tmp_path)
    images = load(data(), tmp_path)
    train = ragged(images)
    assert train.sizes.tolist() == [[16, 26], [26, 16]] * 2  # 40 * 16 // 24 = 26
    wide = Image.fromarray(picture(0)).resize((26, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(train[0], np.asarray(wide).transpose(2, 0, 1))
    assert images.test.shape == (4, 3, SIDE, SIDE)
    wide = np.asarray(Image.fromarray(picture(100)).resize((26, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(images.test[0], wide[:, 5:21].transpose(2, 0, 1))


def test_preprocessing_without_crops_squashes_all_images(tmp_path):
    write_one_vs_rest(tmp_path)
    images = load(data(preprocessing="none"), tmp_path)
    assert isinstance(images.train, np.ndarray)
    squashed = Image.fromarray(picture(1, (40, 24))).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images.train[1], np.asarray(squashed).transpose(2, 0, 1))


@pytest.mark.parametrize("nominal", ["nominal", "normal", "Normal", "NOMINAL"])
def test_nominal_anomalous_has_one_class_labelled_by_its_folders(tmp_path, nominal):
    write_by_folder(tmp_path, nominal=nominal)
    images = load(data("nominal_anomalous", normal_class=1), tmp_path)
    assert images.train_anomalous is not None and images.test_anomalous is not None
    assert images.train_classes.tolist() == [1, 1, 1]
    assert images.test_classes.tolist() == [1, 1, 1]
    assert sorted(images.train_anomalous.tolist()) == [False, False, True]
    assert sorted(images.test_anomalous.tolist()) == [False, True, True]
    assert images.test_files is not None
    for file, anomalous in zip(images.test_files, images.test_anomalous, strict=True):
        assert file.startswith(f"test/nut/{'anomalous' if anomalous else nominal}/")


def test_maps_of_anomalous_images_are_read_and_nominal_images_without_one_have_none(tmp_path):
    write_by_folder(tmp_path)
    write_maps(tmp_path, "train", "test")
    images = load(data("nominal_anomalous", maps=True), tmp_path)
    assert images.test_masks is not None and images.train_masks is not None
    assert images.test_masks.sizes == (LONG,) * 3
    np.testing.assert_array_equal(images.test_masks[0], mask(0) > 0)
    np.testing.assert_array_equal(images.test_masks[1], mask(1) > 0)
    assert images.test_masks.packed[2] is None
    assert [bits is None for bits in images.train_masks.packed] == [False, True, True]
    assert isinstance(images.train, np.ndarray)
    assert images.train.shape == (3, 3, SIDE, SIDE)


def test_images_with_maps_are_squashed_as_their_maps_and_by_nearest_where_published(tmp_path):
    write_by_folder(tmp_path)
    write_maps(tmp_path, "test")
    native = picture(1005)  # test/bolt/anomalous/0.png
    mended = load(data("nominal_anomalous", maps=True), tmp_path)
    squashed = Image.fromarray(native).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(mended.test[0], np.asarray(squashed).transpose(2, 0, 1))
    published = load(data("nominal_anomalous", maps=True, resizing="published"), tmp_path)
    rows, columns = np.arange(16) * 24 // 16, np.arange(16) * 40 // 16
    picked = native[rows][:, columns].transpose(2, 0, 1)
    np.testing.assert_array_equal(published.test[0], picked)
    assert mended.fingerprint != published.fingerprint


def test_one_folder_of_maps_is_enough(tmp_path):
    write_by_folder(tmp_path)
    write_maps(tmp_path, "test")
    images = load(data("nominal_anomalous", maps=True), tmp_path)
    assert images.train_masks is None
    assert images.test_masks is not None


def test_in_one_vs_rest_only_images_of_other_classes_have_maps(tmp_path):
    write_one_vs_rest(tmp_path)
    for name in CLASSES:
        save(mask(2), tmp_path / "test_maps" / name / "a.png")
        save(mask(3, (40, 24)), tmp_path / "test_maps" / name / "more/b.png")
    bolt = load(data(maps=True), tmp_path)
    nut = load(data(maps=True, normal_class=1), tmp_path)
    assert bolt.test_masks is not None and nut.test_masks is not None
    assert [bits is None for bits in bolt.test_masks.packed] == [True, True, False, False]
    assert [bits is None for bits in nut.test_masks.packed] == [False, False, True, True]
    np.testing.assert_array_equal(bolt.test_masks[3], mask(3, (40, 24)) > 0)
    assert bolt.test_masks.sizes[1] == (40, 24)


def test_map_may_have_another_suffix_than_its_image(tmp_path):
    write_by_folder(tmp_path)
    write_maps(tmp_path, "test")
    for path in (tmp_path / "test").rglob("anomalous/0.png"):
        array = np.asarray(Image.open(path))
        path.unlink()
        save(array, path.with_suffix(".jpg"))
    images = load(data("nominal_anomalous", maps=True), tmp_path)
    assert images.test_masks is not None
    np.testing.assert_array_equal(images.test_masks[0], mask(0) > 0)
    for path in (tmp_path / "test_maps").rglob("anomalous/0.png"):
        save(mask(0), path.with_suffix(".bmp"))
    assert "test/bolt/anomalous/0.jpg has several maps: test_maps/" in refused(
        data("nominal_anomalous", maps=True), tmp_path
    )


@pytest.mark.parametrize("part", ["train", "test"])
def test_anomalous_image_without_a_map_is_refused_not_filled(tmp_path, part):
    write_by_folder(tmp_path)
    write_maps(tmp_path, "train", "test")
    save(picture(2000), tmp_path / part / "bolt/anomalous/7.png")
    assert refused(data("nominal_anomalous", maps=True), tmp_path) == (
        f"{tmp_path}/{part}/bolt/anomalous/7.png is anomalous and has no map; put it to "
        f"{part}_maps/bolt/anomalous/7.png, or leave data.maps out"
    )


def test_maps_that_contradict_their_image_are_refused(tmp_path):
    write_by_folder(tmp_path)
    write_maps(tmp_path, "test")
    run = data("nominal_anomalous", maps=True)
    save(mask(1) * 0, tmp_path / "test_maps/bolt/nominal/0.png")
    load(run, tmp_path)  # an empty map of a nominal image is fine
    save(mask(1), tmp_path / "test_maps/bolt/nominal/0.png")
    assert "test_maps/bolt/nominal/0.png marks pixels of a nominal image" in refused(run, tmp_path)
    shutil.rmtree(tmp_path / "test_maps/bolt/nominal")
    save(mask(1) * 0, tmp_path / "test_maps/bolt/anomalous/1.png")
    assert "test_maps/bolt/anomalous/1.png marks no pixel" in refused(run, tmp_path)
    save(mask(1, (40, 24)), tmp_path / "test_maps/bolt/anomalous/1.png")
    assert "has 40 x 24 pixels (height x width), but its image has 24 x 40" in refused(
        run, tmp_path
    )


def test_maps_asked_for_and_not_there_are_an_error(tmp_path):
    write_by_folder(tmp_path)
    assert refused(data("nominal_anomalous", maps=True), tmp_path) == (
        f"data.maps is set, but {tmp_path} has no images in train_maps/ or test_maps/; put the "
        "maps there, each below the path of its image, or leave data.maps out"
    )


def test_missing_parts_are_named_with_the_places_looked_at(tmp_path):
    expected = (
        f"{tmp_path} has no images in train/<class>/ and test/<class>/, neither directly nor in "
        "custom/; put them there, or point --data-root or FCDD_DATA to their folder"
    )
    assert refused(data(), tmp_path) == expected
    write_one_vs_rest(tmp_path)
    shutil.rmtree(tmp_path / "test")
    assert refused(data(), tmp_path) == expected
    assert "'custom' is read from a data root: give --data-root" in refused(data(), None)


def test_class_folders_that_differ_between_train_and_test_are_named(tmp_path):
    write_one_vs_rest(tmp_path)
    (tmp_path / "test/nut").rename(tmp_path / "test/nuts")
    save(picture(500), tmp_path / "test/washer/a.png")
    assert refused(data(), tmp_path) == (
        f"{tmp_path}: train/ and test/ need images of the same classes; only in train/: nut; only "
        "in test/: nuts, washer"
    )


def test_unknown_class_is_named_with_those_that_are_there(tmp_path):
    write_one_vs_rest(tmp_path)
    assert refused(data(classes=("bolt", "screw")), tmp_path) == (
        f"data.classes: screw not in {tmp_path}/train; there are: bolt, nut"
    )


def test_stray_and_hidden_files_and_empty_folders_are_passed_over(tmp_path):
    write_one_vs_rest(tmp_path)
    save(picture(600), tmp_path / "train/stray.png")
    save(picture(601), tmp_path / "test/.trash/a.png")
    (tmp_path / "train/nut/notes.txt").write_text("notes")
    (tmp_path / "train/empty").mkdir()
    (tmp_path / "other").symlink_to("/")
    assert len(load(data(), tmp_path).train) == 4


def test_layouts_are_not_taken_for_each_other(tmp_path):
    write_by_folder(tmp_path / "folders")
    text = refused(data(), tmp_path / "folders")
    assert "is in a folder 'anomalous', which belongs to data.layout 'nominal_anomalous'" in text
    write_one_vs_rest(tmp_path / "rest")
    text = refused(data("nominal_anomalous"), tmp_path / "rest")
    assert "train/bolt/a.png is in no nominal/ or anomalous/ folder of its class; put it" in text
    text = refused(data("nominal_anomalous", normal_class=1), tmp_path / "rest")
    assert "train/nut/a.png is in no nominal/" in text


def test_part_of_a_class_in_the_place_of_a_class_is_refused(tmp_path):
    for part in ("train", "test"):
        save(picture(ord(part[1])), tmp_path / part / "Normal/a.png")
    assert refused(data(), tmp_path) == (
        f"{tmp_path}/train/Normal has the name of a part of a class; put it into the folder of its "
        "class: train/<class>/Normal/"
    )


@pytest.mark.parametrize(
    ("gone", "text"),
    [
        ("train/bolt/nominal", "train has no nominal images for class 'bolt'; they belong into tr"),
        ("test/bolt/nominal", "test has no nominal images for class 'bolt'; they belong into test"),
        ("test/bolt/anomalous", "they belong into test/bolt/anomalous/"),
    ],
)
def test_missing_nominal_and_anomalous_images_are_refused(tmp_path, gone, text):
    write_by_folder(tmp_path)
    shutil.rmtree(tmp_path / gone)
    assert text in refused(data("nominal_anomalous"), tmp_path)
    assert len(load(data("nominal_anomalous", normal_class=1), tmp_path).test) == 3


def test_training_anomalies_are_optional_and_one_class_has_no_rest(tmp_path):
    write_by_folder(tmp_path / "folders")
    shutil.rmtree(tmp_path / "folders/train/bolt/anomalous")
    images = load(data("nominal_anomalous"), tmp_path / "folders")
    assert images.train_anomalous is not None and not images.train_anomalous.any()
    write_one_vs_rest(tmp_path / "rest")
    assert "name a second class in data.classes" in refused(
        data(classes=("bolt",)), tmp_path / "rest"
    )


def test_test_image_that_is_also_trained_on_is_refused(tmp_path):
    write_one_vs_rest(tmp_path)
    save(picture(110), tmp_path / "train/bolt/copy.bmp")  # test/nut/a.png
    assert refused(data(), tmp_path) == (
        f"{tmp_path}/test/nut/a.png is the same picture as train/bolt/copy.bmp: a test image must "
        "not be trained on; delete one of the two"
    )


@pytest.mark.parametrize("top", ["", "my_data/"])
def test_tar_gives_the_same_as_the_folder(tmp_path, top):
    write_by_folder(tmp_path / "folder")
    write_maps(tmp_path / "folder", "test")
    with tarfile.open(tmp_path / "t.tar.gz", "w:gz") as archive:
        for part in ("test_maps", "train", "test"):
            archive.add(tmp_path / "folder" / part, f"{top}{part}")
    run = data("nominal_anomalous", maps=True)
    found, expected = load(run, tmp_path / "t.tar.gz"), load(run, tmp_path / "folder")
    assert found.fingerprint == expected.fingerprint
    assert found.test_files == expected.test_files
    np.testing.assert_array_equal(found.test, expected.test)


def test_one_vs_rest_is_one_set_for_every_nominal_class(tmp_path):
    write_one_vs_rest(tmp_path)
    runs = [data(), data(normal_class=1)]
    assert len({images_name(run) for run in runs}) == 1
    assert len({load(run, tmp_path).fingerprint for run in runs}) == 1


def test_name_of_images_differs_wherever_the_images_do():
    runs = [
        data(),
        data(classes=("nut", "bolt")),
        data(preprocessing="none"),
        data(size=(14, 28)),
        data(maps=True),
        data(maps=True, normal_class=1),
        data(maps=True, resizing="published"),
        data("nominal_anomalous"),
        data("nominal_anomalous", normal_class=1),
        data("nominal_anomalous", maps=True),
    ]
    assert len({images_name(run) for run in runs}) == len(runs)


@pytest.mark.parametrize("maps", [False, True])
def test_cache_changes_no_number(tmp_path, monkeypatch, maps):
    write_by_folder(tmp_path / "root")
    write_maps(tmp_path / "root", "test")
    run = data("nominal_anomalous", maps=maps)
    plain = load(run, tmp_path / "root")
    load(run, tmp_path / "root", cache=tmp_path / "cache")
    monkeypatch.setattr("fcdd.data.decoding.decode", lambda *a, **k: pytest.fail("decoded"))
    kept = load(run, tmp_path / "root", cache=tmp_path / "cache")
    assert kept.fingerprint == plain.fingerprint
    np.testing.assert_array_equal(kept.test, plain.test)
    one, other = kept.train, plain.train
    if isinstance(one, Ragged) and isinstance(other, Ragged):
        assert one.sizes.tolist() == other.sizes.tolist()
        one, other = one.pixels, other.pixels
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
