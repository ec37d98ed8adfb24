"""A sweep with Ray Tune, on this machine or on the cluster the driver has joined.

Data sets and pools are loaded once, by the driver, and reach the workers through Ray's object
store: no worker holds a copy of its own, and none needs a data root.
"""

import logging
import queue
import tempfile
import threading
from collections import UserDict
from collections.abc import Callable, Generator, Mapping
from contextlib import nullcontext
from typing import Any

import ray
from ray import tune
from ray.tune.search import BasicVariantGenerator

from fcdd.data.task import Images, Pool
from pipeline.benchmark import Resources
from pipeline.sweep.cluster import head_watched, whole_node
from pipeline.sweep.events import Event, Failed, Finished
from pipeline.sweep.memory import Forgetting, ended_workers_told, trials_not_saved
from pipeline.sweep.nodes import Checked, newcomers_checked
from pipeline.sweep.order import NewestFirst
from pipeline.sweep.planned import Planned as Planned
from pipeline.sweep.reporter import Reporter
from pipeline.sweep.stacks import StackReporter
from pipeline.sweep.widths import probe_of, stacks_of
from pipeline.sweep.worker import Surroundings as Surroundings
from pipeline.sweep.worker import execute_config


def sweep(
    planned: list[Planned],
    images: Mapping[str, Images],
    pools: Mapping[str, Pool],
    *,
    surroundings: Surroundings,
    resources: Resources,
    max_failures: int = 2,
    checked: Checked | None = None,
    stacked: bool | None = None,
    teamed: bool | None = None,
) -> Generator[Event, None, None]:
    """Executes the runs on the Ray that is joined (`pipeline.sweep.cluster`) and yields events;
    each run ends in one Finished or Failed.

    A run that loses its worker `max_failures` times is given up; one that raised is not tried
    again, for the same Run raises the same error; one whose worker Ray ended because the memory of
    the node ran out is tried once more when all others are done, with a node of its own. When Ray
    is left, its workers end; rows written by then stay. Raises HeadLost if the cluster's head is
    gone, and ValueError if a node joins that does not fit, as those `checked` do.

    On GPUs runs that can be are trained as stacks (`pipeline.sweep.stacks`), as many together as
    `resources` say; `stacked` says so for any device, or forbids it. Where `resources` give a run
    several GPUs it is trained by a team (`pipeline.sweep.teams`); `teamed` as `stacked`.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are our events
    events: queue.Queue[Event | BaseException | None] = queue.Queue()
    trainable = tune.with_parameters(
        execute_config, images=dict(images), pools=dict(pools), surroundings=surroundings
    )

    def work() -> None:
        try:
            rest = planned
            on_gpu = surroundings.device == "cuda"
            teams = resources.gpus_per_run > 1 and (on_gpu if teamed is None else teamed)
            if teams:
                rest = _fit_teams(
                    planned,
                    images,
                    pools,
                    events=events,
                    surroundings=surroundings,
                    size=resources.gpus_per_run,
                    max_failures=max_failures,
                )
            elif on_gpu if stacked is None else stacked:
                rest = _fit_stacks(
                    planned,
                    pools,
                    trainable,
                    events=events,
                    surroundings=surroundings,
                    resources=resources,
                    max_failures=max_failures,
                )
            for alone in (False, True):
                reporter = Reporter(
                    events,
                    surroundings.out,
                    time_limit_seconds=surroundings.time_limit_seconds,
                    alone=alone,
                )
                slot = whole_node(surroundings.device) if alone else _share(resources, surroundings)
                if not rest:
                    break
                _fit(
                    [_config(one) for one in rest],
                    trainable,
                    slot=slot,
                    reporter=reporter,
                    max_failures=max_failures,
                    at_most=1 if surroundings.device == "mps" else 0,
                )
                rest = [one for one in rest if one.key in reporter.aside]
            events.put(None)
        except BaseException as error:
            events.put(error)
            raise

    threading.Thread(target=work, name="tune", daemon=True).start()
    open_keys = {one.key for one in planned}
    watching = newcomers_checked(checked, events.put) if checked else nullcontext()
    with head_watched(events.put), watching:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, Finished | Failed):
                open_keys.discard(event.key)
            yield event
    for key in sorted(open_keys):
        yield Failed(key, "the run ended without a row and without an error")


def _share(resources: Resources, surroundings: Surroundings) -> dict[str, float]:
    """What a run takes of a node, beside its threads."""
    if surroundings.device != "cuda":
        return {}
    return {"GPU": 1.0 if resources.runs_per_gpu == "auto" else 1 / resources.runs_per_gpu}


def _fit_stacks(
    planned: list[Planned],
    pools: Mapping[str, Pool],
    trainable: Callable[..., None],
    *,
    events: "queue.Queue[Event | BaseException | None]",
    surroundings: Surroundings,
    resources: Resources,
    max_failures: int,
) -> list[Planned]:
    """Trains those runs as stacks that can be, a GPU for each, and returns the others, and those
    that a stack left open."""
    on_gpu = surroundings.device == "cuda"
    stacks = stacks_of(
        planned,
        pools,
        probe=probe_of(surroundings, resources),
        num_gpus=int(ray.cluster_resources().get("GPU", 1)) if on_gpu else 1,
    )
    reporter = StackReporter(events, surroundings.out)
    configs = [
        {
            "key": stack[0].key,
            "runs": [_config(one) for one in stack],
            "threads": stack[0].run.threads,
            "stack_probe": stack[0].stack_probe,
        }
        for stack in stacks
        if len(stack) > 1
    ]
    if configs:
        _fit(
            configs,
            trainable,
            slot={"GPU": 1.0} if on_gpu else {},
            reporter=reporter,
            max_failures=max_failures,
        )
    alone = {stack[0].key for stack in stacks if len(stack) == 1} | reporter.aside
    return [one for stack in stacks for one in stack if one.key in alone]


def _fit_teams(
    planned: list[Planned],
    images: Mapping[str, Images],
    pools: Mapping[str, Pool],
    *,
    events: "queue.Queue[Event | BaseException | None]",
    surroundings: Surroundings,
    size: int,
    max_failures: int,
) -> list[Planned]:
    """Trains those runs by teams of `size` processes that can be, and returns the others, and those
    whose team ran out of memory."""
    from pipeline.sweep.teams import WAITING_CPU, execute_team_config, teams_of  # Ray Train

    fit, single = teams_of(planned)
    if not fit:
        return single
    reporter = Reporter(
        events, surroundings.out, time_limit_seconds=surroundings.time_limit_seconds
    )
    room = ray.cluster_resources().get("GPU" if surroundings.device == "cuda" else "CPU", 1)
    _fit(
        [_config(one) for one in fit],
        tune.with_parameters(
            execute_team_config,
            # References: the processes of a team share what the node has already.
            images={name: ray.put(one) for name, one in images.items()},
            pools={name: ray.put(one) for name, one in pools.items()},
            surroundings=surroundings,
            size=size,
        ),
        slot={"CPU": WAITING_CPU},
        reporter=reporter,
        max_failures=max_failures,
        at_most=max(1, int(room) // size),
    )
    return [*single, *(one for one in fit if one.key in reporter.aside)]


def _config(one: Planned) -> dict[str, Any]:
    """A run as its worker gets it."""
    return {
        "key": one.key,
        "run": one.run.model_dump_json(),
        "images": one.images,
        "pool": one.pool,
        "threads": one.run.threads,
        "stack_probe": one.stack_probe,
    }


def _fit(
    configs: list[dict[str, Any]],
    trainable: Callable[..., None],
    *,
    slot: Mapping[str, float],
    reporter: tune.Callback,
    max_failures: int,
    at_most: int = 0,
) -> None:
    """Executes the runs, stacks or teams, each with the resources of `slot` and the CPUs of its
    threads if `slot` names no CPUs, `at_most` so many at once (0: as many as have room), and
    returns when each is finished, failed or put aside."""
    trainable = tune.with_resources(
        trainable,
        lambda config: tune.PlacementGroupFactory([{"CPU": config["trial"]["threads"], **slot}]),
    )
    with (
        tempfile.TemporaryDirectory(prefix="fcdd-tune-") as storage,
        ended_workers_told(),
        trials_not_saved(),
    ):
        tune.Tuner(
            trainable,
            param_space={"trial": {}},
            tune_config=tune.TuneConfig(
                # Points, because Tune copies a grid whole for each of its values: of 10,000 runs
                # none had begun after 200 s of processor time. A dict would be taken apart.
                search_alg=BasicVariantGenerator(
                    points_to_evaluate=[{"trial": UserDict(config)} for config in configs],
                    max_concurrent=at_most,
                ),
                num_samples=len(configs),
                reuse_actors=True,
                scheduler=NewestFirst(),
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                verbose=0,
                callbacks=[reporter, Forgetting()],
                failure_config=tune.FailureConfig(max_failures=max_failures - 1),
            ),
        ).fit()
