from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fcdd.config import Run, change
from fcdd.data.masks import Masks
from fcdd.data.ragged import Ragged
from fcdd.data.scanning import scan_tree
from fcdd.data.streamed import Streamed
from fcdd.data.task import Images, Pool, Task, make_task, stretch

RNG = np.random.default_rng(0)


def noisy(n: int, shape: tuple[int, int, int] = (1, 28, 28)) -> np.ndarray:
    """Images of noise, read-only as those that workers share."""
    array = RNG.integers(0, 256, (n, *shape), np.uint8)
    array.setflags(write=False)
    return array


def digits(n: int = 40) -> Images:
    """Class i % 4 for training image i, i % 5 for test image i."""
    return Images(noisy(n), np.arange(n) % 4, noisy(20), np.arange(20) % 5, "x")


def of(run: Run, images: Images, pool: Pool | None = None) -> Task:
    return make_task(run, images, pool, device=torch.device("cpu"))


def bytes_of(part: object) -> np.ndarray:
    assert isinstance(part, Tensor)
    return part.numpy()


@pytest.fixture
def custom_run(digits_run: Run) -> Run:
    """True anomalies of a class with nominal and anomalous images, with maps."""
    return change(
        digits_run,
        {
            "data.name": "custom",
            "data.normal_class": 0,
            "data.classes": ["a"],
            "data.layout": "nominal_anomalous",
            "data.maps": True,
            "data.size": [16, 16],
            "data.preprocessing": "aug1",
            "outliers.source": "none",
            "supervision.mode": "true_anomalies",
            "objective.maps": True,
            "net.name": "FCDD_CNN224",
        },
    )


def custom(*, anomalies: int = 6) -> Images:
    """10 nominal training images and `anomalies`, in turns at first; raw size 18."""
    n = 10 + anomalies
    anomalous = np.arange(n) % 2 == 1
    anomalous[2 * anomalies :] = False
    masks = [np.full((9, 9), bool(a)) for a in anomalous]
    for place, mask in enumerate(masks):
        mask[0] = False
        mask[:, place % 9] = False
    return Images(
        noisy(n, (3, 18, 18)),
        np.zeros(n, np.int64),
        noisy(4, (3, 18, 18)),
        np.zeros(4, np.int64),
        "x",
        train_anomalous=anomalous,
        test_anomalous=np.array([False, True, False, True]),
        train_masks=Masks.pack(masks, [(9, 9)] * n),
    )


def test_one_class_is_nominal_in_train_and_test(digits_run: Run) -> None:
    images = digits()
    task = of(digits_run, images, Pool(noisy(5), "y"))
    np.testing.assert_array_equal(bytes_of(task.train_images), np.asarray(images.train)[3::4])
    assert task.test_labels.tolist() == [0 if i % 5 == 3 else 1 for i in range(20)]
    assert task.test_labels.dtype == torch.uint8
    assert task.test_classes.tolist() == [i % 5 for i in range(20)]
    assert task.test_ids.tolist() == list(range(20))
    assert (task.labelled, task.labelled_files, task.test_masks) == (None, (), None)


def test_a_class_without_training_images_is_refused(digits_run: Run) -> None:
    with pytest.raises(ValueError, match="class 7 \\('7'\\) of 'digits' has no training images"):
        of(change(digits_run, {"data.normal_class": 7}), digits(), Pool(noisy(5), "y"))


def test_outlier_exposure_without_its_pool_is_refused(digits_run: Run) -> None:
    with pytest.raises(ValueError, match="needs the images of pool 'photographs'"):
        of(digits_run, digits())


def test_limited_pools_are_nested_and_their_places_recorded(digits_run: Run) -> None:
    pool = Pool(noisy(30), "y")
    chosen = []
    for limit in (1, 4, 30):
        task = of(change(digits_run, {"outliers.limit": limit}), digits(), pool)
        assert task.outliers_chosen is not None and len(task.outliers_chosen) == limit
        expected = np.asarray(pool.images)[list(task.outliers_chosen)]
        np.testing.assert_array_equal(bytes_of(task.outliers), expected)
        chosen.append(task.outliers_chosen)
    assert chosen[2][:4] == chosen[1] and chosen[1][:1] == chosen[0]
    assert sorted(chosen[2]) == list(range(30))
    other = of(change(digits_run, {"outliers.limit": 4, "seed": 8}), digits(), pool)
    assert other.outliers_chosen != chosen[1]
    assert of(digits_run, digits(), pool).outliers_chosen is None
    with pytest.raises(ValueError, match="limit 31 exceeds the 30 images of pool 'photographs'"):
        of(change(digits_run, {"outliers.limit": 31}), digits(), pool)


