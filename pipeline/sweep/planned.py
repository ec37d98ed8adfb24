"""A run of a sweep, before it starts."""

from dataclasses import dataclass

from fcdd.config import Run


@dataclass(frozen=True)
class Planned:
    """A run of a sweep: its key, its Run, and the names under which its data were loaded.
    `stack_probe`: what a probe said of training several such runs together."""

    key: str
    run: Run
    images: str
    pool: str | None
    stack_probe: str | None = None
