"""Heartbeats: running/<key>.json in the output folder, while a worker is at a run."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.files import write_text
from pipeline.places import Place, each
from pipeline.stores import StoreError


def write(out: Place, key: str, beat: Mapping[str, Any]) -> None:
    """Writes the heartbeat of run `key`: host, pid, started_at, epoch, epochs, beat_at."""
    path = _path(out, key)
    if isinstance(path, Path):
        path.parent.mkdir(exist_ok=True)
    else:
        path = path.in_haste()  # the next one follows soon
    write_text(path, json.dumps(beat, sort_keys=True) + "\n")


def end(out: Place, key: str) -> None:
    """Removes the heartbeat of run `key`, if there is one and a store lets it go."""
    with suppress(StoreError):
        _path(out, key).unlink(missing_ok=True)
        overtime_path(out, key).unlink(missing_ok=True)


def read(out: Place) -> dict[str, dict[str, Any]]:
    """The heartbeats in `out` by key. That of a worker which was lost stays until the driver has
    noticed; `beat_at` tells how old it is."""
    paths = list((out / "running").glob("*.json"))
    beats = zip(paths, each(_beat, paths), strict=True)
    return {path.stem: beat for path, beat in beats if beat is not None}


def _beat(path: Place) -> dict[str, Any] | None:
    with suppress(FileNotFoundError):  # the run ended after the folder was listed
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def overtime_path(out: Place, key: str) -> Place:
    """Where run `key` says where it was when its time was over."""
    return out / "running" / f"{key}.overtime.txt"


def overtime(out: Place, key: str) -> str:
    """Where run `key` was when its time was over; "" if it was not."""
    with suppress(FileNotFoundError):
        return overtime_path(out, key).read_text(encoding="utf-8", errors="replace")
    return ""


def _path(out: Place, key: str) -> Place:
    return out / "running" / f"{key}.json"
