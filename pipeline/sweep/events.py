"""What a sweep tells while it runs."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Started:
    """A run began."""

    key: str


@dataclass(frozen=True)
class Progressed:
    """A run went through epochs (fields of `fcdd.training.Epoch`), a few seconds' worth at once."""

    key: str
    epochs: list[dict[str, Any]]


@dataclass(frozen=True)
class Finished:
    """A run wrote its row; `epochs` are those that no Progressed told."""

    key: str
    row: dict[str, Any]
    epochs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Failed:
    """A run ended without a row."""

    key: str
    message: str


Event = Started | Progressed | Finished | Failed
