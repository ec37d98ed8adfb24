"""What a Ray worker does: one run after the other, with a heartbeat in running/<key>.json."""

import os
import socket
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray import tune

from fcdd.config import Run
from fcdd.data.task import Images, Pool
from fcdd.training import Epoch
from pipeline import results, running

_REPORT_SECONDS = 2.0  # a report costs the driver some 10 ms; MLflow wants groups of epochs


@dataclass(frozen=True)
class Surroundings:
    """What all runs of a sweep share, beside their data: none of it decides a result.

    `out` is the output folder, `weights` the file of pretrained weights."""

    out: Path
    device: str
    commit: dict[str, Any]
    weights: Path | None = None


def execute_config(
    config: dict[str, Any],
    *,
    images: dict[str, Images],
    pools: dict[str, Pool],
    surroundings: Surroundings,
) -> None:
    """Executes the run that `config` describes and reports its epochs and its row to Tune.

    Raises what the run raises, and RuntimeError for one that failed before.
    """
    import torch

    from pipeline.trial import Trial, execute

    one = config["trial"]
    key, folder = one["key"], surroundings.out
    failure = results.failure_path(folder, key)
    if failure.exists():  # Tune tries again what raised, but the same Run raises the same error
        raise RuntimeError(f"this run failed before: {failure}")
    run = Run.model_validate_json(one["run"])
    trial = Trial(
        key,
        run,
        images[one["images"]],
        pools[one["pool"]] if one["pool"] else None,
        surroundings.weights,
    )
    reports = _Reports(folder, key, run.training.epochs)
    try:
        row = execute(
            trial,
            out=folder,
            device=torch.device(surroundings.device),
            commit=surroundings.commit,
            report=reports.add,
        )
    finally:
        running.end(folder, key)
    tune.report({"key": key, "epochs": reports.waiting, "row": row})


class _Reports:
    """Tells Tune about the epochs and writes the heartbeat, every few seconds."""

    def __init__(self, folder: Path, key: str, epochs: int) -> None:
        self._folder, self._key = folder, key
        self._fixed = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": _now(),
            "epochs": epochs,
        }
        self.waiting: list[dict[str, Any]] = []
        self._beat(epoch=0)

    def add(self, epoch: Epoch) -> None:
        self.waiting.append(asdict(epoch))
        if time.monotonic() - self._told > _REPORT_SECONDS:
            tune.report({"key": self._key, "epochs": self.waiting})
            self.waiting = []
            self._beat(epoch=epoch.epoch)

    def _beat(self, *, epoch: int) -> None:
        beat = self._fixed | {"epoch": epoch, "beat_at": _now()}
        running.write(self._folder, self._key, beat)
        self._told = time.monotonic()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
