"""Heartbeats: running/<key>.json in the output folder, while a worker is at a run."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.files import write_text


def write(out: Path, key: str, beat: Mapping[str, Any]) -> None:
    """Writes the heartbeat of run `key`: host, pid, started_at, epoch, epochs, beat_at."""
    path = _path(out, key)
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(beat, sort_keys=True) + "\n")


def end(out: Path, key: str) -> None:
    """Removes the heartbeat of run `key`, if there is one."""
    _path(out, key).unlink(missing_ok=True)
    overtime_path(out, key).unlink(missing_ok=True)


def read(out: Path) -> dict[str, dict[str, Any]]:
    """The heartbeats in `out` by key. That of a worker which was lost stays until the driver has
    noticed; `beat_at` tells how old it is."""
    beats = {}
    for path in (out / "running").glob("*.json"):
        with suppress(FileNotFoundError):  # the run ended after the folder was listed
            beats[path.stem] = json.loads(path.read_text(encoding="utf-8"))
    return beats


def overtime_path(out: Path, key: str) -> Path:
    """Where run `key` says where it was when its time was over."""
    return out / "running" / f"{key}.overtime.txt"


def overtime(out: Path, key: str) -> str:
    """Where run `key` was when its time was over; "" if it was not."""
    with suppress(FileNotFoundError):
        return overtime_path(out, key).read_text(encoding="utf-8", errors="replace")
    return ""


def _path(out: Path, key: str) -> Path:
    return out / "running" / f"{key}.json"
