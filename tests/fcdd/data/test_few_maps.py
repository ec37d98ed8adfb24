from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from fcdd.config import Run, change
from fcdd.data.few_maps import choose, labelled_maps, refuse_copies
from fcdd.data.masks import Masks
from fcdd.data.task import Images, Task, make_task

DEFECTS = ("good",) * 4 + ("hole",) * 6 + ("cut",) * 7
ANOMALOUS = np.array([defect != "good" for defect in DEFECTS])


@pytest.fixture
def few_run(digits_run: Run) -> Run:
    """Two labelled maps per defect type of a texture, five images of each kept out of the test."""
    return change(
        digits_run,
        {
            "data.name": "textures",
            "data.normal_class": 1,
            "data.preprocessing": "lcnaug1",
            "outliers.source": "none",
            "supervision.mode": "few_maps",
            "supervision.maps_per_defect": 2,
            "supervision.reserved_maps": 5,
            "objective.maps": True,
            "net.name": "FCDD_CNN224",
        },
    )


def with_maps(run: Run, k: int, **more: object) -> Run:
    return change(run, {"supervision.maps_per_defect": k, **more})


def images() -> Images:
    """17 test images whose pixels are all 10 + their place, with masks at 100 x 100."""
    n = len(DEFECTS)
    tested = np.broadcast_to(
        np.arange(10, 10 + n, dtype=np.uint8)[:, None, None, None], (n, 3, 68, 68)
    )
    masks = []
    for place, anomalous in enumerate(ANOMALOUS):
        mask = np.zeros((100, 100), bool)
        mask[place : place + 20, 30:50] = anomalous
        masks.append(mask)
    noise = np.random.default_rng(0).integers(0, 256, (9, 3, 68, 68), np.uint8)
    return Images(
        train=noise,
        train_classes=np.ones(9, np.int64),
        test=tested.copy(),
        test_classes=np.ones(n, np.int64),
        fingerprint="x",
        train_anomalous=np.zeros(9, bool),
        test_anomalous=ANOMALOUS,
        test_masks=Masks.pack(masks, [(100, 100)] * n),
        test_defects=DEFECTS,
        test_files=tuple(f"test/{defect}/{place:03}.png" for place, defect in enumerate(DEFECTS)),
    )


def task(run: Run, data: Images | None = None) -> Task:
    return make_task(run, data or images(), None, device=torch.device("cpu"))


def values(task: Task) -> list[int]:
    assert task.labelled is not None
    return sorted(task.labelled.images[:, 0, 0, 0].tolist())


def test_labelled_images_of_a_larger_k_contain_those_of_a_smaller(few_run: Run) -> None:
    chosen = [
        set(choose(with_maps(few_run, k), DEFECTS, anomalous=ANOMALOUS).labelled) for k in range(6)
    ]
    assert [len(places) for places in chosen] == [0, 2, 4, 6, 8, 10]
    for smaller, larger in pairwise(chosen):
        assert smaller < larger


def test_each_defect_type_gives_k_labelled_and_reserved_images(few_run: Run) -> None:
    choice = choose(few_run, DEFECTS, anomalous=ANOMALOUS)
    for defect in ("hole", "cut"):
        assert sum(DEFECTS[place] == defect for place in choice.labelled) == 2
        assert sum(DEFECTS[place] == defect for place in choice.reserved) == 5
    assert set(choice.labelled) < set(choice.reserved)
    assert not set(choice.reserved) & {place for place, d in enumerate(DEFECTS) if d == "good"}


def test_seeds_choose_differently_and_the_same_again(few_run: Run) -> None:
    def choice(seed: int) -> tuple[int, ...]:
        return choose(change(few_run, {"seed": seed}), DEFECTS, anomalous=ANOMALOUS).labelled

    assert choice(0) == choice(0)
    assert len({choice(seed) for seed in range(10)}) > 5


def test_the_test_set_is_the_same_for_all_k_at_one_seed(few_run: Run) -> None:
    tasks = [task(with_maps(few_run, k)) for k in (0, 1, 5)]
    noisy = change(
        few_run,
        {
            "supervision.mode": "malformed_nominal_maps",
            "supervision.noise": "confetti",
            "supervision.maps_per_defect": None,
        },
    )
    tasks.append(task(noisy))  # also the baseline without labelled maps
    for other in tasks[1:]:
        assert torch.equal(other.test_ids, tasks[0].test_ids)
        assert torch.equal(other.test_images, tasks[0].test_images)
        assert other.test_defects == tasks[0].test_defects
    assert len(tasks[0].test_ids) == 17 - 10
    assert tasks[0].labelled is None and tasks[3].labelled is None
    assert not torch.equal(task(change(few_run, {"seed": 8})).test_ids, tasks[0].test_ids)


