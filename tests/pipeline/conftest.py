"""Sweeps in processes of their own, and what they may not leave behind."""

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def marked_environment() -> Iterator[dict[str, str]]:
    """An environment whose mark finds every process of a sweep; none may be left (on Linux)."""
    value = uuid.uuid4().hex
    yield os.environ | {"FCDD_TEST_MARK": value}
    left = marked(value)
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert not left, "the sweep left processes behind"


def marked(value: str) -> list[int]:
    """Processes whose environment holds FCDD_TEST_MARK=`value`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"FCDD_TEST_MARK={value}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found
