import dataclasses
import io

import numpy as np
import pytest
import torch
from torch import nn

from fcdd.config import Data, Run, change
from fcdd.data.constants import Normalisation
from fcdd.data.masks import Masks
from fcdd.data.task import Task
from fcdd.evaluation import heatmaps
from fcdd.nets.build import build
from fcdd.shown import shown_heatmaps, shown_images

DEFECTS = ("good", "hole", "scratch", "spot")


def a_task(
    ids: list[int] | None = None, *, side: int = 28, channels: int = 1, defects: bool = True
) -> Task:
    """40 images, 10 of each defect type; `ids` are those that are left."""
    kept = list(range(40)) if ids is None else ids
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (40, channels, side, side), dtype=np.uint8)
    types = tuple(DEFECTS[i % 4] for i in kept)
    sizes = [(2 * side, 3 * side)] * len(kept)
    maps = []
    for name, size in zip(types, sizes, strict=True):
        mask = np.zeros(size, bool)
        mask[5, 7] = name != "good"  # one pixel
        maps.append(mask)
    ones = (1.0,) * channels
    return Task(
        train_images=torch.zeros(1, channels, side, side, dtype=torch.uint8),
        outliers=None,
        test_images=torch.from_numpy(images[kept]),
        test_labels=torch.tensor([name != "good" for name in types], dtype=torch.uint8),
        test_classes=torch.zeros(len(kept), dtype=torch.int64),
        normalisation=Normalisation((0.0,) * channels, ones, (0.0,) * channels, ones),
        test_ids=torch.tensor(kept),
        test_masks=Masks.pack(maps, sizes) if defects else None,
        test_defects=types if defects else None,
    )


@pytest.fixture
def run(digits_run: Run) -> Run:
    return change(digits_run, {"data.preprocessing": "none"})


def ids(run: Run, task: Task) -> list[int]:
    return task.test_ids[shown_images(run, task)].tolist()


def test_the_choice_for_data_without_defect_types_is_the_one_of_old_rows(run: Run) -> None:
    task = dataclasses.replace(a_task(defects=False), test_labels=torch.arange(40) % 2)
    stream = torch.Generator().manual_seed(
        # SHA-256 of "0:shown/digits/3", its first 8 bytes, halved.
        6062359214713459086
    )
    expected = []
    for label in (0, 1):
        found = (torch.arange(40) % 2 == label).nonzero()[:, 0]
        expected += found[torch.randperm(20, generator=stream)[:8]].tolist()
    assert ids(run, task) == sorted(expected)


def test_defect_types_take_turns(run: Run) -> None:
    task = a_task()
    chosen = ids(run, task)
    counts = {name: sum(DEFECTS[i % 4] == name for i in chosen) for name in DEFECTS}
    assert counts["good"] == 8
    assert sorted(counts[name] for name in DEFECTS[1:]) == [2, 3, 3]


def test_the_choice_depends_on_data_and_class_alone(run: Run) -> None:
    task = a_task()
    other = change(run, {"seed": 11, "net.name": "FCDD_CNN28_W", "training.lr": 0.5})
    assert ids(run, task) == ids(other, task)
    assert ids(run, task) != ids(change(run, {"data.normal_class": 4}), task)


def test_reserved_images_are_passed_over_and_nothing_else_changes(run: Run) -> None:
    everything = ids(run, a_task())
    unseen = [i for i in range(40) if i not in everything]
    assert ids(run, a_task([i for i in range(40) if i not in unseen[:9]])) == everything
    reserved = next(i for i in everything if i % 4 == 1)
    without = ids(run, a_task([i for i in range(40) if i != reserved]))
    assert set(everything) - set(without) == {reserved}
    (added,) = set(without) - set(everything)
    assert DEFECTS[added % 4] == "hole"  # the next one of the same type


