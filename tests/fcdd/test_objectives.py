import math

import pytest
import torch
from torch import Tensor, nn

from fcdd import objectives
from fcdd.config import Run, change
from fcdd.data.batches import Batch
from fcdd.heatmaps import gaussian_blur, upsample
from fcdd.losses import anomaly_map
from fcdd.nets.build import blur_twin, build, receptive_field

UNSUPERVISED = {
    "outliers.source": "none",
    "supervision.mode": "unsupervised",
    "data.preprocessing": "none",
}
HSC = UNSUPERVISED | {"objective.name": "hsc", "net.name": "CNN28"}
AE = UNSUPERVISED | {"objective.name": "ae", "net.name": "AE28"}


class Embedding(nn.Module):
    """z = W x of flattened images, and one dropout that must be off when explaining."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.9)
        self.linear = nn.Linear(2 * 9, 5, dtype=torch.float64)

    def forward(self, images: Tensor) -> Tensor:
        return self.dropout(self.linear(images.flatten(1)))


def with_maps(run: Run, **changes: object) -> Run:
    parts = {
        "data.name": "textures",
        "net.name": "FCDD_CNN32_S",
        "data.normal_class": 0,
        "objective.maps": True,
    }
    return change(run, UNSUPERVISED | parts | changes)


def test_hsc_heatmaps_are_the_absolute_input_gradients_of_each_samples_own_score(
    digits_run: Run,
) -> None:
    run, net = change(digits_run, HSC), Embedding().eval()
    inputs = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    scores, maps = objectives.explain(run, net, inputs=inputs, to_heatmap=None)
    weight, bias = net.linear.weight.detach(), net.linear.bias.detach()
    for x, score, heatmap in zip(inputs, scores, maps, strict=True):
        z = weight @ x.flatten() + bias
        norm = math.sqrt(float(z @ z) + 1)
        assert score.item() == pytest.approx(norm - 1)
        expected = (weight.T @ z / norm).view(2, 3, 3).abs().sum(0, keepdim=True)
        torch.testing.assert_close(heatmap, expected)


def test_explaining_keeps_no_graph_and_leaves_no_gradient(digits_run: Run) -> None:
    run, net = change(digits_run, HSC), Embedding().eval()
    with torch.inference_mode():  # a caller may have switched gradients off
        inputs = torch.randn(2, 2, 3, 3, dtype=torch.float64)
        scores, maps = objectives.explain(run, net, inputs=inputs, to_heatmap=None)
    assert not scores.requires_grad
    assert not maps.requires_grad
    assert all(parameter.grad is None for parameter in net.parameters())
    assert maps.max().item() > 0


def test_a_frozen_net_still_explains(digits_run: Run) -> None:
    run, net = change(digits_run, HSC), Embedding().eval().requires_grad_(False)
    inputs = torch.randn(2, 2, 3, 3, dtype=torch.float64)
    _, maps = objectives.explain(run, net, inputs=inputs, to_heatmap=None)
    assert maps.max().item() > 0


def test_autoencoder_scores_and_heatmaps_are_means_of_the_squared_error(digits_run: Run) -> None:
    run = change(digits_run, AE)
    inputs = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # [1, 2, 1, 2]
    net = nn.Threshold(10.0, 0.5)  # reconstructs 0.5 everywhere
    scores, maps = objectives.explain(run, net, inputs=inputs, to_heatmap=None)
    assert maps.tolist() == [[[[(0.25 + 6.25) / 2, (2.25 + 12.25) / 2]]]]
    assert scores.item() == pytest.approx((0.25 + 6.25 + 2.25 + 12.25) / 4)
    assert objectives.image_scores(run, net(inputs), inputs=inputs).item() == scores.item()
    batch = Batch(inputs, torch.tensor([False]), None)
    assert objectives.loss(run, net(inputs), batch=batch).item() == scores.item()


@pytest.mark.parametrize("upsampling", ["mended", "published"])
def test_fcdd_heatmaps_are_the_upsampled_anomaly_map(digits_run: Run, upsampling: str) -> None:
    run = change(digits_run, {"heatmaps.upsampling": upsampling})
    net = build(run).eval()
    inputs = torch.rand(3, 1, 28, 28)
    spread = objectives.spread(run, net, device="cpu")
    scores, maps = objectives.explain(run, net, inputs=inputs, to_heatmap=spread)
    anomaly = anomaly_map(net(inputs)).detach()
    torch.testing.assert_close(scores, anomaly.mean(dim=(1, 2, 3)))
    expected = upsample(
        anomaly,
        receptive_field(net, (28, 28)),
        size=(28, 28),
        std=1.2,
        upsampling=run.heatmaps.upsampling,
    )
    torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize("changes", [HSC, AE], ids=["hsc", "ae"])
def test_the_blur_of_the_baselines_is_the_gaussian_of_their_twin(
    digits_run: Run, changes: dict[str, object]
) -> None:
    plain = change(digits_run, changes)
    net = nn.Identity()
    assert objectives.spread(plain, net, device="cpu") is None
    run = change(plain, {"heatmaps.blur": "gaussian"})
    spread = objectives.spread(run, net, device="cpu")
    assert spread is not None
    expected = gaussian_blur(blur_twin(run), size=(28, 28), std=1.2)
    assert torch.equal(spread.rows, expected.rows)
    assert int((spread.rows[14] > 0).sum()) == 15  # 16 pixels of FCDD_CNN28, less one


def test_losses_go_to_their_objective(digits_run: Run) -> None:
    inputs, labels = torch.zeros(2, 1, 28, 28), torch.tensor([True, True])
    batch = Batch(inputs, labels, None)
    outputs = torch.full((2, 1, 7, 7), 2.0)
    m, h = math.sqrt(5) - 1, math.sqrt(49 * 4 + 1) - 1
    pushed = -math.log(1 - math.exp(-m))
    assert objectives.loss(digits_run, outputs, batch=batch).item() == pytest.approx(pushed)
    published = change(digits_run, {"objective.one_label_batches": "published"})
    assert objectives.loss(published, outputs, batch=batch).item() == pytest.approx(m)
    hsc = objectives.loss(change(digits_run, HSC), outputs.flatten(1), batch=batch)
    assert hsc.item() == pytest.approx(-math.log(1 - math.exp(-h)), abs=1e-7)


def test_the_pixel_level_loss_goes_by_the_maps_and_upsamples(digits_run: Run) -> None:
    run = with_maps(digits_run)
    net = build(run)
    spread = objectives.spread(run, net, device="cpu")
    maps = torch.zeros(1, 1, 64, 64)
    maps[..., :32] = 1
    batch = Batch(torch.zeros(1, 3, 64, 64), torch.tensor([False]), maps)
    outputs = torch.full((1, 1, 16, 16), 2.0)
    a = math.sqrt(5) - 1  # "mended" keeps a constant map
    expected = a / 2 - math.log(1 - math.exp(-a / 2))
    found = objectives.loss(run, outputs, batch=batch, upsampling=spread)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="objective.maps needs the upsampling"):
        objectives.loss(run, outputs, batch=batch)


def test_published_maps_loss_carries_the_gain_of_the_kernel(digits_run: Run) -> None:
    run = with_maps(digits_run, **{"heatmaps.upsampling": "published"})
    spread = objectives.spread(run, build(run), device="cpu")
    assert spread is not None
    outputs = torch.ones(1, 1, 16, 16)
    batch = Batch(torch.zeros(1, 3, 64, 64), torch.tensor([False]), torch.zeros(1, 1, 64, 64))
    gain = spread(torch.ones(1, 1, 16, 16)).mean().item()
    assert abs(gain - 1) > 0.05
    found = objectives.loss(run, outputs, batch=batch, upsampling=spread).item()
    assert found == pytest.approx(gain * (math.sqrt(2) - 1), rel=1e-5)
