"""Which run a free worker gets."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")


def trial(name: str, *, failures: int = 0) -> Any:
    return SimpleNamespace(trial_id=name, status="PENDING", num_failures=failures)


def test_lost_run_goes_first_then_the_newest_that_is_pending() -> None:
    from pipeline.sweep.order import NewestFirst

    tune: Any = SimpleNamespace()
    order = NewestFirst()
    runs = [trial(name) for name in "abcd"]
    for one in runs:
        order.on_trial_add(tune, one)
    a, b, c, d = runs
    assert order.choose_trial_to_run(tune) is d
    assert order.choose_trial_to_run(tune) is d, "not taken yet"
    a.status = d.status = "RUNNING"  # `a` by the worker that began for it
    assert order.choose_trial_to_run(tune) is c
    c.status = "RUNNING"
    for one in (d, a):  # lost their workers: Tune adds them once more
        one.status, one.num_failures = "PENDING", 1
        order.on_trial_add(tune, one)
    assert order.choose_trial_to_run(tune) is a
    a.status = "RUNNING"
    assert order.choose_trial_to_run(tune) is d
    d.status = "TERMINATED"
    assert order.choose_trial_to_run(tune) is b
    b.status = "RUNNING"
    assert order.choose_trial_to_run(tune) is None
    a.status, a.num_failures = "PENDING", 2
    order.on_trial_add(tune, a)
    assert order.choose_trial_to_run(tune) is a


def test_tune_adds_a_trial_that_lost_its_worker_once_more() -> None:
    """What `NewestFirst` relies on, in the Tune that is installed."""
    from ray.tune.execution.tune_controller import TuneController

    added: list[Any] = []
    lost = trial("a", failures=1)
    controller: Any = SimpleNamespace(
        _scheduler_alg=SimpleNamespace(
            on_trial_error=lambda *_: None, on_trial_add=lambda _, one: added.append(one)
        ),
        _set_trial_status=lambda one, status: setattr(one, "status", status),
        _trials=[lost],
        _live_trials=SimpleNamespace(add=lambda one: None),
        _wrapped=lambda: None,
    )
    lost.status = "RUNNING"
    TuneController._requeue_trial(controller, lost)
    assert added == [lost]
    assert lost.status == "PENDING"
