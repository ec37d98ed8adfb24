import math

import pytest
import torch

from fcdd.losses import anomaly_map, fcdd_loss, scores


def test_anomaly_map_is_pseudo_huber() -> None:
    outputs = torch.tensor([0.0, 1.0, -2.0, 3.0]).view(1, 1, 2, 2)
    expected = [0.0, math.sqrt(2) - 1, math.sqrt(5) - 1, math.sqrt(10) - 1]
    assert anomaly_map(outputs).flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert scores(anomaly_map(outputs)).item() == pytest.approx(sum(expected) / 4, abs=1e-6)


def test_loss_with_both_labels_is_the_mean_of_m_and_minus_log() -> None:
    maps = torch.tensor([0.3, 0.7]).view(2, 1, 1, 1).expand(2, 1, 3, 3)
    labels = torch.tensor([0, 1])
    expected = (0.3 - math.log(1 - math.exp(-0.7))) / 2
    assert fcdd_loss(maps, labels).item() == pytest.approx(expected, rel=1e-6)


def test_anomalous_loss_at_score_zero_is_71_38_with_finite_gradient() -> None:
    outputs = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss = fcdd_loss(anomaly_map(outputs), torch.tensor([1]))
    loss.backward()
    assert loss.item() == pytest.approx(71.3801, abs=1e-4)
    assert outputs.grad is not None
    assert outputs.grad.abs().max().item() == 0


def test_anomalous_batch_is_not_trained_as_nominal() -> None:
    maps = torch.full((4, 1, 2, 2), 0.5, requires_grad=True)
    fcdd_loss(maps, torch.ones(4, dtype=torch.bool)).backward()
    assert maps.grad is not None
    assert bool((maps.grad < 0).all())  # descent raises A


def test_published_switch_trains_an_anomalous_batch_as_nominal() -> None:
    maps = torch.full((4, 1, 2, 2), 0.5)
    ones = torch.ones(4, dtype=torch.bool)
    assert fcdd_loss(maps, ones, one_label_batches="published").item() == pytest.approx(0.5)
    mixed = torch.tensor([0, 1, 0, 1])
    published = fcdd_loss(maps, mixed, one_label_batches="published")
    assert published.item() == pytest.approx(fcdd_loss(maps, mixed).item())


def test_nominal_batch_gives_the_mean_of_the_maps() -> None:
    maps = torch.rand(5, 1, 3, 3)
    assert fcdd_loss(maps, torch.zeros(5)).item() == pytest.approx(maps.mean().item(), rel=1e-6)
