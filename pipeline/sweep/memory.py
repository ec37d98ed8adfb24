"""Memory: what Tune makes of a worker that Ray's monitor ended, and what Tune itself takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution.tune_controller import TuneController


@contextmanager
def ended_workers_told() -> Iterator[None]:
    """Within it Tune takes a worker that the memory monitor ended for one that was lost.

    Ray 2.60 tells of such a worker as RayActorError or, seen when it ends two at once, as
    OutOfMemoryError, which Tune does not know: it gives up the whole sweep.
    """
    known = RayActorManager._actor_task_failed

    def told(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        known(self, tracked_actor_task, exception)

    with _replaced(RayActorManager, "_actor_task_failed", told):
        yield


@contextmanager
def trials_not_saved() -> Iterator[None]:
    """Within it Tune writes down the state of a sweep without that of its trials, which nobody
    would read: rows are the truth. Of each trial it keeps what it wrote, 9 kB at the start and 20
    at the end."""
    with _replaced(TuneController, "_get_trial_checkpoints", lambda self: {}):
        yield


@contextmanager
def _replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    known = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, known)


class Forgetting(tune.Callback):
    """Lets Tune forget the statistics of a trial that is done, 20 kB of running means and extremes
    of times and counters. Comes after the callbacks that read trials."""

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.on_trial_complete(iteration, trials, trial)
