"""One run: its task, training, evaluation, and the files they leave."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from fcdd.checkpoint import Checkpoints
from fcdd.data.task import make_task
from fcdd.execution import EAGER, Execution
from fcdd.parallel import Team
from fcdd.training import Epoch, fit
from pipeline import environment, results
from pipeline.outputs import Circumstances, finish
from pipeline.outputs import Trial as Trial


class DeviceLost(Exception):
    """The GPU failed, or is gone. That is no fault of the Run, so it leaves no failures/<key>.txt:
    another worker tries it again, on another GPU where there is one."""


class NotWritten(Exception):
    """The outputs of a run could not be written. That is no fault of the Run, so it leaves no
    failures/<key>.txt: the same command tries it again."""


def execute(
    trial: Trial,
    *,
    out: results.Place,
    device: torch.device,
    commit: dict[str, Any],
    report: Callable[[Epoch], None] = lambda epoch: None,
    checkpoint_seconds: float | None = None,
    execution: Execution = EAGER,
    stack_probe: str | None = None,
    team: Team | None = None,
) -> dict[str, Any]:
    """Runs `trial`, writes scores, curve, heatmaps and at last its row, and returns the row.

    With `checkpoint_seconds` it goes on from checkpoints/<key>/ if an interrupted run left one that
    fits, and replaces it about that often; it is removed when the row stands. Any failure is
    written to failures/<key>.txt and raised on, but for NotWritten and DeviceLost. `stack_probe`:
    what a probe said of stacks of such runs, for the row. With a `team` this process leads it, and
    the others `assist`.
    """
    places = _checkpoints(trial, out, device, commit, checkpoint_seconds)
    try:
        with device_watched():
            row = _execute(
                trial,
                out=out,
                device=device,
                commit=commit,
                report=report,
                checkpoints=places,
                execution=execution,
                stack_probe=stack_probe,
                team=team,
            )
    except (NotWritten, DeviceLost):
        raise
    except Exception as error:
        note_failure(out, trial.key, error)
        raise
    if places:
        places.remove()
    return row


def assist(
    trial: Trial,
    *,
    out: results.Place,
    device: torch.device,
    commit: dict[str, Any],
    team: Team,
    report: Callable[[Epoch], None] = lambda epoch: None,
    checkpoint_seconds: float | None = None,
) -> None:
    """Trains `trial` with the process that leads the `team` (`execute`), and writes nothing."""
    torch.set_num_threads(trial.run.threads)
    with device_watched():
        fit(
            trial.run,
            make_task(trial.run, trial.images, trial.pool, device=device),
            device=device,
            weights=trial.weights,
            report=report,
            checkpoints=_checkpoints(trial, out, device, commit, checkpoint_seconds),
            team=team,
        )


def _checkpoints(
    trial: Trial,
    out: results.Place,
    device: torch.device,
    commit: dict[str, Any],
    seconds: float | None,
) -> Checkpoints | None:
    if seconds is None:
        return None
    folder = results.checkpoint_path(out, trial.key)
    return Checkpoints(folder, seconds, _identity(trial, device, commit))


def note_failure(out: results.Place, key: str, error: Exception) -> None:
    """Writes the traceback of `error` to failures/<key>.txt, if the disk takes it."""
    text = "".join(traceback.format_exception(error))
    with suppress(OSError):
        results.write_text(results.failure_path(out, key), text)


@contextmanager
def device_watched() -> Iterator[None]:
    """Raises DeviceLost for an error of the GPU inside, after which nothing runs on it in this
    process."""
    try:
        yield
    except torch.AcceleratorError as error:
        raise DeviceLost(f"the GPU failed: {error}") from error


def _identity(trial: Trial, device: torch.device, commit: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for a row to be one run's: host and card may change, a CPU may not,
    because another one rounds otherwise."""
    machine = environment.machine(device.type)
    leave_out = {"host"} if device.type == "cpu" else {"host", "cpu"}
    return {
        "run": trial.run.model_dump(mode="json"),
        "data": trial.images.fingerprint,
        "outliers": trial.pool.fingerprint if trial.pool else "",
        "device": device.type,
        **{name: value for name, value in machine.items() if name not in leave_out},
        **commit,
    }


def _execute(
    trial: Trial,
    *,
    out: results.Place,
    device: torch.device,
    commit: dict[str, Any],
    report: Callable[[Epoch], None],
    checkpoints: Checkpoints | None,
    execution: Execution,
    stack_probe: str | None,
    team: Team | None,
) -> dict[str, Any]:
    circumstances = Circumstances(device, commit, stack_probe=stack_probe)
    torch.set_num_threads(trial.run.threads)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    task = make_task(trial.run, trial.images, trial.pool, device=device)
    fitted = fit(
        trial.run,
        task,
        device=device,
        weights=trial.weights,
        report=report,
        checkpoints=checkpoints,
        execution=execution,
        team=team,
    )
    with written(trial.key, out):
        return finish(trial, task, fitted, out=out, circumstances=circumstances)


@contextmanager
def written(key: str, out: results.Place) -> Iterator[None]:
    """Raises NotWritten for an OSError inside."""
    try:
        yield
    except OSError as error:
        raise NotWritten(
            f"run {key} is trained, but its outputs cannot be written to {out} ({error}); free "
            "space there or make it writable, then the same command goes on"
        ) from error
