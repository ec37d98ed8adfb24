"""One driver per output folder: driver.json says which process runs a sweep into it.

Two drivers would train the same runs twice. The file holds host, process and a heartbeat; that of a
driver which is gone is taken over.
"""

import json
import logging
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.claims import alone
from pipeline.files import write_text
from pipeline.places import Place, Stored
from pipeline.stores import StoreError

logger = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # six beats
_WRITING_SECONDS = 0.2
_NAME = "driver.json"


@contextmanager
def only_driver(out: Place, *, beat_seconds: float = BEAT_SECONDS) -> Iterator[threading.Event]:
    """Makes this process the only driver of `out` within the block.

    The event it gives is set if another driver has taken over meanwhile, which happens when this
    one gave no sign for a minute. Raises ValueError if another driver is at work.
    """
    mine = {
        "host": socket.gethostname(),
        "place": _place(),
        "pid": os.getpid(),
        "born": _born(os.getpid()),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "token": secrets.token_hex(8),
    }
    _acquire(out, mine)
    taken, done = threading.Event(), threading.Event()
    soon = out.in_haste() if isinstance(out, Stored) else out

    def beat() -> None:
        while not done.wait(beat_seconds):
            with suppress(OSError):  # a disk that is full, or a store that is away for a moment
                if (read_driver(soon) or {}).get("token") != mine["token"]:
                    taken.set()
                    return
                write_text(soon / _NAME, _text(mine))

    thread = threading.Thread(target=beat, name="driver heartbeat", daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        done.set()
        thread.join()
        with suppress(StoreError):  # a lock that cannot be removed is stale in a minute
            if (read_driver(soon) or {}).get("token") == mine["token"]:
                (soon / _NAME).unlink(missing_ok=True)


def read_driver(out: Place) -> dict[str, Any] | None:
    """The driver at work in `out`: host, pid, started_at, beat_at; None without one."""
    try:
        found = json.loads((out / _NAME).read_text(encoding="utf-8"))
    except StoreError:
        raise
    except (FileNotFoundError, ValueError):  # none, or one that is being written
        return None
    return found if isinstance(found, dict) else None


def _acquire(out: Place, mine: dict[str, Any]) -> None:
    if isinstance(out, Stored):
        _acquire_stored(out, mine)
        return
    path = out / _NAME
    for _ in range(3):
        if _create(path, _text(mine)):
            return
        found = read_driver(out)
        age = _age_seconds(path)
        if found is None and (age is None or age < STALE_SECONDS):
            time.sleep(_WRITING_SECONDS)  # gone meanwhile, or just being written
            continue
        found = found or {}
        if _alive(found, age or 0.0):
            raise _refusal(out, found, age or 0.0)
        if _take_over(path, found, mine):
            _tell_takeover(found)
            return
        time.sleep(_WRITING_SECONDS)
    raise ValueError(f"{path} is changing hands; another `fcdd run` starts in {out} just now")


def _acquire_stored(out: Stored, mine: dict[str, Any]) -> None:
    path = out / _NAME
    with alone(out, stale=timedelta(seconds=STALE_SECONDS)) as now:
        found, written = read_driver(out), path.written_at()
        age = (now - written).total_seconds() if written else 0.0
        if found is not None and _alive(found, age):
            raise _refusal(out, found, max(age, 0.0))
        write_text(path, _text(mine))
    if found is not None:
        _tell_takeover(found)


def _refusal(out: Place, found: dict[str, Any], age_seconds: float) -> ValueError:
    return ValueError(
        f"another `fcdd run` is at work in {out}: process {found.get('pid')} on "
        f"{found.get('host')} since {found.get('started_at')}, last sign of life "
        f"{age_seconds:.0f} s ago; wait for it, stop it, or give another --out (the lock of a "
        f"driver that is gone is free after {STALE_SECONDS:.0f} s)"
    )


def _tell_takeover(found: dict[str, Any]) -> None:
    logger.warning(
        "the driver before (process %s on %s) is gone; this one takes over",
        *(found.get("pid"), found.get("host")),
    )


def _create(path: Path, text: str) -> bool:
    """Makes `path` with `text`; False if it is there already. Not with a hard link, which some
    network file systems lack."""
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return True


def _take_over(path: Path, found: dict[str, Any], mine: dict[str, Any]) -> bool:
    """Puts the lock of this driver in the place of `found`; False if another one is faster.

    One driver at a time may do so, and only while `found` is still there. The lock is replaced,
    never taken away, so that nobody finds the folder free in between.
    """
    claim = path.with_name(".driver.claim")
    if not _create(claim, _text(mine)):
        if (_age_seconds(claim) or 0.0) > STALE_SECONDS:  # its maker died within
            claim.unlink(missing_ok=True)
        return False
    try:
        if (read_driver(path.parent) or {}).get("token") != found.get("token"):
            return False
        write_text(path, _text(mine))
        return True
    finally:
        claim.unlink(missing_ok=True)


def _alive(driver: dict[str, Any], age_seconds: float) -> bool:
    """Whether the driver may still be at work: on this machine its process tells, elsewhere how old
    its last heartbeat is."""
    if driver.get("place") == _place():
        return driver.get("born") is not None and _born(driver.get("pid", 0)) == driver["born"]
    return age_seconds < STALE_SECONDS


def _age_seconds(path: Path) -> float | None:
    """How long ago the file was written, by the clock of the disk it lies on."""
    with suppress(FileNotFoundError), tempfile.NamedTemporaryFile(dir=path.parent) as now:
        return os.stat(now.name).st_mtime - path.stat().st_mtime
    return None


def _place() -> str:
    """Names the machine since its last start, and the container: where process numbers hold."""
    told = [socket.gethostname()]
    with suppress(OSError):
        told.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        told.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(told)


def _born(pid: int) -> str | None:
    """When process `pid` started, in the kernel's ticks where it tells them; None if none runs."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():  # not Linux: the number alone must do
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            return "running"
        return None
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # of proc_pid_stat(5): state, starttime


def _text(driver: dict[str, Any]) -> str:
    beat = {"beat_at": datetime.now(UTC).isoformat(timespec="seconds")}
    return json.dumps(driver | beat, sort_keys=True) + "\n"
