"""Stacks in a sweep: one Tune trial trains several runs (`pipeline.stack_trial`).

A stack decides no run's fate but by its own row or failure file: what it leaves open, because its
worker or its GPU was lost once too often, or because it raised, is put aside to be executed singly.
"""

import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from ray import tune

from fcdd.config import Run
from fcdd.data.task import Images, Pool
from fcdd.training import Epoch
from pipeline import results, running
from pipeline.stores import StoreError
from pipeline.sweep.account import account_of
from pipeline.sweep.events import Event, Failed, Finished, Progressed, Started
from pipeline.sweep.worker import (
    BEAT_SECONDS,
    REPORT_SECONDS,
    Surroundings,
    execution_of,
    noted,
    now,
    time_limit,
)

logger = logging.getLogger(__name__)


def execute_stack_config(
    one: dict[str, Any],
    *,
    images: dict[str, Images],
    pools: dict[str, Pool],
    surroundings: Surroundings,
) -> None:
    """Executes the runs of one stack that have neither row nor failure file, and reports to Tune.

    Returns when each has one, or what could not be written; raises what is no single run's fault.
    """
    import torch

    from pipeline.outputs import Circumstances, Trial
    from pipeline.stack_trial import execute_stack

    folder = surroundings.out
    done = results.row_keys(folder) | results.failed_keys(folder)
    trials = [
        Trial(
            run["key"],
            Run.model_validate_json(run["run"]),
            images[run["images"]],
            pools[run["pool"]] if run["pool"] else None,
            surroundings.weights,
        )
        for run in one["runs"]
        if run["key"] not in done
    ]
    if not trials:
        return
    reports = _Reports(folder, {trial.key: trial.run.training.epochs for trial in trials})
    limit = surroundings.time_limit_seconds
    try:
        with (
            time_limit(
                None if limit is None else limit * len(trials),
                running.overtime_path(folder, one["key"]),
            ),
            noted(reports.notes),
            reports.beating(),
        ):
            for ended in execute_stack(
                trials,
                out=folder,
                circumstances=Circumstances(
                    torch.device(surroundings.device),
                    surroundings.commit,
                    stack_probe=one["stack_probe"],
                ),
                reports={trial.key: reports.of(trial.key) for trial in trials},
                execution=execution_of(surroundings),
            ):
                if ended.row is not None:
                    reports.tell(rows=[ended.row])
                elif results.failure_path(folder, ended.key).exists():
                    reports.tell(failed={ended.key: repr(ended.error)})
    finally:
        for trial in trials:
            running.end(folder, trial.key)
    reports.tell()


class _Reports:
    """Tells Tune about the epochs of all runs at once, and writes their heartbeats."""

    def __init__(self, folder: results.Place, epochs: Mapping[str, int]) -> None:
        self._folder, self._epochs = folder, dict(epochs)
        self._fixed = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": now()}
        self._at = dict.fromkeys(epochs, 0)
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        self.notes: list[str] = []
        self._told = time.monotonic()
        self._beat()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Writes the heartbeats within the block."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_SECONDS):
                self._beat()

        thread = threading.Thread(target=beat, name="heartbeats", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def of(self, key: str):
        """What takes the epochs of run `key`."""

        def add(epoch: Epoch) -> None:
            self._waiting.setdefault(key, []).append(asdict(epoch))
            self._at[key] = epoch.epoch
            if time.monotonic() - self._told > REPORT_SECONDS:
                self.tell()

        return add

    def tell(
        self, *, rows: list[dict[str, Any]] | None = None, failed: dict[str, str] | None = None
    ) -> None:
        """Tells about the epochs and notes that wait, and of runs that have ended."""
        rows, failed = rows or [], failed or {}
        for key in (*failed, *(row["key"] for row in rows)):
            self._at.pop(key, None)
            with suppress(OSError):  # the end of the stack removes it, or its age tells
                running.end(self._folder, key)
        said, self._waiting = self._waiting, {}
        tune.report({"epochs": said, "notes": [*self.notes], "rows": rows, "failed": failed})
        self.notes.clear()
        self._told = time.monotonic()

    def _beat(self) -> None:
        for key, epoch in list(self._at.items()):
            beat = {"epoch": epoch, "epochs": self._epochs[key], "beat_at": now()}
            with suppress(OSError):  # a disk that is full, or away for a moment
                running.write(self._folder, key, self._fixed | beat)


class StackReporter(tune.Callback):
    """Puts the events of the runs of stacks into `events`; `aside` are the keys of runs that their
    stack left open."""

    def __init__(
        self, events: "queue.Queue[Event | BaseException | None]", out: results.Place
    ) -> None:
        self._events, self._out = events, out
        self._ended: set[str] = set()
        self.aside: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that we never make

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        for key in _keys(trial):
            if key not in self._ended:
                self._events.put(Started(key))

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        for note in result.get("notes", ()):
            logger.warning("stack of run %s: %s", _keys(trial)[0], note)
        for key, epochs in result.pop("epochs", {}).items():
            self._events.put(Progressed(key, epochs))
        for row in result.pop("rows", ()):
            self._end(Finished(row["key"], row))
        for key, message in result.get("failed", {}).items():
            self._end(Failed(key, message))

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        with self._store_watched():
            self._tried_again(trial)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        with self._store_watched():
            self._settle(trial, account_of(trial).last_line)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        with self._store_watched():
            self._settle(trial, "it left them open")

    @contextmanager
    def _store_watched(self) -> Iterator[None]:
        """Ends the sweep with what a store says inside that is away for good."""
        try:
            yield
        except StoreError as error:
            self._events.put(error)

    def _tried_again(self, trial: Any) -> None:
        account = account_of(trial)
        lost_gpu = ".DeviceLost: " in account.text
        late = bool(running.overtime(self._out, _keys(trial)[0]))
        if late or account.out_of_memory or (account.raised and not lost_gpu):
            trial.config["trial"]["ended"] = True  # Tune lets no callback take an attempt back
        else:
            logger.warning(
                "the stack of run %s lost its %s (%s); its runs begin anew elsewhere",
                *(_keys(trial)[0], "GPU" if lost_gpu else "worker", account.last_line),
            )

    def _settle(self, trial: Any, reason: str) -> None:
        rows = results.row_keys(self._out)
        left = []
        for key in _keys(trial):
            if key in self._ended:
                continue
            if key in rows:  # lost between writing its row and telling so
                self._end(Finished(key, results.read_row(self._out, key)))
            elif results.failure_path(self._out, key).exists():
                self._end(Failed(key, "failed in a stack whose worker was lost"))
            else:
                running.end(self._out, key)
                left.append(key)
        if left:
            self.aside.update(left)
            logger.warning("a stack ended (%s); %d runs are tried singly", reason, len(left))

    def _end(self, event: Finished | Failed) -> None:
        if event.key not in self._ended:
            self._ended.add(event.key)
            self._events.put(event)


def _keys(trial: Any) -> list[str]:
    return [run["key"] for run in trial.config["trial"]["runs"]]
