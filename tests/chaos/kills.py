"""Which process is killed when: drawn from a seed, at moments of the sweep's progress."""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Victim = Literal["worker", "server", "node", "driver"]
Moment = Literal["begun", "saved", "scored"]
VICTIMS: tuple[Victim, ...] = ("worker", "server", "node", "driver")
_MOMENTS: tuple[Moment, ...] = ("begun", "saved", "scored")
_LAST = 8  # so many runs before the end, the last kill is due: all have to happen
_APART = 3  # other kills between two of the server, which takes long to start


@dataclass(frozen=True)
class Kill:
    """One kill: due when `num_rows` rows stand and a run of the victim is at `moment`: it has
    begun, has left a checkpoint, or has written its scores but not its row."""

    num_rows: int
    victim: Victim
    moment: Moment


def draw(seed: int, *, kills: Mapping[Victim, int], num_runs: int) -> list[Kill]:
    """The kills of one round, in order, spread over all of it."""
    generator = random.Random(seed)
    order: list[Victim] = [victim for victim in VICTIMS for _ in range(kills[victim])]
    for _ in range(10_000):
        generator.shuffle(order)
        if _apart(order):
            break
    else:
        raise ValueError(f"no order keeps {kills['server']} kills of the server {_APART} apart")
    step = (num_runs - _LAST) / len(order)
    return [
        Kill(round((place + generator.random()) * step), victim, generator.choice(_MOMENTS))
        for place, victim in enumerate(order)
    ]


def _apart(order: list[Victim]) -> bool:
    places = [place for place, victim in enumerate(order) if victim == "server"]
    return all(b - a > _APART for a, b in itertools.pairwise(places))
