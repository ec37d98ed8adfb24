"""One run: its task, training, evaluation, and the files they leave."""

import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fcdd.audit import audit
from fcdd.checkpoint import Checkpoints
from fcdd.config import Run, flatten
from fcdd.data.streamed import Streamed
from fcdd.data.task import Images, Pool, Task, make_task
from fcdd.evaluation import Evaluation, evaluate
from fcdd.pixels import PixelMetrics
from fcdd.shown import shown_heatmaps
from fcdd.training import Epoch, Fit, fit
from pipeline import environment, results


@dataclass(frozen=True)
class Trial:
    """A Run with its key, on its data."""

    key: str
    run: Run
    images: Images
    pool: Pool | None
    weights: Path | None = None  # pretrained weights, for nets that start from them


def execute(
    trial: Trial,
    *,
    out: Path,
    device: torch.device,
    commit: dict[str, Any],
    report: Callable[[Epoch], None] = lambda epoch: None,
    checkpoint_seconds: float | None = None,
) -> dict[str, Any]:
    """Runs `trial`, writes scores, curve, heatmaps and at last its row, and returns the row.

    With `checkpoint_seconds` it goes on from checkpoints/<key>/ if an interrupted run left one that
    fits, and replaces it about that often; it is removed when the row stands. Any failure is
    written to failures/<key>.txt and raised on.
    """
    places = None
    if checkpoint_seconds is not None:
        folder = results.checkpoint_path(out, trial.key)
        places = Checkpoints(folder, checkpoint_seconds, _identity(trial, device, commit))
    try:
        row = _execute(
            trial, out=out, device=device, commit=commit, report=report, checkpoints=places
        )
    except Exception:
        results.write_text(results.failure_path(out, trial.key), traceback.format_exc())
        raise
    if places:
        places.remove()
    return row


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
    out: Path,
    device: torch.device,
    commit: dict[str, Any],
    report: Callable[[Epoch], None],
    checkpoints: Checkpoints | None,
) -> dict[str, Any]:
    run, key = trial.run, trial.key
    started_at, started = datetime.now(UTC), time.perf_counter()
    torch.set_num_threads(run.threads)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    task = make_task(run, trial.images, trial.pool, device=device)
    fitted = fit(
        run, task, device=device, weights=trial.weights, report=report, checkpoints=checkpoints
    )
    evaluation_started = time.perf_counter()
    evaluation = evaluate(run, fitted.net, task)
    evaluate_seconds = time.perf_counter() - evaluation_started
    _write_outputs(trial, task, fitted, evaluation, out)
    row = {
        "schema_version": results.SCHEMA_VERSION,
        "key": key,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in flatten(run).items()},
        **_counts(trial, task),
        "image_auroc": evaluation.image_auroc,
        "image_ap": evaluation.image_ap,
        **_pixel_columns(evaluation.pixels),
        "train_loss": fitted.epochs[-1].train_loss,
        **environment.machine(device.type),
        **commit,
        "device": _device_name(device),
        "started_at": started_at.isoformat(timespec="seconds"),
        "train_seconds": fitted.train_seconds,
        "evaluate_seconds": evaluate_seconds,
        "total_seconds": time.perf_counter() - started,
        "train_images_per_second": (
            len(task.train_images) * run.training.passes * len(fitted.epochs) / fitted.train_seconds
        ),
        "peak_memory_bytes": _peak_memory_bytes(),
        "peak_gpu_bytes": (
            torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
        ),
    }
    results.write_row(out, row)
    return row


def _counts(trial: Trial, task: Task) -> dict[str, Any]:
    pool = trial.pool
    return {
        "class_name": trial.run.data.class_name,
        "data_fingerprint": trial.images.fingerprint,
        "outliers_fingerprint": pool.fingerprint if pool else "",
        "num_train": len(task.train_images),
        "num_outliers": sum(
            len(images)
            for images in (task.outliers, task.labelled and task.labelled.images)
            if images is not None
        ),
        "num_outliers_unreadable": (len(pool.unreadable) if pool else 0)
        + (len(task.outliers.unreadable) if isinstance(task.outliers, Streamed) else 0),
        "outliers_chosen": list(task.outliers_chosen) if task.outliers_chosen else None,
        "labelled_files": list(task.labelled_files) or None,
        "num_reserved": len(trial.images.test) - len(task.test_labels),
        "num_test": len(task.test_labels),
        "num_test_anomalous": int(task.test_labels.sum()),
    }


def _pixel_columns(pixels: PixelMetrics | None) -> dict[str, float | None]:
    names = [f"{name}{bound}" for bound in ("", "_bound") for name in ("auroc", "ap", "pro")]
    return {f"pixel_{name}": getattr(pixels, name) if pixels else None for name in names}


def _write_outputs(
    trial: Trial, task: Task, fitted: Fit, evaluation: Evaluation, out: Path
) -> None:
    run, key = trial.run, trial.key
    results.write_scores(
        out,
        key,
        {
            "id": task.test_ids.numpy(),
            "class": task.test_classes.numpy(),
            "label": task.test_labels.numpy(),
            "score": evaluation.scores.double().numpy(),
        },
    )
    results.write_curve(out, key, [asdict(epoch) for epoch in fitted.epochs])
    if evaluation.pixels:
        results.write_pixels(out, key, evaluation.pixels.histograms)
    results.write_heatmaps(out, key, **shown_heatmaps(run, fitted.net, task))
    if run.watermark.kind != "none":
        found = audit(run, fitted.net, task)
        results.write_audit(out, key, found.numbers(), **found.examples)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _peak_memory_bytes() -> int:
    # Of the worker process since its start, which earlier runs in the same worker share.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