def test_pools_of_different_sizes_and_on_disk_are_limited_alike(
    digits_run: Run, tmp_path: Path
) -> None:
    images = noisy(9, (3, 32, 32))
    for number, image in enumerate(images):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
    on_disk = Streamed(scan_tree(tmp_path), (3, 32, 32), "squash", workers=0)
    run = change(
        digits_run,
        {"data.name": "cifar10", "net.name": "FCDD_CNN32", "outliers.limit": 4},
    )
    data = Images(noisy(8, (3, 32, 32)), np.full(8, 3), images[:2], np.array([3, 4]), "x")
    plain = of(run, data, Pool(images, "y"))
    streamed = of(run, data, Pool(on_disk, "y"))
    ragged = of(run, data, Pool(Ragged.from_images(list(images)), "y"))
    np.testing.assert_array_equal(bytes_of(streamed.outliers), bytes_of(plain.outliers))
    assert isinstance(ragged.outliers, Ragged) and len(ragged.outliers) == 4
    for place, image in zip(range(4), bytes_of(plain.outliers), strict=True):
        np.testing.assert_array_equal(np.asarray(ragged.outliers[place]), image)
    whole = of(change(run, {"outliers.limit": None}), data, Pool(on_disk, "y"))
    assert isinstance(whole.outliers, Streamed) and len(whole.outliers) == 9
    assert whole.outliers is not on_disk  # each run notes its own unreadable files


def test_true_anomalies_replace_with_their_maps(custom_run: Run) -> None:
    images = custom()
    task = of(custom_run, images)
    places = [1, 3, 5, 7, 9, 11]
    train = np.asarray(images.train)
    np.testing.assert_array_equal(bytes_of(task.outliers), train[places])
    nominal = [place for place in range(16) if place not in places]
    np.testing.assert_array_equal(bytes_of(task.train_images), train[nominal])
    assert task.outlier_maps is not None and task.outlier_maps.shape == (6, 1, 18, 18)
    for place, map_ in zip(places, task.outlier_maps[:, 0].numpy(), strict=True):
        native = np.ones((9, 9), np.uint8)
        native[0] = 0
        native[:, place % 9] = 0
        np.testing.assert_array_equal(map_, native.repeat(2, axis=0).repeat(2, axis=1))
    assert task.test_labels.tolist() == [0, 1, 0, 1]
    without = change(custom_run, {"objective.maps": False})
    assert of(without, images).outlier_maps is None


def test_limited_true_anomalies_keep_their_maps(custom_run: Run) -> None:
    whole = of(custom_run, custom())
    limited = of(change(custom_run, {"outliers.limit": 2}), custom())
    chosen = limited.outliers_chosen
    assert chosen is not None and len(chosen) == 2
    assert whole.outlier_maps is not None and limited.outlier_maps is not None
    assert torch.equal(limited.outlier_maps, whole.outlier_maps[list(chosen)])
    with pytest.raises(ValueError, match="limit 7 exceeds the 6 anomalous training images"):
        of(change(custom_run, {"outliers.limit": 7}), custom())


def test_true_anomalies_of_one_against_the_others_are_the_other_classes(digits_run: Run) -> None:
    run = change(digits_run, {"supervision.mode": "true_anomalies", "outliers.source": "none"})
    images = digits()
    task = of(run, images)
    others = np.asarray(images.train)[images.train_classes != 3]
    np.testing.assert_array_equal(bytes_of(task.outliers), others)


def test_true_anomalies_where_there_are_none_are_refused(custom_run: Run) -> None:
    with pytest.raises(ValueError, match="'custom' has none for class 'a'; use 'few_maps' where"):
        of(custom_run, custom(anomalies=0))


def test_other_modes_have_no_outliers(digits_run: Run) -> None:
    for mode, noise in (("unsupervised", None), ("noise", "gaussian")):
        fields = {
            "supervision.mode": mode,
            "supervision.noise": noise,
            "outliers.source": "none",
        }
        assert of(change(digits_run, fields), digits()).outliers is None


