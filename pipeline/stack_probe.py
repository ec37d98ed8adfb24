"""How many runs to train as one stack (`fcdd.stacked`) on a device: measured, not guessed."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fcdd.config import Run, change
from fcdd.execution import EAGER, Execution
from fcdd.stacked import fit_stacked
from fcdd.training import Epoch, fit
from pipeline.probe import peak_bytes, random_task, restart_peak

_WORTH = 1.1  # twice as many runs must train at least this much faster together
_MEMORY_SHARE = 0.8  # of the device's memory; the rest is for evaluation and its heatmaps


@dataclass(frozen=True)
class Stacking:
    """One measured width: all `runs` together, in images per second, and the largest memory."""

    runs: int
    images_per_second: float
    peak_bytes: int


@dataclass(frozen=True)
class StackChoice:
    """The width to use, every width that was measured, and why no larger one is used."""

    runs: int
    measured: tuple[Stacking, ...]
    reason: str

    def __str__(self) -> str:
        """All of it in one line, for a row and its reader."""
        figures = [
            f"{one.runs}: {one.images_per_second:,.0f} images/s, {one.peak_bytes / 1e9:.1f} GB"
            for one in self.measured
        ]
        return f"{self.runs} together ({'; '.join(figures)}): {self.reason}"


def fitting_stack(
    run: Run,
    *,
    runs: int,
    device: torch.device,
    num_batches: int = 8,
    weights: Path | None = None,
    execution: Execution = EAGER,
) -> StackChoice:
    """`runs`, or as many as fit into memory: half of them, a quarter, and so on, each trained on
    random images. Raises ValueError when not even one run fits."""
    reason, wanted = f"{runs} were asked for", runs
    while runs:
        one = _fits(
            run,
            runs,
            device=device,
            num_batches=num_batches,
            weights=weights,
            execution=execution,
        )
        if one is not None and (runs == 1 or not _short(one.peak_bytes, device)):
            return StackChoice(runs, (one,), reason)
        runs //= 2
        reason = f"{wanted} were asked for, which do not fit into the memory of {_name(device)}"
    raise ValueError(_too_large(run, device))


def choose_stack(
    run: Run,
    *,
    device: torch.device,
    most: int = 64,
    num_batches: int = 8,
    weights: Path | None = None,
    execution: Execution = EAGER,
) -> StackChoice:
    """Trains stacks of 1, 2, 4, ... at most `most` runs like `run` on random images, `num_batches`
    per epoch, until twice as many are no faster together or memory is short.

    One run is trained as `fcdd.training.fit` does. Raises ValueError when not even one run fits.
    """
    measured: list[Stacking] = []
    runs, reason = 1, f"{most} runs are the most that were asked for"
    while runs <= most:
        one = _fits(
            run,
            runs,
            device=device,
            num_batches=num_batches,
            weights=weights,
            execution=execution,
        )
        if one is None:
            reason = f"{runs} runs do not fit into the memory of {_name(device)}"
            break
        if measured and one.images_per_second < _WORTH * measured[-1].images_per_second:
            reason = (
                f"{runs} runs train {one.images_per_second:,.0f} images/s together, "
                f"{measured[-1].runs} {measured[-1].images_per_second:,.0f}"
            )
            measured.append(one)
            break
        measured.append(one)
        if _short(one.peak_bytes * 2, device):
            reason = f"{2 * runs} runs would not fit into the memory of {_name(device)}"
            break
        runs *= 2
    if not measured:
        raise ValueError(_too_large(run, device))
    best = max(measured, key=lambda one: one.images_per_second)
    return StackChoice(best.runs, tuple(measured), reason)


def _too_large(run: Run, device: torch.device) -> str:
    return (
        f"not even one run of net.name {run.net.name!r} with training.batch_size "
        f"{run.training.batch_size} fits into the memory of {_name(device)}; lower "
        "training.batch_size or use --device cpu"
    )


def _short(needed_bytes: int, device: torch.device) -> bool:
    return needed_bytes > _MEMORY_SHARE * _memory_bytes(device)


def _fits(run: Run, runs: int, *, device: torch.device, **how: Any) -> Stacking | None:
    """The measurement; None where memory does not suffice."""
    try:
        return _measured(run, runs, device=device, **how)
    except torch.OutOfMemoryError:
        return None
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _measured(
    run: Run,
    runs: int,
    *,
    device: torch.device,
    num_batches: int,
    weights: Path | None,
    execution: Execution,
) -> Stacking:
    restart_peak(device)
    count = run.training.batch_size * num_batches
    short = change(
        run,
        {
            "training.epochs": 3,  # the first is for choosing kernels
            "training.passes": 1,
            "training.lr": 1e-9,  # random images would let weights grow
            "training.schedule": "exponential",
            "training.lr_milestones": [],
            "evaluation.test_every": 0,
        },
    )
    same = [change(short, {"seed": run.seed + number}) for number in range(runs)]
    tasks = [random_task(one, count, device) for one in same]
    times: list[float] = []

    def tell(epoch: Epoch) -> None:
        times.append(time.perf_counter())

    if runs == 1:
        fit(same[0], tasks[0], device=device, weights=weights, report=tell, execution=execution)
    else:
        quiet = [lambda epoch: None] * (runs - 1)
        outcomes = fit_stacked(
            same,
            tasks,
            device=device,
            reports=[tell, *quiet],
            weights=weights,
            execution=execution,
        )
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_bytes()
    return Stacking(runs, runs * count * 2 / (times[2] - times[0]), peak)


def _memory_bytes(device: torch.device) -> int:
    """What the device has; of a CPU no limit is known, as other programs share its memory."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return 1 << 62


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
