import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import nn

from fcdd.config import Run, change
from fcdd.data.constants import Normalisation
from fcdd.data.masks import Masks
from fcdd.data.task import Task
from fcdd.evaluation import evaluate, heatmaps, image_scores
from fcdd.losses import anomaly_map
from fcdd.nets.build import build

NUM = 9


def a_task(*, num: int = NUM, masks: bool = False, classes: bool = False) -> Task:
    """Random images, every third anomalous; masks of different native sizes."""
    stream = np.random.default_rng(1)
    labels = np.arange(num) % 3 == 2
    sizes = [(28, 28) if i % 2 else (41, 35) for i in range(num)]
    maps = [
        (stream.random(size) < 0.2) if anomalous else None
        for size, anomalous in zip(sizes, labels, strict=True)
    ]
    return Task(
        train_images=torch.zeros(1, 1, 28, 28, dtype=torch.uint8),
        outliers=None,
        test_images=torch.from_numpy(stream.integers(0, 256, (num, 1, 28, 28), dtype=np.uint8)),
        test_labels=torch.from_numpy(labels.astype(np.uint8)),
        test_classes=torch.zeros(num, dtype=torch.int64),
        normalisation=Normalisation((0.0,), (1.0,), (0.0,), (1.0,)),
        test_ids=torch.arange(num),
        test_masks=Masks.pack(maps, sizes) if masks else None,
    )


@pytest.fixture
def run(digits_run: Run) -> Run:
    return change(digits_run, {"data.preprocessing": "none"})


def test_scores_are_the_mean_anomaly_and_metrics_those_of_scikit_learn(run: Run) -> None:
    task, net = a_task(), build(run)
    found = evaluate(run, net, task)
    net.eval()
    expected = anomaly_map(net(task.test_images.float() / 255)).mean(dim=(1, 2, 3))
    torch.testing.assert_close(found.scores, expected.detach())
    labels, scores = task.test_labels.numpy(), found.scores.numpy()
    assert found.image_auroc == pytest.approx(roc_auc_score(labels, scores))
    assert found.image_ap == pytest.approx(average_precision_score(labels, scores))
    assert found.pixels is None


@pytest.mark.parametrize("pixels", ["histogram", "exact"])
def test_pixel_metrics_are_those_of_the_heatmaps_at_the_masks_native_sizes(
    run: Run, pixels: str
) -> None:
    run = change(run, {"evaluation.pixels": pixels})
    task, net = a_task(masks=True), build(run)
    found = evaluate(run, net, task)
    plain = evaluate(run, net, a_task())
    assert torch.equal(found.scores, plain.scores)
    labels, values = [], []
    assert task.test_masks is not None
    for i, heatmap in enumerate(heatmaps(run, net, task, torch.arange(NUM))):
        mask = task.test_masks[i]
        rows, columns = (np.arange(side) * 28 // side for side in mask.shape)
        labels.append(mask.ravel())
        values.append(heatmap[0].numpy()[rows[:, None], columns[None, :]].ravel())
    truth, scores = np.concatenate(labels), np.concatenate(values)
    assert found.pixels is not None
    auroc, ap = roc_auc_score(truth, scores), average_precision_score(truth, scores)
    assert abs(found.pixels.auroc - auroc) <= found.pixels.auroc_bound + 1e-9
    assert abs(found.pixels.ap - ap) <= found.pixels.ap_bound + 1e-9
    assert (found.pixels.auroc_bound == 0) == (pixels == "exact")
    counts = found.pixels.histograms
    assert counts["nominal"].sum() + counts["anomalous"].sum() == len(truth)


def test_scores_do_not_depend_on_what_else_is_tested(run: Run) -> None:
    task, net = a_task(num=300), build(run)  # more than a batch
    together = image_scores(run, net, task.test_images, task=task)
    for i in (0, 255, 256, 299):
        alone = image_scores(run, net, task.test_images[i : i + 1], task=task)
        torch.testing.assert_close(together[i : i + 1], alone)


def test_large_images_are_evaluated_few_at_a_time(run: Run) -> None:
    sizes = []

    class Counting(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return images[:, :, ::4, ::4]

    images = torch.zeros(12, 1, 224, 224, dtype=torch.uint8)
    image_scores(run, Counting(), images, task=a_task())
    assert sizes == [5, 5, 2]


def test_evaluation_is_in_eval_mode(run: Run) -> None:
    net = build(run).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    evaluate(run, net, a_task(masks=True))
    assert not net.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_non_finite_heatmaps_are_an_error_that_counts_them(run: Run) -> None:
    net = build(run)
    with torch.no_grad():
        next(net.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="784 of 784 pixels of a heatmap are not finite"):
        evaluate(run, net, a_task(masks=True))
    with pytest.raises(ValueError, match="9 of 9 scores are not finite"):
        evaluate(run, net, a_task())
