"""Between the steps of an epoch the host waits for no result of the device.

The epoch runs on the meta device, whose tensors have no values: whatever would have to wait for one
(item, nonzero, a copy to the host, a branch) raises there.
"""

import pytest
import torch
from torch import Tensor

from fcdd import objectives
from fcdd.config import Run, Supervision, change
from fcdd.data import batches as batches_module
from fcdd.data import noise as noise_module
from fcdd.data.batches import Batch, batches
from fcdd.data.constants import Normalisation
from fcdd.data.randomness import Streams, generator
from fcdd.data.task import Labelled, Task
from fcdd.nets.build import architecture
from fcdd.stacked_nets import stack_nets
from fcdd.stacked_optimisers import coefficients
from fcdd.stacked_steps import make_stack_step
from fcdd.steps import make_optimizer, make_step

META = torch.device("meta")
NUM = 7  # images: steps of 3, 3 and 1
OUTLIERS: dict[str, object] = {"outliers.source": "cifar100"}
NO_POOL: dict[str, object] = {"outliers.source": "none"}
TEXTURES: dict[str, object] = {
    **{"data.name": "textures", "data.normal_class": 0, "data.preprocessing": "lcnaug1"},
    **{"net.name": "FCDD_CNN32_S", "objective.maps": True},
    **NO_POOL,
}
SETTINGS: dict[str, dict[str, object]] = {
    "fmnist": {"data.name": "fmnist", "data.preprocessing": "lcnaug1", **OUTLIERS},
    "cifar10": {
        **{"data.name": "cifar10", "data.preprocessing": "aug1", "net.name": "FCDD_CNN32_LW3K"},
        **OUTLIERS,
    },
    "one-label batches as published": {"objective.one_label_batches": "published"},
    "sgd": {"training.optimizer": "sgd"},
    "hsc": {"objective.name": "hsc", "net.name": "CNN28"},
    "ae": {
        **{"objective.name": "ae", "net.name": "AE28", "supervision.mode": "unsupervised"},
        **NO_POOL,
    },
    "noise": {"supervision": Supervision(mode="noise", noise="gaussian"), **NO_POOL},
    "blobs": {"supervision": Supervision(mode="malformed_nominal", noise="blob"), **NO_POOL},
    "confetti with maps": {
        **TEXTURES,
        "supervision": Supervision(mode="malformed_nominal_maps", noise="confetti"),
    },
    "few maps and confetti": {
        **TEXTURES,
        "supervision": Supervision(
            mode="few_maps", noise="confetti", maps_per_defect=1, reserved_maps=1
        ),
    },
}


def a_task(run: Run) -> Task:
    """A task without values on the device, and with them where the host plans an epoch."""
    c, h, w = run.data.shape[0], *run.data.raw_size

    def images(num: int, channels: int = c) -> Tensor:
        return torch.empty((num, channels, h, w), dtype=torch.uint8, device=META)

    labelled = None
    if run.supervision.mode == "few_maps":
        labelled = Labelled(images(4), images(4, 1))
    return Task(
        train_images=images(NUM),
        outliers=images(NUM) if run.supervision.mode == "outlier_exposure" else None,
        test_images=torch.empty((2, *run.data.shape), dtype=torch.uint8, device=META),
        test_labels=torch.arange(2, dtype=torch.uint8),
        test_classes=torch.zeros(2, dtype=torch.int64),
        normalisation=Normalisation((0.0,) * c, (1.0,) * c, (0.5,) * c, (0.25,) * c),
        test_ids=torch.arange(2),
        labelled=labelled,
    )


@pytest.fixture(autouse=True)
def host_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no generator of the meta device; values that are never made may come from any."""

    def streams(seed: int, purpose: str, *, device: torch.device) -> Streams:
        assert device == META
        return Streams(generator(seed, purpose), generator(seed, f"{purpose}/host"))

    monkeypatch.setattr(batches_module, "streams", streams)
    monkeypatch.setattr(noise_module, "_dense", lambda stream, device: stream)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_step_waits(digits_run: Run, name: str) -> None:
    run = change(digits_run, {"training.batch_size": 3} | SETTINGS[name])
    with META:
        net = architecture(run.net, size=run.data.shape[1:]).train()
    upsampling = None
    if run.objective.maps:
        with META:
            field_net = architecture(run.net, size=run.data.shape[1:])
        upsampling = objectives.spread(run, field_net, device=META)
    step = make_step(run, net, make_optimizer(run, net), upsampling=upsampling)
    losses = [step(batch) for batch in batches(run, a_task(run), epoch=1)]
    assert [one.device for one in losses] == [META] * 3
    with pytest.raises(NotImplementedError, match="no data"):  # this is what waiting looks like
        losses[0].cpu()
    with pytest.raises(RuntimeError, match="meta"):
        losses[0].item()


@pytest.mark.parametrize("name", SETTINGS)
def test_no_step_of_a_stack_waits(digits_run: Run, name: str) -> None:
    base = change(digits_run, {"training.batch_size": 3} | SETTINGS[name])
    runs = [change(base, {"seed": seed}) for seed in range(2)]
    with META:
        nets = [architecture(run.net, size=run.data.shape[1:]).train() for run in runs]
    kind, weights = base.training.optimizer, base.training.weight_decay
    factors = coefficients(kind, lr=0.1, weight_decay=weights, steps=range(1, 4))
    factors = factors.float()[:, None].repeat(1, 2, 1).to(META)
    step = make_stack_step(base, nets[0], stack_nets(nets))
    served: list[list[Batch]] = [list(batches(run, a_task(run), epoch=1)) for run in runs]
    for number, given in enumerate(zip(*served, strict=True)):
        assert step(given, factors[number]).shape == (2,)
