"""One at a time in an object store, which has no "create unless it is there" that pyarrow offers.

Whoever wants in writes a claim of its own and then lists all claims. A store lists what was
written before (S3, GCS and Azure do), so of two at once the one that lists last sees the other:
nobody who sees no other claim is joined by a second. Whoever sees one takes the own claim back and
tries again.
"""

import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from pipeline.places import Stored

_TRIES = 12
_FOLDER = ".claims"


@contextmanager
def alone(out: Stored, *, stale: timedelta) -> Iterator[datetime]:
    """Gives the time of the store's clock within a block that no other process is in.

    A claim older than `stale` is one of a process that died within, and is removed. Raises
    ValueError where others come in time and again.
    """
    mine = out / _FOLDER / f"{secrets.token_hex(8)}.claim"
    for number in range(_TRIES):
        mine.write_bytes(b"")
        try:
            now = mine.written_at()
            if now is not None and not _others(mine, now=now, stale=stale):
                yield now
                return
        finally:
            mine.unlink(missing_ok=True)
        time.sleep(random.uniform(0.1, 0.3 * (number + 1)))
    raise ValueError(f"{out} is changing hands; another `fcdd run` starts there just now")


def _others(mine: Stored, *, now: datetime, stale: timedelta) -> bool:
    """Whether another process has a claim; those of dead ones are removed."""
    found = False
    for claim in mine.parent.glob("*.claim"):
        if claim == mine:
            continue
        written = claim.written_at()
        if written is not None and now - written > stale:
            claim.unlink(missing_ok=True)
        elif written is not None:
            found = True
    return found
