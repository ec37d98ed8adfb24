"""Tune told of a worker that Ray's memory monitor ended, and what Tune keeps of trials."""

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


def test_tune_keeps_little_of_a_trial_that_is_done() -> None:
    """On Tune's own objects: 20 kB a trial are 200 MB of 10,000 runs."""
    pytest.importorskip("ray.tune")
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    from pipeline.sweep.memory import Forgetting, trials_not_saved

    trial = Trial("any", stub=True, _setup_default_resource=False)
    for number in range(3):
        trial.update_last_result({"done": True, "time_total_s": float(number)})
    assert trial.metric_analysis["time_total_s"]["max"] == 2
    Forgetting().on_trial_complete(1, [], trial)
    assert trial.metric_analysis == trial.metric_n_steps == {}
    assert trial.last_result["time_total_s"] == 2

    saved = SimpleNamespace(get_json_state=lambda: ("state", "results"), trial_id="a")
    controller: Any = SimpleNamespace(_trials_to_cache=[saved], _trial_metadata={})
    with trials_not_saved():
        assert TuneController._get_trial_checkpoints(controller) == {}
    assert TuneController._get_trial_checkpoints(controller) == {"a": ("state", "results")}