def test_labelled_images_are_never_tested_and_named(few_run: Run) -> None:
    for seed in range(5):
        one = task(change(few_run, {"seed": seed, "supervision.maps_per_defect": 5}))
        assert not set(values(one)) & set(one.test_images[:, 0, 0, 0].tolist())
        names = [int(name.rpartition("/")[2][:3]) for name in one.labelled_files]
        assert sorted(10 + place for place in names) == values(one)
        assert one.test_ids.tolist() == sorted(one.test_ids.tolist())


def test_what_describes_the_test_images_follows_them(few_run: Run) -> None:
    one = task(few_run)
    places = one.test_ids.tolist()
    assert one.test_images[:, 0, 0, 0].tolist() == [10 + place for place in places]
    assert one.test_labels.tolist() == [int(ANOMALOUS[place]) for place in places]
    assert one.test_defects == tuple(DEFECTS[place] for place in places)
    assert one.test_masks is not None and len(one.test_masks) == len(places)
    for number, place in enumerate(places):
        expected = np.zeros((100, 100), bool)
        expected[place : place + 20, 30:50] = ANOMALOUS[place]
        np.testing.assert_array_equal(one.test_masks[number], expected)


def test_labelled_images_come_with_their_maps_as_they_are_stored(few_run: Run) -> None:
    one = task(few_run)
    assert one.labelled is not None
    assert one.labelled.images.shape == (4, 3, 68, 68)
    assert one.labelled.maps.shape == (4, 1, 68, 68)
    assert one.labelled.maps.dtype == torch.uint8
    for image, map_ in zip(one.labelled.images, one.labelled.maps, strict=True):
        place = int(image[0, 0, 0]) - 10
        rows = [r for r in range(68) if place <= (2 * r + 1) * 100 // 136 < place + 20]
        columns = [c for c in range(68) if 30 <= (2 * c + 1) * 100 // 136 < 50]
        assert map_[0].any(1).nonzero()[:, 0].tolist() == rows
        assert map_[0].any(0).nonzero()[:, 0].tolist() == columns
        assert int(map_.sum()) == len(rows) * len(columns)


def test_published_choice_leaves_labelled_images_in_the_test_set(few_run: Run) -> None:
    published = change(
        few_run,
        {"supervision.labelled_in_test": "published", "supervision.reserved_maps": 0},
    )
    one = task(published)
    assert one.test_ids.tolist() == list(range(17))
    assert len(values(one)) == 4
    assert set(values(one)) <= set(one.test_images[:, 0, 0, 0].tolist())
    assert len(values(task(with_maps(published, 100)))) == 13  # all there are, as published


def test_a_defect_type_with_too_few_images_is_refused(few_run: Run) -> None:
    with pytest.raises(ValueError) as caught:
        task(change(few_run, {"supervision.reserved_maps": 6}))
    assert str(caught.value) == (
        "defect type 'hole' of 'stripes' has 6 images, too few for supervision.reserved_maps 6 and "
        "one left to test; lower it to at most 5, or leave this class out"
    )


def test_a_map_that_vanishes_at_the_size_of_training_is_refused(few_run: Run) -> None:
    mask = np.zeros((100, 100), bool)
    mask[0, 0] = True
    masks = Masks.pack([mask, None], [(100, 100)] * 2)
    with pytest.raises(ValueError, match="map of b.png has no anomalous pixel at 68x68"):
        labelled_maps(masks, [0, 1], (68, 68), run=few_run, names=["a.png", "b.png"])
    with pytest.raises(ValueError, match="map of a.png has no anomalous pixel at 10x10"):
        labelled_maps(masks, [0], (10, 10), run=few_run, names=["a.png"])


def test_a_copy_of_a_labelled_image_in_the_test_set_is_refused(few_run: Run) -> None:
    data = images()
    one = task(few_run, data)
    labelled = values(one)[0] - 10
    tested = int(one.test_ids[0])
    copies = data.test.copy()
    copies[tested] = copies[labelled]
    with pytest.raises(ValueError, match=f"is also tested, as test/good/{tested:03}.png; delete"):
        task(few_run, replace(data, test=copies))
    with pytest.raises(ValueError, match="labelled image c is also tested, as c"):
        refuse_copies(data.test, [2], [0, 2], names=["a", "b", "c"])


def test_data_without_defects_or_masks_is_refused(few_run: Run) -> None:
    for lacking in ({"test_masks": None}, {"test_defects": None}):
        with pytest.raises(ValueError, match="need test images with defect types and masks"):
            task(few_run, replace(images(), **lacking))