def test_test_images_come_at_the_size_of_the_network(custom_run: Run) -> None:
    images = custom()
    flat = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None] * 50, (4, 3, 18, 18))
    task = of(custom_run, replace(images, test=flat.copy()))
    assert task.test_images.shape == (4, 3, 16, 16)
    assert task.test_images[:, 2, 7, 9].tolist() == [0, 50, 100, 150]
    cropped = change(custom_run, {"data.maps": False, "objective.maps": False})
    np.testing.assert_array_equal(
        of(cropped, images).test_images.numpy(), images.test[:, :, 1:17, 1:17]
    )


def test_images_of_different_sizes_are_selected_by_class(custom_run: Run) -> None:
    parts = [RNG.integers(0, 256, (3, 18 + i, 20), np.uint8) for i in range(16)]
    run = change(custom_run, {"data.maps": False, "objective.maps": False})
    task = of(run, replace(custom(), train=Ragged.from_images(parts), train_masks=None))
    assert isinstance(task.train_images, Ragged) and isinstance(task.outliers, Ragged)
    assert (len(task.train_images), len(task.outliers)) == (10, 6)
    np.testing.assert_array_equal(np.asarray(task.outliers[2]), parts[5])


def pascal(digits_run: Run, **fields: object) -> Run:
    return change(
        digits_run,
        {
            "data.name": "pascal_voc",
            "data.normal_class": 0,
            "data.size": [16, 16],
            "data.preprocessing": "aug1",
            "net.name": "FCDD_CNN224",
            **{f"data.{name}": value for name, value in fields.items()},
        },
    )


def horses() -> Images:
    dull = (noisy(6, (3, 16, 16)) // 2 + 40).astype(np.uint8)
    anomalous = np.array([True, False, True])
    return Images(
        *(dull, np.zeros(6, np.int64), noisy(3, (3, 16, 16)), anomalous.astype(np.int64), "x"),
        train_anomalous=np.zeros(6, bool),
        test_anomalous=anomalous,
    )


def test_inverted_labels_are_1_for_the_nominal_class(digits_run: Run) -> None:
    pool = Pool(noisy(4, (3, 16, 16)), "y")
    assert of(pascal(digits_run), horses(), pool).test_labels.tolist() == [1, 0, 1]
    inverted = of(pascal(digits_run, inverted=True), horses(), pool)
    assert inverted.test_labels.tolist() == [0, 1, 0]
    assert len(inverted.train_images) == 6


def test_published_contrast_stretch_is_for_nominal_training_images_alone(digits_run: Run) -> None:
    pool, images = Pool(noisy(4, (3, 16, 16)) // 2, "y"), horses()
    task = of(pascal(digits_run, contrast_stretch="published"), images, pool)
    stretched = bytes_of(task.train_images)
    assert stretched.min((1, 2, 3)).tolist() == [0] * 6
    assert stretched.max((1, 2, 3)).tolist() == [255] * 6
    np.testing.assert_array_equal(bytes_of(task.outliers), np.asarray(pool.images))
    np.testing.assert_array_equal(task.test_images.numpy(), images.test)
    plain = of(pascal(digits_run), images, pool)
    np.testing.assert_array_equal(bytes_of(plain.train_images), np.asarray(images.train))


def test_stretch_by_hand() -> None:
    images = torch.tensor([[10, 20, 60], [0, 128, 255], [7, 7, 7]], dtype=torch.uint8)
    out = stretch(images.view(3, 3, 1, 1))
    # 10 / 50 * 255 = 51
    assert out.view(3, 3).tolist() == [[0, 51, 255], [0, 128, 255], [7, 7, 7]]


def test_shared_images_are_not_copied_where_all_are_used(custom_run: Run) -> None:
    run = change(
        custom_run,
        {
            "data.maps": False,
            "objective.maps": False,
            "data.size": None,
            "supervision.mode": "unsupervised",
        },
    )
    train = noisy(3, (3, 248, 248))
    images = Images(
        train,
        np.zeros(3, np.int64),
        noisy(2, (3, 248, 248)),
        np.zeros(2, np.int64),
        "x",
        train_anomalous=np.zeros(3, bool),
        test_anomalous=np.array([False, True]),
    )
    task = of(run, images)
    assert isinstance(task.train_images, Tensor)
    assert task.train_images.data_ptr() == train.ctypes.data
    assert task.test_images.shape == (2, 3, 224, 224)
    ragged = Ragged.from_images(list(train))
    several = of(run, replace(images, train=ragged)).train_images
    assert isinstance(several, Ragged) and isinstance(several.pixels, Tensor)
    assert several.pixels.data_ptr() == np.asarray(ragged.pixels).ctypes.data
