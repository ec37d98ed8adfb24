"""How many runs of a sweep train together, from a probe on a worker of the Ray that is joined."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import ray
from ray.exceptions import RayError

from fcdd.config import Run
from fcdd.data.streamed import Streamed
from fcdd.data.task import Pool
from pipeline.benchmark import Resources
from pipeline.stacking import kinds, share_out
from pipeline.sweep.planned import Planned
from pipeline.sweep.worker import Surroundings

logger = logging.getLogger(__name__)

MOST = 64  # runs in one stack that "auto" tries


# Says how many of `count` runs like this one train together, and why.
Probe = Callable[[Run, int], tuple[int, str]]


def stacks_of(
    planned: Sequence[Planned], pools: Mapping[str, Pool], *, probe: Probe, num_gpus: int
) -> list[list[Planned]]:
    """All of `planned`, each in one stack, with what the probe said as `stack_probe`; those of one
    are to be executed singly.

    Runs whose pool is decoded beside training are left alone: decoding bounds them.
    """
    found: list[list[Planned]] = []
    rest: list[Planned] = []
    for one in planned:
        if one.pool and isinstance(pools[one.pool].images, Streamed):
            found.append([one])
        else:
            rest.append(one)
    for places in kinds([one.run for one in rest]):
        kind = [rest[place] for place in places]
        if len(kind) == 1:
            found.append(kind)
            continue
        width, told = probe(kind[0].run, len(kind))
        kind = [replace(one, stack_probe=told) for one in kind]
        start = 0
        for size in share_out(len(kind), width=width, num_gpus=num_gpus):
            found.append(kind[start : start + size])
            start += size
    return found


def probe_of(surroundings: Surroundings, resources: Resources) -> Probe:
    """The probe on a worker that has a whole GPU, or on "cpu" one thread's worth of cores.

    It raises ValueError where not even one run fits. One that fails otherwise is told, and its runs
    are executed singly.
    """
    on_gpu = surroundings.device == "cuda"

    def probe(run: Run, count: int) -> tuple[int, str]:
        wanted = resources.runs_per_gpu
        most = min(count, MOST if wanted == "auto" else wanted)
        if most == 1:
            return 1, "1 together: asked for"
        # A process of its own, which gives the GPU's memory back with its end.
        remote = ray.remote(max_calls=1)(_probe)
        on = remote.options(num_cpus=run.threads, num_gpus=1 if on_gpu else 0)
        exactly = wanted != "auto"
        task = on.remote(run.model_dump_json(), most, exactly, surroundings)
        try:
            width, told, refused = ray.get(task)
        except RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            told = f"1 together: the probe failed ({lines[-1] if lines else repr(error)})"
            logger.warning("runs of net %s: %s", run.net.name, told)
            return 1, told
        if refused:
            raise ValueError(refused)
        if wanted != "auto" and width < most:
            logger.warning("runs_per_gpu for net %s: %s", run.net.name, told)
        return width, told

    return probe


def _probe(text: str, most: int, exactly: bool, surroundings: Surroundings) -> tuple[int, str, str]:
    """Runs in a stack, why, and "" or why none can be trained at all."""
    import torch

    from fcdd.execution import Execution
    from pipeline.stack_probe import choose_stack, fitting_stack

    run, device = Run.model_validate_json(text), torch.device(surroundings.device)
    torch.set_num_threads(run.threads)
    # Without compiling, which would take longer for each width than it saves.
    how = Execution(graphs=surroundings.fast)
    weights = surroundings.weights
    try:
        if exactly:
            choice = fitting_stack(run, runs=most, device=device, weights=weights, execution=how)
        else:
            choice = choose_stack(run, most=most, device=device, weights=weights, execution=how)
    except ValueError as error:
        return 1, "", str(error)
    return choice.runs, str(choice), ""
