"""Several runs trained as one stack (`fcdd.stacked`); each leaves what a single run leaves."""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from fcdd.data.task import Task, make_task
from fcdd.execution import EAGER, Execution
from fcdd.stacked import fit_stacked
from fcdd.training import Epoch, Fit, fit
from pipeline import results
from pipeline.outputs import Circumstances, Trial, finish
from pipeline.trial import NotWritten, device_watched, note_failure, written

logger = logging.getLogger("fcdd.stack")  # what the method logs reaches the driver


@dataclass(frozen=True)
class Ended:
    """A run of a stack with its row, or the error that it ended with. Of any but NotWritten its
    failure file tells."""

    key: str
    row: dict[str, Any] | None
    error: Exception | None = None


@dataclass(frozen=True)
class _Made:
    """A trial with its task, and whom it tells about epochs."""

    trial: Trial
    task: Task
    report: Callable[[Epoch], None]


def execute_stack(
    trials: Sequence[Trial],
    *,
    out: results.Place,
    circumstances: Circumstances,
    reports: Mapping[str, Callable[[Epoch], None]],
    execution: Execution = EAGER,
) -> Iterator[Ended]:
    """Trains the runs together and yields each as it ends, its row written.

    A run that fails does so alone. Where memory is too small for all, each half is tried by itself,
    from the beginning. There are no checkpoints: interrupted, a stack begins anew. `circumstances`
    name how many runs were to be trained together; rows say how many were. Raises DeviceLost, and
    what is no single run's fault.
    """
    device = circumstances.device
    torch.set_num_threads(trials[0].run.threads)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with device_watched():
        made: list[_Made] = []
        for trial in trials:
            try:
                task = make_task(trial.run, trial.images, trial.pool, device=device)
            except (ValueError, OSError) as error:
                yield _failed(out, trial.key, error)
                continue
            task = _sharing(task, made[0].task) if made else task
            made.append(_Made(trial, task, reports[trial.key]))
        for one, fitted, width in _fitted(made, device=device, execution=execution):
            where = replace(circumstances, stack=width)
            yield _ended(one, fitted, out=out, circumstances=where)


def _ended(
    one: _Made, fitted: Fit | Exception, *, out: results.Place, circumstances: Circumstances
) -> Ended:
    key = one.trial.key
    if isinstance(fitted, Exception):
        return _failed(out, key, fitted)
    try:
        with written(key, out):
            row = finish(one.trial, one.task, fitted, out=out, circumstances=circumstances)
    except NotWritten as error:
        return Ended(key, None, error)
    except (ValueError, torch.OutOfMemoryError) as error:  # of the evaluation
        return _failed(out, key, error)
    return Ended(key, row)


def _failed(out: results.Place, key: str, error: Exception) -> Ended:
    note_failure(out, key, error)
    return Ended(key, None, error)


def _sharing(task: Task, first: Task) -> Task:
    """`task` with the tensors of `first` where they hold the same: a stack keeps its pool and its
    test images on the device once."""
    same: dict[str, Any] = {}
    for name in ("outliers", "test_images"):
        own, other = getattr(task, name), getattr(first, name)
        both = isinstance(own, torch.Tensor) and isinstance(other, torch.Tensor)
        if both and own.shape == other.shape and torch.equal(own, other):
            same[name] = other
    return replace(task, **same)


def _fitted(
    made: Sequence[_Made], *, device: torch.device, execution: Execution
) -> Iterator[tuple[_Made, Fit | Exception, int]]:
    """Each run with its outcome and the number of runs that were trained together."""
    if not made:
        return
    try:
        outcomes = _fit(made, device=device, execution=execution)
    except torch.OutOfMemoryError as error:
        if len(made) == 1:
            yield made[0], error, 1
            return
        half = len(made) // 2
        logger.warning(
            "%d runs as one stack do not fit into the memory of the device; %d and %d are tried",
            *(len(made), half, len(made) - half),
        )
    else:
        for one, outcome in zip(made, outcomes, strict=True):
            yield one, outcome, len(made)
        return
    if device.type == "cuda":
        gc.collect()  # recorded steps hold what they work on
        torch.cuda.empty_cache()
    for part in (made[:half], made[half:]):
        yield from _fitted(part, device=device, execution=execution)


def _fit(
    made: Sequence[_Made], *, device: torch.device, execution: Execution
) -> list[Fit | Exception]:
    weights = made[0].trial.weights
    if len(made) > 1:
        return fit_stacked(
            [one.trial.run for one in made],
            [one.task for one in made],
            device=device,
            reports=[one.report for one in made],
            weights=weights,
            execution=execution,
        )
    (one,) = made
    try:
        return [
            fit(
                one.trial.run,
                one.task,
                device=device,
                weights=weights,
                report=one.report,
                execution=execution,
            )
        ]
    except FloatingPointError as error:
        return [error]
