"""Which runs of a sweep are trained together as one stack: decided from the runs alone."""

from collections.abc import Sequence

from fcdd.config import Run
from fcdd.stacked import why_never_stacked, why_not_stacked


def kinds(runs: Sequence[Run]) -> list[list[int]]:
    """Places in `runs` of those that can share a stack, in their order; a list of one for a run
    that can share none."""
    found: list[list[int]] = []
    never: dict[str, bool] = {}
    for place, run in enumerate(runs):
        net = run.net.model_dump_json()
        if net not in never:
            never[net] = why_never_stacked(run) is not None
        for kind in () if never[net] else found:
            if why_not_stacked([runs[kind[0]], run]) is None:
                kind.append(place)
                break
        else:
            found.append([place])
    return found


def share_out(count: int, *, width: int, num_gpus: int) -> list[int]:
    """The sizes of the stacks that `count` runs of one kind make, as equal as possible: at most
    `width` in one, and as many for each GPU."""
    num_gpus = max(1, num_gpus)
    rounds = -(-count // (max(1, width) * num_gpus))
    stacks = min(count, rounds * num_gpus)
    small, larger = divmod(count, stacks)
    return [small + 1] * larger + [small] * (stacks - larger)
