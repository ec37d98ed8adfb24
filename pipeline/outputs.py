"""What a trained run leaves: its evaluation, the files of its outputs, and at last its row."""

import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fcdd.audit import audit
from fcdd.config import Run, flatten
from fcdd.data.streamed import Streamed
from fcdd.data.task import Images, Pool, Task
from fcdd.evaluation import Evaluation, evaluate
from fcdd.pixels import PixelMetrics
from fcdd.shown import shown_heatmaps
from fcdd.training import Fit
from pipeline import environment, results


@dataclass(frozen=True)
class Trial:
    """A Run with its key, on its data."""

    key: str
    run: Run
    images: Images
    pool: Pool | None
    weights: Path | None = None  # pretrained weights, for nets that start from them


@dataclass(frozen=True)
class Circumstances:
    """Where and when a run was made, and with how many others in one stack; `stack_probe` is what
    a probe said of their number. Make it before the run starts."""

    device: torch.device
    commit: dict[str, Any]
    stack: int = 1
    stack_probe: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.perf_counter)

    def peak_gpu_bytes(self) -> int | None:
        """This run's share of the largest memory of the GPU so far; None without one."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) // self.stack


def finish(
    trial: Trial, task: Task, fitted: Fit, *, out: results.Place, circumstances: Circumstances
) -> dict[str, Any]:
    """Evaluates a trained run, writes scores, curve, heatmaps and at last its row, and returns the
    row. Raises what the evaluation raises, and OSError."""
    run, device = trial.run, circumstances.device
    evaluation_started = time.perf_counter()
    evaluation = evaluate(run, fitted.net, task)
    evaluate_seconds = time.perf_counter() - evaluation_started
    _write_outputs(trial, task, fitted, evaluation, out)
    images = len(task.train_images) * run.training.passes * len(fitted.epochs)
    row = {
        "schema_version": results.SCHEMA_VERSION,
        "key": trial.key,
        **{name: list(v) if isinstance(v, tuple) else v for name, v in flatten(run).items()},
        **_counts(trial, task),
        "image_auroc": evaluation.image_auroc,
        "image_ap": evaluation.image_ap,
        **_pixel_columns(evaluation.pixels),
        "train_loss": fitted.epochs[-1].train_loss,
        **environment.machine(device.type),
        **circumstances.commit,
        "device": _device_name(device),
        "started_at": circumstances.started_at.isoformat(timespec="seconds"),
        "train_seconds": fitted.train_seconds,
        "evaluate_seconds": evaluate_seconds,
        "total_seconds": time.perf_counter() - circumstances.started,
        "train_images_per_second": images / fitted.train_seconds,
        "peak_memory_bytes": _peak_memory_bytes(),
        "peak_gpu_bytes": circumstances.peak_gpu_bytes(),
        "stack": circumstances.stack,
        "stack_probe": circumstances.stack_probe,
        "execution": str(fitted.execution),
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
    trial: Trial, task: Task, fitted: Fit, evaluation: Evaluation, out: results.Place
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
