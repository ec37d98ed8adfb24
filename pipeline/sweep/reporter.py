"""From what Tune observes to events, and to the failure file of a run whose worker was lost."""

import logging
import queue
from pathlib import Path
from typing import Any

from ray import tune
from ray.exceptions import RayTaskError

from pipeline import results, running
from pipeline.sweep.events import Event, Failed, Finished, Progressed, Started

logger = logging.getLogger(__name__)

_SILENT = (
    "(nothing: so it is when the kernel, Ray's memory monitor or a lost node ended the worker)"
)


class Reporter(tune.Callback):
    """Puts the events of a sweep into `events`; `out` is the output folder."""

    def __init__(
        self,
        events: "queue.Queue[Event | BaseException | None]",
        out: Path,
        *,
        time_limit_seconds: float | None = None,
    ) -> None:
        self._events, self._out, self._time_limit = events, out, time_limit_seconds

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that we never make

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._events.put(Started(_key(trial)))

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **info: Any
    ) -> None:
        for note in result.get("notes", ()):
            logger.warning("run %s: %s", result["key"], note)
        if result.get("epochs"):
            self._events.put(Progressed(result["key"], result["epochs"]))
        if result.get("row"):
            self._events.put(Finished(result["key"], result["row"]))

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        if self._took_too_long(_key(trial)):  # another worker finds the failure file and gives up
            return
        if _lost(trial):
            logger.warning(
                "run %s lost its worker (%s); another goes on from its checkpoint if it left one",
                *(_key(trial), _last_line(str(trial.get_error() or ""))),
            )

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        key = _key(trial)
        if key in results.row_keys(self._out):  # lost between writing its row and telling so
            self._events.put(Finished(key, results.read_row(self._out, key)))
            return
        path = results.failure_path(self._out, key)
        if not path.exists() and not self._took_too_long(key):
            _write_failure(self._out, key, trial)
        running.end(self._out, key)
        self._events.put(Failed(key, _last_line(path.read_text(encoding="utf-8"))))

    def _took_too_long(self, key: str) -> bool:
        """Whether the run was stopped for its time; its failure file then says so."""
        where = running.overtime(self._out, key)
        if not where:
            return False
        results.write_text(
            results.failure_path(self._out, key),
            f"run {key} failed: it took longer than its time limit (--time-limit).\n"
            "To go on from its last checkpoint: the same `fcdd run` command with --retry-failed "
            f"and a longer limit.\nWhere it was, thread by thread:\n\n{where}\n"
            f"stopped after {self._time_limit or 0:g} s, the time limit of a run\n",
        )
        running.end(self._out, key)
        return True


def _key(trial: Any) -> str:
    return trial.config["trial"]["key"]


def _lost(trial: Any) -> bool:
    """Whether the worker ended without raising: killed, out of memory, or with its machine."""
    return not isinstance(trial.get_pickled_error(), RayTaskError)


def _write_failure(out: Path, key: str, trial: Any) -> None:
    cause = "an error outside of the run; Ray's account of it follows"
    if _lost(trial):
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
    results.write_text(
        results.failure_path(out, key),
        f"run {key} failed: {cause}.\n"
        "To try again: the same `fcdd run` command with --retry-failed.\n"
        f"{seen}\n{trial.get_error() or _SILENT}\n",
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its worker was lost"
