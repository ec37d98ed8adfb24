"""What a Ray worker does: one run after the other, with a heartbeat in running/<key>.json."""

import faulthandler
import json
import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ray import tune

from fcdd.config import Run
from fcdd.data.task import Images, Pool
from fcdd.execution import Execution
from fcdd.training import Epoch
from pipeline import results, running
from pipeline.places import Place, Stored
from pipeline.sweep.nodes import Required, hold_unless_fit

BEAT_SECONDS = 15.0  # where epochs are longer than a report's distance
_LAST_SECONDS = 60.0  # for a run whose time is over to say where it was, in a store
REPORT_SECONDS = 2.0  # a report costs the driver some 10 ms; MLflow wants groups of epochs


@dataclass(frozen=True)
class Surroundings:
    """What all runs of a sweep share, beside their data: none of it decides a result.

    `out` is the output folder, `weights` the file of pretrained weights. Checkpoints are replaced
    every `checkpoint_seconds`; a run that takes longer than `time_limit_seconds` is stopped. A node
    has to have what is `required`, on a cluster. `fast` trains with compiled nets and CUDA graphs,
    where they work.
    """

    out: Place
    device: str
    commit: dict[str, Any]
    weights: Path | None = None
    checkpoint_seconds: float = 180.0
    time_limit_seconds: float | None = None
    required: Required | None = None
    fast: bool = False


def execution_of(surroundings: Surroundings) -> Execution:
    """How steps are to be executed."""
    return Execution(compiled=surroundings.fast, graphs=surroundings.fast)


def execute_config(
    config: dict[str, Any],
    *,
    images: dict[str, Images],
    pools: dict[str, Pool],
    surroundings: Surroundings,
) -> None:
    """Executes the run that `config` describes and reports its epochs and its row to Tune; or the
    runs of a stack (`pipeline.sweep.stacks`).

    Raises what the run raises, and RuntimeError for one that failed before.
    """
    one = config["trial"]
    if one.get("ended"):  # by `Reporter`: Tune lets no callback take back an attempt
        raise RuntimeError("this attempt is not made")
    if surroundings.required:
        hold_unless_fit(
            surroundings.required,
            lambda note: tune.report({"key": one.get("key"), "notes": [note]}),
        )

    if "runs" in one:
        from pipeline.sweep.stacks import execute_stack_config

        execute_stack_config(one, images=images, pools=pools, surroundings=surroundings)
        return

    import torch

    from pipeline.trial import Trial, execute

    key, folder = one["key"], surroundings.out
    failure = results.failure_path(folder, key)
    if failure.exists():  # Tune tries again what raised, but the same Run raises the same error
        raise RuntimeError(f"this run failed before: {failure}")
    run = Run.model_validate_json(one["run"])
    trial = Trial(
        key,
        run,
        images[one["images"]],
        pools[one["pool"]] if one["pool"] else None,
        surroundings.weights,
    )
    reports = Reports(folder, key, run.training.epochs)
    try:
        with (
            time_limit(surroundings.time_limit_seconds, running.overtime_path(folder, key)),
            noted(reports.notes),
            reports.beating(),
        ):
            row = execute(
                trial,
                out=folder,
                device=torch.device(surroundings.device),
                commit=surroundings.commit,
                report=reports.add,
                checkpoint_seconds=surroundings.checkpoint_seconds,
                execution=execution_of(surroundings),
                stack_probe=one["stack_probe"],
            )
    finally:
        running.end(folder, key)
    reports.tell(row=row)


@contextmanager
def time_limit(seconds: float | None, place: Place) -> Iterator[None]:
    """Ends this process if the block takes longer, and leaves in `place` where it was.

    faulthandler does it from a thread that needs nothing of Python, which may hang.
    """
    if seconds is None:
        yield
        return
    if isinstance(place, Stored):
        with _time_limit_stored(seconds, place):
            yield
        return
    with place.open("w") as file:
        faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextmanager
def _time_limit_stored(seconds: float, place: Stored) -> Iterator[None]:
    """The same where only Python reaches `place`: a run that lets no other thread work is ended a
    minute later, and without a word."""
    done = threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        with tempfile.TemporaryFile("w+") as file, suppress(OSError):
            faulthandler.dump_traceback(file)
            file.seek(0)
            place.in_haste().write_bytes(file.read().encode())
        os._exit(1)

    faulthandler.dump_traceback_later(seconds + _LAST_SECONDS, exit=True)
    threading.Thread(target=watch, name="time limit", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def noted(notes: list[str]) -> Iterator[None]:
    """Adds to `notes` what the method logs: a worker's own log is seen by nobody."""
    handler = _Notes(notes)
    log = logging.getLogger("fcdd")
    before = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


class _Notes(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__()
        self._notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        self._notes.append(record.getMessage())


class Reports:
    """Tells Tune about epochs and notes by `send`, and writes the heartbeat."""

    def __init__(
        self,
        folder: Place,
        key: str,
        epochs: int,
        *,
        send: Callable[[dict[str, Any]], None] = tune.report,
    ) -> None:
        self._folder, self._key, self._send = folder, key, send
        self._fixed = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": now(),
            "epochs": epochs,
        }
        self.notes: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self._epoch = 0
        self._told = time.monotonic()
        self._due = threading.Event()
        self._beat()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Writes the heartbeat within the block, however long an epoch or the writing takes."""
        done = threading.Event()

        def beat() -> None:
            while True:
                self._due.wait(BEAT_SECONDS)
                self._due.clear()
                if done.is_set():
                    return
                self._beat()

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            self._due.set()
            thread.join()

    def add(self, epoch: Epoch) -> None:
        """Takes an epoch, and tells about all that wait when it is time."""
        self._waiting.append(asdict(epoch))
        self._epoch = epoch.epoch
        if self.due():
            self.tell()
            self._due.set()

    def due(self) -> bool:
        """Whether it is time for a report."""
        return time.monotonic() - self._told > REPORT_SECONDS

    def tell(self, *, row: dict[str, Any] | None = None) -> None:
        """Tells about the epochs that wait, and of a run that is done its row."""
        said, self._waiting = self._waiting, []
        # As text: of every number in a nested dict Tune keeps statistics for good, in the driver.
        packed = None if row is None else json.dumps(row)
        self._send({"key": self._key, "epochs": said, "notes": [*self.notes], "row": packed})
        self.notes.clear()
        self._told = time.monotonic()

    def _beat(self) -> None:
        beat = self._fixed | {"epoch": self._epoch, "beat_at": now()}
        with suppress(OSError):  # a disk that is full, or away for a moment
            running.write(self._folder, self._key, beat)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
