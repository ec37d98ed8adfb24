"""A sweep with Ray Tune, on this machine or on the cluster the driver belongs to.

Data sets and pools are loaded once, by the driver, and reach the workers through Ray's object
store: no worker holds a copy of its own, and none needs a data root.
"""

import logging
import queue
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune

from fcdd.config import Run
from fcdd.data.task import Images, Pool
from fcdd.training import Epoch
from pipeline import results
from pipeline.benchmark import Resources
from pipeline.sweep.events import Event, Failed, Finished, Progressed, Started

_REPORT_SECONDS = 2.0  # a report costs the driver some 10 ms; MLflow wants groups of epochs
_MAX_FAILURES = 1  # a lost worker is replaced once; a run that raised is not tried again


@dataclass(frozen=True)
class Planned:
    """A run of a sweep: its key, its Run, and the names under which its data were loaded."""

    key: str
    run: Run
    images: str
    pool: str | None


@dataclass(frozen=True)
class Surroundings:
    """What all runs of a sweep share, beside their data: none of it decides a result.

    `out` is the output folder, `weights` the file of pretrained weights."""

    out: Path
    device: str
    commit: dict[str, Any]
    weights: Path | None = None


def sweep(
    planned: list[Planned],
    images: Mapping[str, Images],
    pools: Mapping[str, Pool],
    *,
    surroundings: Surroundings,
    resources: Resources,
    address: str | None = None,
) -> Generator[Event, None, None]:
    """Executes the runs and yields events; each run ends in one Finished or Failed.

    Stopping the iteration (Ctrl-C) ends the workers; rows written by then stay.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are our events
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # Tune runs in a thread
    if address:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    events: queue.Queue[Event | BaseException | None] = queue.Queue()
    try:
        yield from _sweep(planned, images, pools, surroundings, resources, events)
    finally:
        ray.shutdown()


def _sweep(
    planned: list[Planned],
    images: Mapping[str, Images],
    pools: Mapping[str, Pool],
    surroundings: Surroundings,
    resources: Resources,
    events: "queue.Queue[Event | BaseException | None]",
) -> Iterator[Event]:
    trainable = tune.with_parameters(
        _execute, images=dict(images), pools=dict(pools), surroundings=surroundings
    )
    device = surroundings.device
    gpus = 1 / resources.runs_per_gpu if device == "cuda" else 0
    trainable = tune.with_resources(
        trainable,
        lambda config: tune.PlacementGroupFactory(
            [{"CPU": config["trial"]["threads"], "GPU": gpus}]
        ),
    )
    configs = [
        {
            "key": one.key,
            "run": one.run.model_dump_json(),
            "images": one.images,
            "pool": one.pool,
            "threads": one.run.threads,
        }
        for one in planned
    ]

    with tempfile.TemporaryDirectory(prefix="fcdd-tune-") as storage:
        tuner = tune.Tuner(
            trainable,
            param_space={"trial": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(
                reuse_actors=True, max_concurrent_trials=1 if device == "mps" else None
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                verbose=0,
                callbacks=[_Reporter(events)],
                failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
            ),
        )

        def work() -> None:
            try:
                tuner.fit()
                events.put(None)
            except BaseException as error:
                events.put(error)
                raise

        threading.Thread(target=work, name="tune", daemon=True).start()
        open_keys = {one.key for one in planned}
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Finished | Failed):
                open_keys.discard(event.key)
            yield event
        for key in sorted(open_keys):
            yield Failed(key, "the run ended without a row and without an error")


def _execute(
    config: dict[str, Any],
    *,
    images: dict[str, Images],
    pools: dict[str, Pool],
    surroundings: Surroundings,
) -> None:
    import torch

    from pipeline.trial import Trial, execute

    one = config["trial"]
    key, folder = one["key"], surroundings.out
    failure = results.failure_path(folder, key)
    if failure.exists():  # Tune tries again what raised, but the same Run raises the same error
        raise RuntimeError(f"this run failed before: {failure}")
    waiting: list[dict[str, Any]] = []
    told = time.monotonic()

    def report(epoch: Epoch) -> None:
        nonlocal told
        waiting.append(asdict(epoch))
        if time.monotonic() - told > _REPORT_SECONDS:
            tune.report({"key": key, "epochs": list(waiting)})
            waiting.clear()
            told = time.monotonic()

    row = execute(
        Trial(
            key,
            Run.model_validate_json(one["run"]),
            images[one["images"]],
            pools[one["pool"]] if one["pool"] else None,
            surroundings.weights,
        ),
        out=folder,
        device=torch.device(surroundings.device),
        commit=surroundings.commit,
        report=report,
    )
    tune.report({"key": key, "epochs": list(waiting), "row": row})


class _Reporter(tune.Callback):
    """Turns what Tune observes into events."""

    def __init__(self, events: "queue.Queue[Event | BaseException | None]") -> None:
        self._events = events

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that we never make

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._events.put(Started(trial.config["trial"]["key"]))

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        if result.get("epochs"):
            self._events.put(Progressed(result["key"], result["epochs"]))
        if result.get("row"):
            self._events.put(Finished(result["key"], result["row"]))

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._events.put(Failed(trial.config["trial"]["key"], _reason(trial)))


def _reason(trial: Any) -> str:
    lines = [line for line in str(trial.get_error() or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its worker was lost"
