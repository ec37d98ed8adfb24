"""From what Tune observes to events, and to the failure file of a run whose worker was lost."""

import json
import logging
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune

from pipeline import results, running
from pipeline.places import Place
from pipeline.stores import StoreError
from pipeline.sweep.account import Account, account_of
from pipeline.sweep.events import Event, Failed, Finished, Progressed, Started

logger = logging.getLogger(__name__)


class Reporter(tune.Callback):
    """Puts the events of a sweep into `events`; `out` is the output folder.

    `aside` are the keys of the runs whose worker was ended because the memory of its node ran out:
    they are to be tried once more, `alone`, and fail if it happens again.
    """

    def __init__(
        self,
        events: "queue.Queue[Event | BaseException | None]",
        out: Place,
        *,
        time_limit_seconds: float | None = None,
        alone: bool = False,
    ) -> None:
        self._events, self._out, self._time_limit = events, out, time_limit_seconds
        self._alone = alone
        self._out_of_memory: dict[str, Account] = {}
        self.aside: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that we never make

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._events.put(Started(_key(trial)))

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        for note in result.get("notes", ()):
            logger.warning("run %s: %s", result["key"], note)
        # Taken out: the last result of each trial stays with Tune for good.
        key, row, epochs = _key(trial), result.pop("row", None), result.pop("epochs", [])
        if row:
            self._events.put(Finished(key, json.loads(row), epochs))
        elif epochs:
            self._events.put(Progressed(key, epochs))

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        with self._store_watched():
            self._tried_again(trial)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        with self._store_watched():
            self._given_up(trial)

    @contextmanager
    def _store_watched(self) -> Iterator[None]:
        """Ends the sweep with what a store says inside that is away for good: Tune would print it
        with all that it knows."""
        try:
            yield
        except StoreError as error:
            self._events.put(error)

    def _tried_again(self, trial: Any) -> None:
        key = _key(trial)
        if self._took_too_long(key):  # another worker finds the failure file and gives up
            return
        account = account_of(trial)
        if key in results.row_keys(self._out):  # lost between writing its row and telling so
            _end(trial)
        elif account.out_of_memory:
            self._put_aside(key, account)
            _end(trial)
        elif account.not_written:
            logger.warning("%s; it is tried once more now", account.last_line)
        elif not account.raised:
            logger.warning(
                "run %s lost its worker (%s); another goes on from its checkpoint if it left one",
                *(key, account.last_line),
            )

    def _given_up(self, trial: Any) -> None:
        key = _key(trial)
        if key in results.row_keys(self._out):  # its worker had no time to clean up
            running.end(self._out, key)
            results.remove_checkpoints(self._out, {key})
            self._events.put(Finished(key, results.read_row(self._out, key)))
            return
        path = results.failure_path(self._out, key)
        account = self._out_of_memory.get(key) or account_of(trial)
        if path.exists():
            message = Account(path.read_text(encoding="utf-8")).last_line
        elif self._took_too_long(key):
            message = self._stopped
        elif account.out_of_memory and not self._alone:
            self._put_aside(key, account)
            self.aside.add(key)
            running.end(self._out, key)
            return
        else:
            message = account.last_line
            if not account.not_written:  # which another start mends, not another Run
                self._write(key, _told(self._out, key, trial, account))
        running.end(self._out, key)
        self._events.put(Failed(key, message))

    def _put_aside(self, key: str, account: Account) -> None:
        if key not in self._out_of_memory and not self._alone:
            logger.warning(
                "run %s lost its worker, which Ray's memory monitor ended; it is tried once more "
                "when all others are done, with a node of its own",
                key,
            )
        self._out_of_memory[key] = account

    def _took_too_long(self, key: str) -> bool:
        """Whether the run was stopped for its time; its failure file then says so."""
        where = running.overtime(self._out, key)
        if not where:
            return False
        self._write(
            key,
            f"run {key} failed: it took longer than its time limit (--time-limit).\n"
            "To go on from its last checkpoint: the same `fcdd run` command with --retry-failed "
            f"and a longer limit.\nWhere it was, thread by thread:\n\n{where}\n"
            f"{self._stopped}\n",
        )
        running.end(self._out, key)
        return True

    @property
    def _stopped(self) -> str:
        return f"stopped after {self._time_limit or 0:g} s, the time limit of a run"

    def _write(self, key: str, text: str) -> None:
        """Writes the failure file of run `key`, if the disk takes it: an error in a callback would
        end the sweep."""
        try:
            results.write_text(results.failure_path(self._out, key), text)
        except OSError as error:
            logger.warning("run %s: its failure file is not written (%s)", key, error)


def _key(trial: Any) -> str:
    return trial.config["trial"]["key"]


def _end(trial: Any) -> None:
    """Makes the attempt that Tune has decided on end at once, and with it the trial."""
    trial.config["trial"]["ended"] = True


def _told(out: Place, key: str, trial: Any, account: Account) -> str:
    """The failure file of a run that left none itself."""
    cause = "an error outside of the run; Ray's account of it follows"
    if account.out_of_memory:
        cause = (
            "Ray's memory monitor ended its worker, also when it had its node for itself: the run "
            "needs more memory than a node has"
        )
    elif not account.raised:
        cause = (
            f"the worker process was lost, {trial.num_failures} times in a row: killed, out of "
            "memory, or its machine vanished. It left no traceback; Ray's account of it follows"
        )
    beat = running.read(out).get(key)
    seen = ""
    if beat:
        seen = (
            f"Last heartbeat: {beat['beat_at']}, epoch {beat['epoch']} of {beat['epochs']}, "
            f"process {beat['pid']} on {beat['host']}.\n"
        )
    return (
        f"run {key} failed: {cause}.\n"
        "To try again: the same `fcdd run` command with --retry-failed.\n"
        f"{seen}\n{account.text}\n"
    )
