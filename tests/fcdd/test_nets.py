import pytest
import torch

from fcdd.catalog import NetName
from fcdd.config import Run, change
from fcdd.nets import small
from fcdd.nets.build import build, receptive_field
from fcdd.receptive import Axis, Layer, default_gauss_std, receptive_axis

# Parameters, outputs and receptive fields (n, j, r, s) of docs/method.md section 2.
PUBLISHED: dict[NetName, tuple[int, tuple[int, int, int, float]]] = {
    "FCDD_CNN28": (3457, (7, 4, 16, 1.5)),
    "FCDD_CNN28_W": (413441, (7, 4, 16, 1.5)),
    "FCDD_CNN32": (259201, (8, 4, 32, 1.5)),
    "FCDD_CNN32_S": (93569, (8, 4, 18, 1.5)),
    "FCDD_CNN32_LW3K": (1185537, (8, 4, 22, 1.5)),
}
NAMES = list(PUBLISHED)
NET_SHAPES = {name: (1, 28, 28) if "28" in name else (3, 32, 32) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_net_has_the_published_size_output_and_receptive_field(name: NetName) -> None:
    net = getattr(small, name)()
    parameters, field = PUBLISHED[name]
    assert sum(p.numel() for p in net.parameters()) == parameters
    c, h, w = NET_SHAPES[name]
    height, width = receptive_field(net, (h, w))
    assert height == width == Axis(*field)
    assert net(torch.rand(2, c, h, w)).shape == (2, 1, field[0], field[0])


@pytest.mark.parametrize("name", NAMES)
def test_receptive_field_is_what_the_gradient_reaches(name: NetName) -> None:
    c, h, w = NET_SHAPES[name]
    net = getattr(small, name)().double()
    net.eval()
    images = torch.rand(1, c, 2 * h, 2 * w, dtype=torch.float64, requires_grad=True)
    outputs = net(images)
    axis, _ = receptive_field(net, (2 * h, 2 * w))
    cell = outputs.shape[-1] // 2
    # Max pooling passes gradients to one input only, so many draws are joined.
    reached = torch.zeros(2 * h, dtype=torch.bool)
    for _ in range(20):
        images = torch.rand(1, c, 2 * h, 2 * w, dtype=torch.float64, requires_grad=True)
        (grad,) = torch.autograd.grad(net(images)[0, 0, cell, cell], images)
        reached |= grad.abs().sum(dim=(0, 1, 3)) > 0
    rows = reached.nonzero()[:, 0]
    first = axis.shift + cell * axis.jump - (axis.extent - 1) / 2
    assert rows.min() >= first
    assert rows.max() <= first + axis.extent - 1
    assert rows.max() - rows.min() + 1 >= axis.extent - 2


def test_rectangular_images_track_height_and_width_apart() -> None:
    net = small.FCDD_CNN32_S()
    height, width = receptive_field(net, (32, 48))
    assert (height.num_cells, width.num_cells) == (8, 12)
    assert net(torch.rand(1, 3, 32, 48)).shape == (1, 1, 8, 12)


def test_receptive_arithmetic_by_hand() -> None:
    # kernel 5, then pool 3 / stride 2 / padding 1: worked by hand.
    axis = receptive_axis(20, [Layer(5, 1, 2), Layer(3, 2, 1)])
    assert axis == Axis(num_cells=10, jump=2, extent=7, shift=0.0)
    with pytest.raises(ValueError, match="leaves no cell"):
        receptive_axis(3, [Layer(5, 1, 0)])


def test_default_gauss_std_follows_the_receptive_field() -> None:
    stds = [default_gauss_std(extent) for extent in (16, 18, 22, 32, 62)]
    assert stds == pytest.approx([1.1638, 1.2090, 1.2874, 10, 10], abs=1e-4)


def test_without_bias_neither_convolutions_nor_batch_norms_have_parameters_to_shift(
    digits_run: Run,
) -> None:
    net = build(change(digits_run, {"net.bias": False}))
    assert [name for name, _ in net.named_parameters()] == [
        "conv1.weight",
        "conv2.weight",
        "conv_final.weight",
    ]


def test_initialisation_follows_the_seed_and_leaves_the_global_generator_alone(
    digits_run: Run,
) -> None:
    before = torch.random.get_rng_state()
    first, again = build(digits_run), build(digits_run)
    other = build(change(digits_run, {"seed": 8}))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [net.state_dict()["conv1.weight"] for net in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
