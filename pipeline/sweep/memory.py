"""What Tune makes of a worker that Ray's memory monitor ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError


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

    setattr(RayActorManager, "_actor_task_failed", told)  # noqa: B010
    try:
        yield
    finally:
        setattr(RayActorManager, "_actor_task_failed", known)  # noqa: B010
