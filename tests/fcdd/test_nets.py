"""Building the net of a run."""

import pytest
import torch

from fcdd.config import Run, change
from fcdd.nets import hsc, small
from fcdd.nets.build import blur_twin, build, receptive_field
from fcdd.nets.drawing import seeded_layers
from fcdd.receptive import Axis


def test_nets_that_return_no_map_have_no_receptive_field() -> None:
    with pytest.raises(ValueError, match="Flatten is no operation on places"):
        receptive_field(hsc.CNN28(), (28, 28))


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


def test_an_unused_batch_norm_is_owned_and_never_run() -> None:
    net = small.FCDD_CNN32_LW3K()
    net(torch.rand(4, 3, 32, 32)).mean().backward()
    counts = {name: int(t) for name, t in net.state_dict().items() if "num_batches" in name}
    assert counts == {
        "bn2d1.num_batches_tracked": 1,
        "bn2d2.num_batches_tracked": 1,
        "bn2d25.num_batches_tracked": 1,
        "bn2d3.num_batches_tracked": 0,
    }
    assert net.get_parameter("bn2d3.weight").grad is None


HSC_SHAPES: dict[str, dict[str, object]] = {
    "28": {},
    "32": {"data.name": "cifar10", "data.normal_class": 0, "data.preprocessing": "lcn"},
    "224": {"data.name": "imagenet30", "data.normal_class": 0, "data.preprocessing": "none"},
}
# The FCDD net whose Gaussian smooths: (n, j, r, s) of docs/method.md section 2.
TWINS: dict[str, tuple[str, Axis]] = {
    **dict.fromkeys(("CNN28", "CNN28_W", "AE28", "AE28_W"), ("28", Axis(7, 4, 16, 1.5))),
    **dict.fromkeys(("CNN32", "AE32"), ("32", Axis(8, 4, 18, 1.5))),
    **dict.fromkeys(("CNN32_LW3K", "AE32_LW3K"), ("32", Axis(8, 4, 22, 1.5))),
    **dict.fromkeys(("CNN224", "AE224"), ("224", Axis(28, 8, 59, 0.0))),
    **dict.fromkeys(
        (
            *("CNN224_VGG", "CNN224_VGG_F", "CNN224_VGG_NOPT", "CNN224_VGG_NOPT_1000"),
            *("AE224_VGG", "AE224_VGG_F", "AE224_VGG_NOPT"),
        ),
        ("224", Axis(28, 8, 62, 3.5)),
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_heatmaps_of_baselines_are_smoothed_by_the_published_twin(
    digits_run: Run, name: str
) -> None:
    size, axis = TWINS[name]
    objective = "ae" if name.startswith("AE") else "hsc"
    unsupervised: dict[str, object] = {
        "supervision.mode": "unsupervised",
        "outliers.source": "none",
    }
    changes = {**HSC_SHAPES[size], **unsupervised, "net.name": name, "objective.name": objective}
    assert blur_twin(change(digits_run, changes)) == (axis, axis)


def test_an_fcdd_net_has_no_blur_twin(digits_run: Run) -> None:
    with pytest.raises(ValueError, match="'FCDD_CNN28' has no blur twin"):
        blur_twin(digits_run)


def test_layers_that_draw_follow_seed_and_epoch_and_leave_the_global_generator_alone(
    digits_run: Run,
) -> None:
    dropout, ones = torch.nn.Dropout(), torch.ones(1000)
    before = torch.random.get_rng_state()

    def drawn(run: Run, epoch: int) -> torch.Tensor:
        with seeded_layers(run, epoch=epoch, device=torch.device("cpu")):
            return dropout(ones)

    first = drawn(digits_run, 1)
    assert torch.equal(first, drawn(digits_run, 1))
    assert not torch.equal(first, drawn(digits_run, 2))
    assert not torch.equal(first, drawn(change(digits_run, {"seed": 8}), 1))
    assert torch.equal(before, torch.random.get_rng_state())
