"""What a row says about the circumstances: commit, versions, machine."""

import platform
import re
import socket
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any


def commit() -> dict[str, Any]:
    """Commit and dirtiness of the checkout this package runs from; "unknown" outside of one."""
    here = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, timeout=10
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        name = git("rev-parse", "HEAD")
        if not name or Path(git("rev-parse", "--show-toplevel")).resolve() != here:
            return {"commit": "unknown", "dirty": None}
        return {"commit": name, "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.TimeoutExpired):
        return {"commit": "unknown", "dirty": None}


def named_commit(name: str | None) -> dict[str, Any] | None:
    """Commit and dirtiness that "HASH" or "HASH-dirty" stand for; None without a name.

    Raises ValueError if it is neither.
    """
    if not name:
        return None
    hash_, _, dirty = name.partition("-")
    if not re.fullmatch("[0-9a-f]{40}", hash_) or dirty not in ("", "dirty"):
        raise ValueError(f"commit {name!r} is not 40 hex digits, with or without '-dirty'")
    return {"commit": hash_, "dirty": bool(dirty)}


def machine(device: str) -> dict[str, Any]:
    """Versions, host, CPU and determinism level of a run on `device`, on the machine asked."""
    return {
        "determinism": "bitwise" if device == "cpu" else "seeded",
        "version.fcdd": version("fcdd"),
        "version.python": platform.python_version(),
        "version.torch": version("torch"),
        "version.numpy": version("numpy"),
        "host": socket.gethostname(),
        "cpu": _cpu(),
    }


@cache
def version(package: str) -> str:
    """The installed version of `package`, looked up once."""
    return metadata.version(package)


@cache
def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
