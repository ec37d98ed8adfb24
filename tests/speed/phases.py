"""Images per second of every phase of a run, for one net after the other."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from figures import Figure, per_second, seconds, short, table
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from fcdd import objectives
from fcdd.config import Run, change
from fcdd.data.batches import Batch, batches
from fcdd.data.load import load
from fcdd.data.noise import noise
from fcdd.data.randomness import generator
from fcdd.evaluation import explain, image_scores
from fcdd.nets.build import architecture
from fcdd.pixels import pixel_metrics
from fcdd.regions import truth
from fcdd.training import make_optimizer
from jobs.select import load_spec
from pipeline.probe import peak_bytes, random_task, restart_peak

_SPECS = ("fmnist_small", "fmnist", "cifar10", "mvtec")  # FCDD_CNN28, _W, CNN32_LW3K, VGG
_MOST_PIXELS = 1 << 17  # of a batch on a CPU: 128 images of 28 or 32 pixels, 4 of 224
_MASK_SIDE = 1000


@dataclass(frozen=True)
class Phases:
    """What was measured of one net."""

    name: str
    batch: int
    flop_per_image: float
    activation_bytes: float  # of one image: what all layers return in one forward pass, float32
    augment: Figure  # all in images per second
    forward: Figure
    step: Figure
    evaluate: Figure
    heatmap: Figure
    peak_bytes: int


def runs(*, every_net: bool) -> Iterator[Run]:
    """The FCDD runs of four specs; or of all specs one run for each net."""
    from jobs.select import spec_names

    names = (*_SPECS, *(n for n in spec_names() if n not in _SPECS)) if every_net else _SPECS
    seen = set()
    for name in names:
        for run in load_spec(name).runs:
            known = run.net.name in seen
            if not known and (every_net or run.objective.name == "fcdd"):
                seen.add(run.net.name)
                yield run


def measure(run: Run, *, device: torch.device, n: int) -> Phases:
    """Times of `run` on random images, one thread on a CPU; without pretrained weights."""
    batch = run.training.batch_size
    if device.type == "cpu":
        h, w = run.data.shape[1:]
        batch = min(batch, 128, max(4, _MOST_PIXELS // (h * w)))
    run = change(run, {"training.batch_size": batch, "training.passes": 1})
    restart_peak(device)
    torch.manual_seed(0)
    net = architecture(run.net, size=run.data.shape[1:]).to(device)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(run, net)
    for group in optimizer.param_groups:
        group["lr"] = 0.0  # random images would make weights grow
    task = random_task(run, batch, device, num_test=batch)
    spread = objectives.spread(run, net, device=device) if run.objective.maps else None
    (one,) = batches(run, task, epoch=1)
    one = dataclasses.replace(one, inputs=one.inputs.contiguous(memory_format=torch.channels_last))
    net.train()

    def step(data: Batch = one) -> None:
        loss = objectives.loss(run, net(data.inputs), batch=data, upsampling=spread)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    returned: list[int] = []
    hooks = [
        module.register_forward_hook(lambda m, i, o: returned.append(o.numel() * o.itemsize))
        for module in net.modules()
        if not list(module.children())
    ]
    with FlopCounterMode(display=False) as counter:
        step()
    for hook in hooks:
        hook.remove()
    forward = seconds(lambda: net(one.inputs), device, n=n)
    stepped = seconds(step, device, n=n)
    augmented = seconds(lambda: list(batches(run, task, epoch=1)), device, n=n)
    images = task.test_images
    evaluated = seconds(lambda: image_scores(run, net, images, task=task), device, n=n)
    heat = seconds(lambda: list(explain(run, net, images, task=task)), device, n=n)
    return Phases(
        run.net.name,
        batch,
        counter.get_total_flops() / batch,
        sum(returned) / batch,
        per_second(batch, augmented),
        per_second(batch, forward),
        per_second(batch, stepped),
        per_second(len(images), evaluated),
        per_second(len(images), heat),
        torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_bytes(),
    )


def ceiling(device: torch.device, *, n: int) -> Figure:
    """FLOP per second of the best of a few float32 matrix products, with the threads set: square
    ones by the library for products, and all pixels of a batch by a matrix of channels, by the
    library for convolutions, which on some CPUs is twice as fast."""
    cpu = device.type == "cpu"
    found = []
    for side in (512, 1024, 2048) if cpu else (4096, 8192):
        a, b = torch.randn(side, side, device=device), torch.randn(side, side, device=device)
        taken = seconds(lambda a=a, b=b: a @ b, device, n=n)
        found.append(per_second(2 * side**3, taken))
    images, channels, side = (16, 256, 32) if cpu else (64, 512, 64)
    pixels = torch.randn(images, channels, side, side, device=device)
    pixels = pixels.to(memory_format=torch.channels_last)
    kernels = torch.randn(channels, channels, 1, 1, device=device)
    taken = seconds(lambda: conv2d(pixels, kernels), device, n=n)
    found.append(per_second(2 * images * side**2 * channels**2, taken))
    return max(found, key=lambda figure: figure.median)


def nets_table(measured: list[Phases], most: Figure) -> str:
    """One line per net."""
    header = ["net, batch", "augment", "forward", "forward + backward + step", "evaluate"]
    header += ["heatmap", "GFLOP per image and step", "activations, MB per image", "GFLOP/s"]
    header += ["of the ceiling", "peak memory MB"]
    rows = []
    for one in measured:
        reached = one.flop_per_image * one.step.median
        figures = (one.augment, one.forward, one.step, one.evaluate, one.heatmap)
        rows.append(
            [
                f"{one.name}, {one.batch}",
                *map(str, figures),
                short(one.flop_per_image / 1e9),
                short(one.activation_bytes / 1e6),
                short(reached / 1e9),
                f"{reached / most.median:.0%}",
                short(one.peak_bytes / 1e6),
            ]
        )
    return table(header, rows)


def loading(*, n: int) -> list[list[str]]:
    """Loading the data that come with the package."""
    rows = []
    for name in ("quickstart", "textures"):
        data = load_spec(name).runs[0].data
        images = load(data, None)  # with its imports
        taken = seconds(lambda data=data: load(data, None), torch.device("cpu"), n=min(n, 3))
        figure = per_second(len(images.train) + len(images.test), taken)
        rows.append([f"load {data.name}, images/s", str(figure)])
    return rows


def pixels_and_confetti(*, n: int) -> list[list[str]]:
    """Pixel metrics per million pixels, and confetti per image."""
    stream = np.random.default_rng(0)
    heatmap = torch.from_numpy(stream.random((_MASK_SIDE, _MASK_SIDE), np.float32))
    mask = np.zeros((_MASK_SIDE, _MASK_SIDE), bool)
    mask[200:500, 300:600] = True
    pairs = [(heatmap, truth(m, m.shape)) for m in (mask, np.zeros_like(mask), mask)]
    cpu = torch.device("cpu")
    taken = seconds(lambda: pixel_metrics(iter(pairs), pixels="histogram"), cpu, n=n)
    million = Figure(tuple(t * 1000 / (len(pairs) * _MASK_SIDE**2 / 1e6) for t in taken.values))
    count = 32
    made = seconds(
        lambda: noise(
            "confetti",
            count,
            shape=(3, 240, 240),
            stream=generator(0, "speed"),
            colours="mended",
            device=cpu,
        ),
        cpu,
        n=n,
    )
    each = Figure(tuple(t * 1000 / count for t in made.values))
    return [
        ["pixel AUROC, AP and PRO, ms per million pixels", str(million)],
        ["confetti 240 x 240, ms per image", str(each)],
    ]
