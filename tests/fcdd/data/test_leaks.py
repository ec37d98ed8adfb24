"""Test images that training sees as well."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fcdd.config import Data, Run, change
from fcdd.data.leaks import Leaks, find_leaks, refuse_leaks
from fcdd.data.load import load
from fcdd.data.ragged import Ragged
from fcdd.data.scanning import scan_tree
from fcdd.data.streamed import Streamed
from fcdd.data.task import Images, Pool


def pictures(num: int, *, seed: int = 0, side: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num, 3, side, side), np.uint8)


def images(**changes) -> Images:
    """Training images 0 and 1 of class 0, 2 and 3 of class 1; three other test images."""
    made = Images(
        train=pictures(4),
        train_classes=np.array([0, 0, 1, 1]),
        test=pictures(3, seed=1),
        test_classes=np.array([0, 1, 1]),
        fingerprint="",
    )
    return replace(made, **changes)


def leaking(places: list[int]) -> np.ndarray:
    """The test images, those at 1 and 2 replaced by training images."""
    test = pictures(3, seed=1)
    test[1 : 1 + len(places)] = pictures(4)[places]
    return test


@pytest.fixture
def custom_run(digits_run: Run) -> Run:
    return change(
        digits_run,
        {
            "data.name": "custom",
            "data.classes": ["a", "b"],
            "data.layout": "one_vs_rest",
            "data.preprocessing": "none",
            "data.normal_class": 0,
            "outliers.source": "folder",
            "net.name": "FCDD_CNN224",
        },
    )


def test_nothing_in_common_is_no_leak():
    pool = Pool(images=pictures(5, seed=2), fingerprint="")
    assert find_leaks(images(), pool, normal_class=0) == Leaks((), ())


def test_only_nominal_training_images_count():
    assert find_leaks(images(test=leaking([1, 3])), None, normal_class=0).train == ((1, 1),)
    assert find_leaks(images(test=leaking([1, 3])), None, normal_class=1).train == ((2, 3),)
    anomalous = np.array([True, True, False, False])
    labelled = images(test=leaking([1, 3]), train_anomalous=anomalous)
    assert find_leaks(labelled, None, normal_class=0).train == ((2, 3),)


def test_images_of_the_pool_are_found():
    mixed = pictures(5, seed=2)
    mixed[3] = pictures(3, seed=1)[2]
    assert find_leaks(images(), Pool(mixed, ""), normal_class=0) == Leaks((), ((2, 3),))


def test_equal_test_images_are_all_found_and_the_first_copy_is_named():
    train = pictures(4)
    train[1] = train[0]
    test = np.stack([train[0], pictures(1, seed=1)[0], train[0]])
    assert find_leaks(images(train=train, test=test), None, normal_class=0).train == (
        (0, 0),
        (2, 0),
    )


def test_one_changed_value_is_no_leak():
    test = leaking([0])
    test[1, 2, 5, 5] ^= 1
    assert find_leaks(images(test=test), None, normal_class=0).train == ()


def test_of_images_of_different_sizes_the_centre_counts():
    wide = np.random.default_rng(3).integers(0, 256, (3, 6, 11), np.uint8)
    ragged = Ragged.from_images([pictures(1)[0], wide])
    test = pictures(3, seed=1)
    test[2] = wide[:, :, 2:8]  # (11 - 6) / 2 = 2.5, halves to even
    found = find_leaks(
        images(train=ragged, train_classes=np.array([0, 0]), test=test), None, normal_class=0
    )
    assert found.train == ((2, 1),)


def test_users_own_leak_is_refused_and_names_the_first_images(custom_run):
    names = ("x/0.png", "x/1.png", "x/2.png")
    with pytest.raises(ValueError, match=r"^x/1\.png is also among the nominal training .* 'a'"):
        refuse_leaks(images(test=leaking([0]), test_files=names), None, run=custom_run)
    with pytest.raises(ValueError, match=r"^test image 1, test image 2 are also among the nominal"):
        refuse_leaks(images(test=leaking([0, 1])), None, run=custom_run)
    many = np.concatenate([pictures(1), pictures(1), pictures(1), pictures(1), pictures(1)])
    with pytest.raises(ValueError, match="test image 2 and 2 more are also"):
        refuse_leaks(images(test=many, test_classes=np.zeros(5, np.int64)), None, run=custom_run)


def test_users_own_pool_of_test_images_is_refused(custom_run):
    pool = Pool(pictures(3, seed=1), "")
    with pytest.raises(ValueError, match="are also in the pool, .* `fcdd data check DATA --pool"):
        refuse_leaks(images(), pool, run=custom_run)


def test_published_copies_are_counted(digits_run):
    run = change(digits_run, {"data.normal_class": 0})
    pool = Pool(pictures(3, seed=1)[:1], "")
    leaks = refuse_leaks(images(test=leaking([0])), pool, run=run)
    assert leaks == Leaks(train=((1, 0),), pool=((0, 0),))


def test_streamed_pool_is_not_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"broken")
    pool = Pool(Streamed(scan_tree(tmp_path), (3, 6, 6), "squash"), "")
    assert find_leaks(images(), pool, normal_class=0).pool == ()


def test_digits_have_no_test_image_that_is_trained_on():
    made = load(Data(name="digits", normal_class=0, preprocessing="none"), None)
    for number in range(10):
        assert find_leaks(made, None, normal_class=number) == Leaks((), ())


@pytest.mark.skipif("FCDD_DATA" not in os.environ, reason="FCDD_DATA names no data root")
def test_real_fmnist_has_no_test_image_that_is_trained_on():
    data = Data(name="fmnist", normal_class=0, preprocessing="none")
    made = load(data, Path(os.environ["FCDD_DATA"]))
    assert [find_leaks(made, None, normal_class=c).train for c in range(10)] == [()] * 10