def test_arrays_hold_the_images_their_heatmaps_masks_and_scores(run: Run) -> None:
    task, net = a_task(), build(run)
    arrays = shown_heatmaps(run, net, task)
    shown = shown_images(run, task)
    assert arrays["ids"].tolist() == task.test_ids[shown].tolist()
    assert arrays["defects"].tolist() == [DEFECTS[i % 4] for i in arrays["ids"]]
    assert (arrays["images"].shape, arrays["images"].dtype) == ((16, 1, 28, 28), np.uint8)
    np.testing.assert_array_equal(arrays["images"], task.test_images[shown].numpy())
    full = heatmaps(run, net, task, shown)[:, 0].numpy()
    np.testing.assert_allclose(arrays["heatmaps"], full, rtol=1e-3)
    assert arrays["scores"].dtype == np.float64
    assert len(set(arrays["scores"].tolist())) == 16
    assert arrays["masks"].dtype == np.bool_
    assert arrays["masks"].shape == (16, 28, 28)
    # Pixel (5, 7) of 56 x 84 lies in the area of pixel (2, 2) of 28 x 28.
    expected = np.zeros((28, 28), bool)
    expected[2, 2] = True
    for mask, label in zip(arrays["masks"], arrays["labels"], strict=True):
        np.testing.assert_array_equal(mask, expected if label else np.zeros_like(expected))


def test_arrays_are_read_back_without_pickle(run: Run) -> None:
    arrays = shown_heatmaps(run, build(run), a_task())
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as read:
        assert sorted(read) == sorted(arrays)
        assert read["defects"].tolist() == arrays["defects"].tolist()


def test_data_without_masks_and_types_leave_those_arrays_out(run: Run) -> None:
    arrays = shown_heatmaps(run, build(run), a_task(defects=False))
    assert {"masks", "defects"} & set(arrays) == set()


def test_large_images_are_averaged_over_areas_and_no_defect_vanishes(digits_run: Run) -> None:
    run = change(
        digits_run,
        {
            "data": Data(name="textures", normal_class=0, preprocessing="none", size=(128, 128)),
            "outliers.source": "none",
            "supervision.mode": "unsupervised",
            "net.name": "FCDD_CNN32_S",
        },
    )
    task, net = a_task(side=128, channels=3), build(run)
    arrays = shown_heatmaps(run, net, task)
    shown = shown_images(run, task)
    assert arrays["images"].shape == (16, 3, 64, 64)
    areas = task.test_images[shown].numpy().reshape(16, 3, 64, 2, 64, 2).mean(axis=(3, 5))
    assert np.abs(arrays["images"] - areas).max() <= 0.5
    full = heatmaps(run, net, task, shown)[:, 0].numpy().reshape(16, 64, 2, 64, 2)
    np.testing.assert_allclose(arrays["heatmaps"], full.mean(axis=(2, 4)), rtol=2e-3)
    assert (arrays["masks"].sum(axis=(1, 2)) == arrays["labels"]).all()


def test_the_reference_of_global_scales_is_at_the_resolution_shown(run: Run) -> None:
    task, net = a_task(), build(run)
    arrays = shown_heatmaps(run, net, task)
    values = np.sort(heatmaps(run, net, task, torch.arange(40)).numpy().ravel())
    assert arrays["reference_quantiles"].tolist() == [0.0, 0.85, 0.97, 0.99, 1.0]
    expected = [values[0], *(values[int(q * len(values)) - 1] for q in (0.85, 0.97, 0.99, 1.0))]
    np.testing.assert_allclose(arrays["reference_values"], expected, rtol=1e-6)


@pytest.mark.parametrize(("scale", "kind"), [(1e-2, "float32"), (1.0, "float16"), (1e5, "float32")])
def test_heatmaps_out_of_the_range_of_half_precision_are_kept_in_single(
    run: Run, scale: float, kind: str
) -> None:
    scaled = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(scaled.weight, scale)
    net = nn.Sequential(nn.AvgPool2d(4), scaled)
    arrays = shown_heatmaps(run, net, a_task())
    assert arrays["heatmaps"].dtype == kind
    assert np.isfinite(arrays["heatmaps"]).all()
    assert arrays["heatmaps"].max() > 0
