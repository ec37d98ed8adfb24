import math

import pytest
import torch

from fcdd.losses import (
    anomaly_map,
    fcdd_loss,
    fcdd_map_loss,
    hsc_loss,
    hsc_scores,
    scores,
    squared_error,
)


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


def test_map_loss_by_hand() -> None:
    # Four pixels each; nominal, partly anomalous, anomalous everywhere.
    heatmaps = torch.tensor(
        [[0.4, 0.8, 0.0, 1.2], [1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64
    ).view(3, 1, 2, 2)
    truth = torch.tensor(
        [[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64
    ).view(3, 1, 2, 2)
    losses = [
        2.4 / 4,  # all pixels count, the logarithm does not
        (1 + 4) / 4 - math.log(1 - math.exp(-(2 + 3) / 4)),  # means over all four pixels
        -math.log(1 - math.exp(-1.0 / 4)),
    ]
    for i, expected in enumerate(losses):
        one = fcdd_map_loss(heatmaps[i : i + 1], truth[i : i + 1])
        assert one.item() == pytest.approx(expected, rel=1e-12)
    assert fcdd_map_loss(heatmaps, truth).item() == pytest.approx(sum(losses) / 3, rel=1e-12)


def test_map_loss_of_a_nominal_image_and_of_one_anomalous_everywhere_is_the_label_loss() -> None:
    maps = torch.rand(2, 1, 5, 7, dtype=torch.float64)
    truth = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 1, 5, 7)
    labels = torch.tensor([0, 1])
    torch.testing.assert_close(fcdd_map_loss(maps, truth), fcdd_loss(maps, labels))


def test_fractional_maps_drop_the_logarithm_unless_a_pixel_is_one() -> None:
    maps = torch.full((1, 1, 1, 2), 0.6, dtype=torch.float64)
    halves = torch.tensor([0.5, 0.5], dtype=torch.float64).view(1, 1, 1, 2)
    assert fcdd_map_loss(maps, halves).item() == pytest.approx(0.3)


def test_map_loss_at_score_zero_is_71_38_with_finite_gradient() -> None:
    outputs = torch.zeros(2, 1, 2, 2, requires_grad=True)
    truth = torch.stack([torch.ones(1, 2, 2), torch.zeros(1, 2, 2)])
    loss = fcdd_map_loss(anomaly_map(outputs), truth)
    loss.backward()
    assert loss.item() == pytest.approx(71.3801 / 2, abs=1e-4)
    assert outputs.grad is not None
    assert outputs.grad.abs().max().item() == 0


def test_hsc_score_is_the_pseudo_huber_norm_and_its_loss_goes_by_the_label() -> None:
    outputs = torch.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=torch.float64)
    low, high = math.sqrt(2) - 1, math.sqrt(26) - 1
    assert hsc_scores(outputs).tolist() == pytest.approx([high, low])
    expected = (high - math.log(1 - math.exp(-low))) / 2
    assert hsc_loss(outputs, torch.tensor([0, 1])).item() == pytest.approx(expected)
    anomalous = hsc_loss(outputs[:1], torch.tensor([1])).item()  # no rule for one-label batches
    assert anomalous == pytest.approx(-math.log(1 - math.exp(-high)))


def test_squared_error_is_element_wise() -> None:
    outputs, inputs = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[0.5, 4.0]]]])
    assert squared_error(outputs, inputs).flatten().tolist() == [0.25, 4.0]


def test_gradients_of_all_losses_are_right() -> None:
    outputs = torch.randn(3, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    vectors = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    truth = (torch.arange(18).view(3, 1, 2, 3) > 8).double()
    labels = torch.tensor([0, 1, 1])
    check = torch.autograd.gradcheck
    assert check(lambda o: fcdd_map_loss(anomaly_map(o), truth), (outputs,))
    assert check(lambda o: fcdd_loss(anomaly_map(o), labels), (outputs,))
    assert check(lambda z: hsc_loss(z, labels), (vectors,))
    assert check(lambda o: squared_error(o, torch.ones_like(o)).mean(), (outputs,))
