"""How fast this machine is at the work of a run, from a second of it on random images."""

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fcdd import objectives
from fcdd.catalog import WITH_DEFECTS
from fcdd.config import Run, change
from fcdd.data.masks import Masks
from fcdd.data.task import Images, Pool, Task, make_task
from fcdd.evaluation import evaluate
from fcdd.nets.build import architecture
from fcdd.training import make_optimizer, train_epoch
from pipeline.forecast import Rate

_FIRST_IMAGES = 4  # enough to see how many a second takes
_MOST_BATCHES = 20
_TEST_IMAGES = (16, 512)  # fewest and most that are evaluated
_ON_DISK = ("imagenet1k", "imagenet22k")  # pools that stream
_MASK_SIDE = 900  # ours: MVTec-AD has 700 to 1,024 pixels a side


def probe(run: Run, *, device: torch.device, seconds: float = 1.0) -> Rate:
    """The speed and memory of `run` on random images of its shape, without its pretrained weights,
    which cost nothing once loaded.

    Trains for about `seconds` after a warm-up, and evaluates as long; a CPU's seconds are processor
    time, so a busy machine is judged as if it were idle. A batch that would take
    longer is cut and its memory scaled; the source then says so. Leaves the number of threads as it
    was.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(run.threads)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return _probe(run, device, seconds)
    finally:
        torch.set_num_threads(before)


def _probe(run: Run, device: torch.device, seconds: float) -> Rate:
    start_bytes = restart_peak(device)
    torch.manual_seed(0)
    net = architecture(run.net, size=run.data.shape[1:]).to(device)
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    step = _training(run, net, _FIRST_IMAGES, device)
    step()  # what happens once, such as choosing kernels
    clock = _cpu_clock(run.threads) if device.type == "cpu" else time.perf_counter
    images = math.ceil(_FIRST_IMAGES / _timed(step, clock) * seconds / 3)
    size = min(run.training.batch_size, max(images, _FIRST_IMAGES))
    total = size * min(_MOST_BATCHES, max(1, images // size))
    cut = run.training.batch_size / size
    step = _training(change(run, {"training.batch_size": size}), net, total, device)
    step()
    times = [_timed(step, clock)]
    while len(times) < 2 or sum(times) < seconds:
        times.append(_timed(step, clock))
    trained_bytes = peak_bytes()
    fewest, most = _TEST_IMAGES
    test = random_task(run, _FIRST_IMAGES, device, num_test=min(max(images, fewest), most))
    tests = [_timed(lambda: evaluate(run, net, test), clock) for _ in range(2)]
    return Rate(
        total / statistics.median(times),
        len(test.test_labels) / min(tests),
        max(start_bytes + _whole(trained_bytes - start_bytes, net, cut), peak_bytes()),
        _whole(torch.cuda.max_memory_allocated(device), net, cut)
        if device.type == "cuda"
        else None,
        f"probe: {total * len(times)} images in {sum(times):.1f} s, {run.threads} thread(s)"
        + (f", batches of {size} for {run.training.batch_size}" if cut > 1 else "")
        + (", without decoding the pool" if run.outliers.source in _ON_DISK else ""),
    )


def _training(run: Run, net: nn.Module, count: int, device: torch.device) -> Callable[[], float]:
    run = change(run, {"training.passes": 1})
    task = random_task(run, count, device)
    optimizer = make_optimizer(run, net)
    upsampling = objectives.spread(run, net, device=device) if run.objective.maps else None
    # A rate that moves nothing: random images would make weights grow without bound.
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    return lambda: train_epoch(
        run, task, net=net, optimizer=optimizer, epoch=1, upsampling=upsampling
    )


def _cpu_clock(threads: int) -> Callable[[], float]:
    """Processor time per thread: what the clock would show if no other program ran."""
    return lambda: time.process_time() / threads


def _timed(step: Callable[[], object], clock: Callable[[], float]) -> float:
    started = clock()
    step()  # ends with a copy to the host, so waits for the device
    return max(clock() - started, 1e-6)


def _whole(measured: int, net: nn.Module, cut: float) -> int:
    """Bytes with whole batches, of those measured with batches 1 / `cut` as large: activations grow
    with the batch; parameters, gradients and two moments do not."""
    parameters = sum(p.numel() * p.element_size() for p in net.parameters())
    fixed = min(measured, 4 * parameters)
    return fixed + int((measured - fixed) * cut)


def random_task(
    run: Run, count: int, device: torch.device, *, num_test: int = _TEST_IMAGES[0]
) -> Task:
    """`count` random nominal training images, a few to test, and what they are replaced with."""
    stream = np.random.default_rng(0)
    c, (h, w) = run.data.shape[0], run.data.raw_size

    def pixels(n: int) -> np.ndarray:
        return stream.integers(0, 256, (n, c, h, w), np.uint8)

    reserved = max(run.supervision.reserved_maps, run.supervision.maps_per_defect or 0)
    num_test += reserved
    anomalous = np.arange(num_test) % 2 > 0
    anomalous[:reserved] = True
    train = np.zeros(count, bool)
    if run.supervision.mode == "true_anomalies":
        train = np.concatenate([train, np.ones(count, bool)])
    masks = defects = None
    if run.data.name in WITH_DEFECTS or run.data.maps:
        square = np.zeros((_MASK_SIDE, _MASK_SIDE), bool)
        square[300:600, 300:600] = True
        sizes = [square.shape] * num_test
        masks = Masks.pack([square if a else None for a in anomalous], sizes)
        defects = tuple("defect" if a else "good" for a in anomalous)
    known = np.full(len(train), run.data.normal_class)
    images = Images(
        pixels(len(train)),
        known,
        pixels(num_test),
        np.full(num_test, run.data.normal_class),
        fingerprint="random",
        train_anomalous=train,
        test_anomalous=anomalous,
        train_masks=Masks.pack([np.ones((h, w), bool)] * len(train), [(h, w)] * len(train)),
        test_masks=masks,
        test_defects=defects,
    )
    limit = run.outliers.limit or 1
    pool = None if run.outliers.source == "none" else Pool(pixels(max(count, limit)), "random")
    return make_task(run, images, pool, device=device)


def restart_peak(device: torch.device) -> int:
    """Forgets the peak so far, where the system can, and returns the memory now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    if sys.platform == "linux":
        with suppress(OSError):  # a container may forbid it; the peak is then that of all probes
            Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes()


def peak_bytes() -> int:
    """The largest memory of this process, since `restart_peak` where the system keeps it."""
    if sys.platform == "linux":
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
