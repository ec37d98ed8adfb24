import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from fcdd.audit import Audit, audit
from fcdd.config import Data, Run, change
from fcdd.data.constants import Normalisation
from fcdd.data.task import Task
from fcdd.data.watermark import mark_region

SIDE_PX = 6
MARK = {
    "data.preprocessing": "none",
    "watermark.kind": "square",
    "watermark.side_px": SIDE_PX,
    "watermark.corner": "bottom_left",
}


class Looking(nn.Module):
    """phi: one cell per pixel, its brightness times `weight`, plus `bias`."""

    def __init__(self, *, weight: float, bias: float = 0.0, channels: int = 1) -> None:
        super().__init__()
        self.look = nn.Conv2d(channels, 1, 1)
        for parameter, value in zip(self.look.parameters(), (weight, bias), strict=True):
            nn.init.constant_(parameter, value)

    def forward(self, images: Tensor) -> Tensor:
        return self.look(images)


def a_task(*, num: int = 10) -> Task:
    """Dark images, anomalous ones slightly less so."""
    stream = np.random.default_rng(2)
    labels = np.arange(num) % 2
    images = stream.integers(0, 20, (num, 1, 28, 28)) + 3 * labels[:, None, None, None]
    return Task(
        train_images=torch.zeros(1, 1, 28, 28, dtype=torch.uint8),
        outliers=None,
        test_images=torch.from_numpy(images.astype(np.uint8)),
        test_labels=torch.from_numpy(labels.astype(np.uint8)),
        test_classes=torch.zeros(num, dtype=torch.int64),
        normalisation=Normalisation((0.0,), (1.0,), (0.0,), (1.0,)),
        test_ids=torch.arange(100, 100 + num),
    )


@pytest.fixture
def run(digits_run: Run) -> Run:
    # A Gaussian much narrower than a pixel keeps every pixel where it is.
    return change(digits_run, MARK | {"heatmaps.gauss_std": 0.1})


def scores(images: np.ndarray) -> np.ndarray:
    """Of `Looking(weight=1)`: the mean of sqrt(x^2 + 1) - 1."""
    return np.mean(np.sqrt((images / 255.0) ** 2 + 1) - 1, axis=(1, 2, 3))


def painted(task: Task, rows: slice, columns: slice) -> np.ndarray:
    """The images with a white square in a black frame of one pixel."""
    images = task.test_images.numpy().copy()
    images[..., rows, columns] = 0
    inner_rows, inner_columns = (slice(s.start + 1, s.stop - 1) for s in (rows, columns))
    images[..., inner_rows, inner_columns] = 255
    return images


def test_a_net_that_sees_the_mark_is_found_out(run: Run) -> None:
    task = a_task()
    found = audit(run, Looking(weight=1.0), task)
    labels = task.test_labels.numpy()
    clean = scores(task.test_images.numpy())
    marked = scores(painted(task, slice(22, 28), slice(0, 6)))
    moved = scores(painted(task, slice(0, 6), slice(22, 28)))
    nominal = labels == 0
    assert found.auroc_clean == roc_auc_score(labels, clean) > 0.9
    on_nominal = np.where(nominal, marked, clean)
    assert found.auroc_mark_on_nominal == roc_auc_score(labels, on_nominal) == 0
    on_anomalous = np.where(nominal, clean, marked)
    assert found.auroc_mark_on_anomalous == roc_auc_score(labels, on_anomalous) == 1
    assert found.auroc_mark_on_all == roc_auc_score(labels, marked)
    assert found.auroc_mark_moved == roc_auc_score(labels, np.where(nominal, moved, clean))
    shift = marked - clean
    assert found.shift_nominal == pytest.approx(shift[nominal].mean(), rel=1e-4)
    assert found.shift_anomalous == pytest.approx(shift[~nominal].mean(), rel=1e-4)
    assert found.shift_moved_nominal == pytest.approx((moved - clean)[nominal].mean(), rel=1e-4)
    assert found.score_spread == pytest.approx(clean[nominal].std(), rel=1e-3)
    assert (found.num_nominal, found.num_anomalous) == (5, 5)
    assert found.area_of_mark == pytest.approx(36 / 784)
    # 16 white pixels of sqrt(2) - 1 each, beside 748 pixels of hardly anything.
    rest = (scores(task.test_images.numpy()) * 784)[nominal].mean()
    white = 16 * (np.sqrt(2) - 1)
    assert found.mass_on_mark == pytest.approx(white / (white + rest), rel=0.02)
    assert found.mass_on_moved_mark == pytest.approx(found.mass_on_mark, rel=0.02)
    assert found.mass_without_mark == pytest.approx(found.area_of_mark, rel=0.3)


