"""Runs that several processes train together, each on a GPU of its own (`fcdd.parallel`): one Tune
trial is one Ray Train job.

The process of rank 0 does all that a worker of a single run does: heartbeat, time limit,
checkpoints, files, row. The others share the training. Ray Train lets all of them report, or none.
"""

import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import ray
from ray import train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from fcdd.config import Run
from pipeline import results, running
from pipeline.sweep.nodes import hold_unless_fit
from pipeline.sweep.planned import Planned
from pipeline.sweep.worker import Reports, Surroundings, noted, time_limit

logger = logging.getLogger(__name__)

# CPUs of the trial, which waits for its team; a process of the team takes so much less, so that the
# teams of a node never need more CPUs than their threads.
WAITING_CPU = 0.01


def teams_of(planned: Sequence[Planned]) -> tuple[list[Planned], list[Planned]]:
    """Those that a team can train, and the others, each kind of reason logged once."""
    from fcdd.parallel import why_not_parallel

    fit: list[Planned] = []
    single: list[Planned] = []
    told: set[str] = set()
    for one in planned:
        reason = why_not_parallel(one.run)
        (single if reason else fit).append(one)
        if reason and reason not in told:
            told.add(reason)
            logger.warning("runs with one GPU each: %s", reason)
    return fit, single


def execute_team_config(
    config: dict[str, Any],
    *,
    images: Mapping[str, "ray.ObjectRef[Any]"],
    pools: Mapping[str, "ray.ObjectRef[Any]"],
    surroundings: Surroundings,
    size: int,
) -> None:
    """Executes the run that `config` describes by a team of `size` processes, on a GPU each where
    the device is "cuda", and reports its epochs and its row to Tune.

    Raises RuntimeError with what the first process that failed says, and for a run that failed
    before.
    """
    one = config["trial"]
    if one.get("ended"):  # by `Reporter`: Tune lets no callback take back an attempt
        raise RuntimeError("this attempt is not made")
    failure = results.failure_path(surroundings.out, one["key"])
    if failure.exists():  # Tune tries again what raised, but the same Run raises the same error
        raise RuntimeError(f"this run failed before: {failure}")
    on_gpu = surroundings.device == "cuda"
    with tempfile.TemporaryDirectory(prefix="fcdd-train-") as storage:
        trainer = TorchTrainer(
            _member,
            train_loop_config={
                **one,
                "images": images[one["images"]],
                "pool": pools[one["pool"]] if one["pool"] else None,
                "surroundings": surroundings,
            },
            torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
            scaling_config=train.ScalingConfig(
                num_workers=size,
                use_gpu=on_gpu,
                resources_per_worker={
                    "CPU": one["threads"] - WAITING_CPU,
                    **({"GPU": 1} if on_gpu else {}),
                },
            ),
            run_config=train.RunConfig(
                name=one["key"],
                storage_path=storage,
                callbacks=[TuneReportCallback()],
                failure_config=train.FailureConfig(max_failures=0),  # Tune counts them
            ),
        )
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            raise RuntimeError(_first_failure(error)) from error


def _first_failure(error: Exception) -> str:
    failures = getattr(error, "worker_failures", None)
    if not failures:
        return f"its team of processes failed: {error}"
    rank = min(failures)
    lines = [line.strip() for line in str(failures[rank]).splitlines() if line.strip()]
    last = lines[-1] if lines else repr(failures[rank])
    return f"process {rank} of its team failed: {last}"


def _member(given: dict[str, Any]) -> None:
    """What each process of a team does."""
    import torch

    from fcdd.parallel import Team
    from pipeline.trial import Trial, assist, execute

    surroundings: Surroundings = given["surroundings"]
    if surroundings.required:
        hold_unless_fit(surroundings.required, logger.warning)
    team = Team.of_this_process()
    on_gpu = surroundings.device == "cuda"
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    key, folder, run = given["key"], surroundings.out, Run.model_validate_json(given["run"])
    trial = Trial(
        key,
        run,
        ray.get(given["images"]),
        ray.get(given["pool"]) if given["pool"] is not None else None,
        surroundings.weights,
    )
    if not team.leads:
        followed = _Followed(team)
        assist(
            trial,
            out=folder,
            device=device,
            commit=surroundings.commit,
            team=team,
            report=followed.add,
            checkpoint_seconds=surroundings.checkpoint_seconds,
        )
        train.report({})  # the row's
        return
    reports = _Led(folder, key, run.training.epochs, team)
    try:
        with ExitStack() as stack:
            where = running.overtime_path(folder, key)
            stack.enter_context(time_limit(surroundings.time_limit_seconds, where))
            stack.enter_context(noted(reports.notes))
            stack.enter_context(reports.beating())
            row = execute(
                trial,
                out=folder,
                device=device,
                commit=surroundings.commit,
                report=reports.add,
                checkpoint_seconds=surroundings.checkpoint_seconds,
                team=team,
            )
    finally:
        running.end(folder, key)
    reports.tell(row=row)


class _Led(Reports):
    """The reports of the leading process, which decides for all when to report."""

    def __init__(self, folder: results.Place, key: str, epochs: int, team: Any) -> None:
        super().__init__(folder, key, epochs, send=train.report)
        self._team = team

    def due(self) -> bool:
        return self._team.leader_says(super().due())


class _Followed:
    """Reports nothing, whenever the leading process reports."""

    def __init__(self, team: Any) -> None:
        self._team = team

    def add(self, epoch: Any) -> None:
        if self._team.leader_says(False):
            train.report({})
