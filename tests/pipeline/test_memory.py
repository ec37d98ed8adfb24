"""Tune's own manager of actors, told of a worker that Ray's memory monitor ended."""

from types import SimpleNamespace
from typing import Any

import pytest


def test_worker_ended_for_memory_is_a_lost_one_and_not_the_end_of_the_sweep() -> None:
    ray_exceptions = pytest.importorskip("ray.exceptions")
    from ray.air.execution._internal.actor_manager import RayActorManager

    from pipeline.sweep.memory import ended_workers_told

    told: list[Exception] = []
    worker = SimpleNamespace(actor_id=1, _on_error=lambda actor, error: told.append(error))
    task: Any = SimpleNamespace(_tracked_actor=worker, _on_error=None)
    manager: Any = SimpleNamespace(_failed_actor_ids=set())
    manager._cleanup_actor = lambda tracked_actor: None
    ended = ray_exceptions.OutOfMemoryError("killed due to the node running low on memory")

    with pytest.raises(RuntimeError, match="Caught unexpected exception"):  # Ray's fault
        RayActorManager._actor_task_failed(manager, task, ended)
    assert told == []
    with ended_workers_told():
        RayActorManager._actor_task_failed(manager, task, ended)
    (error,) = told
    assert isinstance(error, ray_exceptions.RayActorError)
    assert "the node running low on memory" in str(error)
    assert manager._failed_actor_ids == {1}
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        RayActorManager._actor_task_failed(manager, task, ended)
