"""Live tracking of a sweep, from a thread that may fall behind and never holds training up."""

import logging
import queue
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlflow.exceptions import MlflowException

from fcdd.config import Run, flatten
from pipeline.sweep.events import Event, Failed, Finished, Progressed, Started
from pipeline.tracking.store import Store, answering, brief, complete, store_uri

logger = logging.getLogger(__name__)


class Tracker:
    """Writes the events of a sweep to the store. Raises ValueError when it does not answer at the
    start; lost later, the sweep goes on and `lost` says so. `done`: rows of earlier starts."""

    def __init__(
        self,
        out: Path,
        benchmark: str,
        runs: Mapping[str, Run],
        *,
        done: Iterable[str],
        tracking_uri: str | None,
    ) -> None:
        with answering(store_uri(out, tracking_uri)):
            self._store = Store(out, benchmark, tracking_uri)
            complete(self._store, out, done)  # also clears what an interrupted start left open
        self._runs = runs
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self.lost: str | None = None
        self._thread.start()

    def log(self, event: Event) -> None:
        """Queues `event`; returns at once. Does nothing once the store is lost."""
        if self.lost is None:
            self._events.put(event)

    def close(self, *, wait_seconds: float = 60.0) -> None:
        """Waits for what is queued, at most `wait_seconds`, then closes the runs still open."""
        self._events.put(None)
        self._thread.join(wait_seconds)
        if self._thread.is_alive():
            self.lost = f"the store is more than {wait_seconds:g} s behind"

    def _work(self) -> None:
        try:
            while (event := self._events.get()) is not None:
                self._write(event)
            self._store.close()
        except MlflowException as error:  # what it left open, `sync` closes
            self.lost = brief(error)
            logger.warning("tracking lost: %s", self.lost)
        except BaseException as error:
            self.lost = f"{type(error).__name__}: {error}"
            raise

    def _write(self, event: Event) -> None:
        run = self._runs[event.key]
        match event:
            case Started(key):
                self._store.start(key, flatten(run), run.data.class_name)
            case Progressed(key, epochs):
                self._store.log_epochs(key, epochs)
            case Finished(key, row):
                self._store.finish(key, row)
            case Failed(key, message):
                self._store.fail(key, message)