def test_a_net_that_does_not_look_is_cleared(run: Run) -> None:
    found = audit(run, Looking(weight=0.0, bias=2.0), a_task())
    assert found.mass_on_mark == pytest.approx(found.area_of_mark)
    assert found.mass_without_mark == pytest.approx(found.area_of_mark)
    assert (found.shift_nominal, found.shift_anomalous, found.score_spread) == (0, 0, 0)
    numbers = found.numbers()
    assert {value for name, value in numbers.items() if "auroc" in name} == {0.5}
    assert {f.name for f in dataclasses.fields(Audit)} - set(numbers) == {"examples"}


def test_the_mark_of_outliers_moves_on_the_anomalous_images(run: Run) -> None:
    task = a_task()
    outliers = audit(change(run, {"watermark.target": "outliers"}), Looking(weight=1.0), task)
    assert outliers.auroc_mark_moved == 1
    assert audit(run, Looking(weight=1.0), task).auroc_mark_moved == 0


def test_with_inverted_labels_the_nominal_images_are_those_of_label_one(run: Run) -> None:
    horses = Data(
        name="pascal_voc", normal_class=0, preprocessing="none", size=(28, 28), inverted=True
    )
    changes = {"data": horses, "net.name": "FCDD_CNN32_S", "outliers.source": "imagenet1k"}
    one = a_task(num=11)  # five of label 1, the nominal class here
    coloured = dataclasses.replace(
        one,
        test_images=one.test_images.expand(-1, 3, -1, -1),
        normalisation=Normalisation((0.0,) * 3, (1.0,) * 3, (0.0,) * 3, (1.0,) * 3),
    )
    found = audit(change(run, changes), Looking(weight=1.0, channels=3), coloured)
    assert (found.num_nominal, found.num_anomalous) == (5, 6)
    assert found.examples["ids"].tolist() == [101, 103, 105, 107]
    # The mark lifts the nominal class, whose label 1 is the higher one.
    assert found.auroc_mark_on_nominal == 1


def test_examples_show_the_same_nominal_images_clean_marked_and_moved(run: Run) -> None:
    task = a_task()
    shown = audit(run, Looking(weight=1.0), task).examples
    assert shown["ids"].tolist() == [100, 102, 104, 106]
    np.testing.assert_array_equal(shown["clean_images"], task.test_images[[0, 2, 4, 6]].numpy())
    places = {
        "marked": mark_region(run.watermark, (28, 28)).numpy(),
        "moved": mark_region(
            change(run, {"watermark.corner": "top_right"}).watermark, (28, 28)
        ).numpy(),
    }
    for name, place in places.items():
        differs = (shown[f"{name}_images"] != shown["clean_images"])[:, 0]
        assert not differs[:, ~place].any()
        assert differs[:, place].mean() > 0.9
        brightest = shown[f"{name}_heatmaps"] == shown[f"{name}_heatmaps"].max()
        assert not brightest[:, ~place].any()
    assert shown["clean_heatmaps"].shape == (4, 28, 28)


def test_the_audit_leaves_the_test_images_as_they_are(run: Run) -> None:
    task = a_task()
    before = task.test_images.clone()
    audit(run, Looking(weight=1.0), task)
    assert torch.equal(task.test_images, before)


def test_a_run_without_a_mark_has_nothing_to_audit(digits_run: Run) -> None:
    with pytest.raises(ValueError, match="watermark.kind is 'none'; set it to 'square'"):
        audit(digits_run, Looking(weight=1.0), a_task())
