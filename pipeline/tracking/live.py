"""Live tracking of a sweep, from a thread that may fall behind and never holds training up."""

import json
import logging
import queue
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from fcdd.config import Run, flatten
from pipeline import results
from pipeline.places import Place
from pipeline.sweep.events import Event, Failed, Finished, Progressed, Started
from pipeline.tracking.store import Store, answering, brief, complete, store_uri

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 30.0  # between attempts to reach a lost store; each may block for 20 s
_SHORT_SECONDS = 2.0  # a run that ends within them is entered once, when it is done: half the work


@dataclass(frozen=True)
class _Late:
    """Run `key` began a while ago and has no child yet."""

    key: str


@dataclass(frozen=True)
class _Packed:
    """A Finished that waits, in 1.5 kB instead of 15: thousands do where a store is behind."""

    key: str
    content: bytes

    @staticmethod
    def of(event: Finished) -> "_Packed":
        return _Packed(event.key, zlib.compress(json.dumps([event.row, event.epochs]).encode(), 1))

    def opened(self) -> Finished:
        return Finished(self.key, *json.loads(zlib.decompress(self.content)))


class Tracker:
    """Writes the events of a sweep to the store. Raises ValueError when it does not answer at the
    start. Lost later, the sweep goes on, `lost` says why, and the store is tried again now and
    then and at the end. `done`: rows of earlier starts."""

    def __init__(
        self,
        out: Place,
        benchmark: str,
        runs: Mapping[str, Run],
        *,
        done: Iterable[str],
        tracking_uri: str | None,
    ) -> None:
        self._out, self._benchmark, self._uri = out, benchmark, tracking_uri
        self._runs, self._done = runs, set(done)
        self._failed: dict[str, str] = {}
        self._waiting: dict[str, float] = {}  # runs that began and have no child yet, and when
        with answering(store_uri(out, tracking_uri)):
            self._store = self._opened()
        self._events: queue.Queue[Event | _Packed | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._ever_lost = self._given_up = False
        self._try_at = 0.0
        self.lost: str | None = None
        self._thread.start()

    def log(self, event: Event) -> None:
        """Queues `event`; returns at once."""
        self._events.put(_Packed.of(event) if isinstance(event, Finished) else event)

    def close(self, *, wait_seconds: float = 60.0) -> None:
        """Waits for what is queued, at most `wait_seconds`, then closes the runs still open;
        later it gives up and leaves them to `sync`."""
        self._events.put(None)
        self._thread.join(wait_seconds)
        if self._thread.is_alive():
            self._given_up = True  # the thread ends, and does not take this for a store lost
            self.lost = f"the store is more than {wait_seconds:g} s behind"

    def _opened(self) -> Store:
        """The store with the rows so far, and without what an interrupted start left open."""
        store = Store(self._out, self._benchmark, self._uri)
        known = {*results.planned_keys(self._out), *self._runs, *self._done}
        complete(store, self._out, self._done, known=known)
        return store

    def _work(self) -> None:
        try:
            while (event := self._next()) is not None:
                if self._given_up:
                    return
                self._keep(event)
                if self.lost is None:
                    self._attempt(lambda event=event: self._write(event))
                elif time.monotonic() > self._try_at:
                    self._attempt(self._come_back)
            if self._ever_lost:  # a server may have done late what this side gave up
                self._attempt(self._come_back)
            if self.lost is None:
                self._attempt(lambda: self._store.close())
        except BaseException as error:
            self.lost = f"{type(error).__name__}: {error}"
            raise

    def _next(self) -> Event | _Late | None:
        """What to write next: an event, the end, or a run that is no short one."""
        now = time.monotonic()
        first = next(iter(self._waiting.items()), None)
        if first is None or self.lost is not None:
            event = self._events.get()
        else:
            key, began = first
            try:
                event = self._events.get(timeout=max(0.0, began + _SHORT_SECONDS - now))
            except queue.Empty:
                return _Late(key)
        return event.opened() if isinstance(event, _Packed) else event

    def _keep(self, event: Event | _Late) -> None:
        """Remembers what a store that comes back has to be told."""
        match event:
            case Finished(key):
                self._done.add(key)
                self._failed.pop(key, None)
            case Failed(key, message):
                self._failed[key] = message

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except MlflowException as error:  # what it left open, a later attempt or `sync` closes
            if self.lost is None:
                logger.warning("tracking lost: %s", brief(error))
            self.lost, self._ever_lost = brief(error), True
            self._try_at = time.monotonic() + _AGAIN_SECONDS

    def _come_back(self) -> None:
        """Opens the store anew; runs at work then enter it when they end."""
        self._store = self._opened()
        self._waiting.clear()
        for key, message in self._failed.items():
            self._fail(key, message)
        if self.lost is not None:
            logger.warning("tracking is back")
        self.lost = None

    def _write(self, event: Event | _Late) -> None:
        waited = self._waiting.pop(event.key, None) is not None
        match event:
            case Started(key):
                self._store.discard(key)  # its worker was lost
                self._waiting[key] = time.monotonic()
            case _Late(key):
                self._start(key)
            case Progressed(key, epochs):
                if waited:
                    self._start(key)
                if self._store.is_open(key):
                    self._store.log_epochs(key, epochs)
            case Finished(key, row, epochs):
                if self._store.is_open(key):
                    self._store.finish(key, row, epochs)
                else:
                    whole = len(epochs) == row["training.epochs"]
                    self._store.add(row, epochs if whole else results.read_curve(self._out, key))
            case Failed(key, message):
                self._fail(key, message)

    def _start(self, key: str) -> None:
        run = self._runs[key]
        self._store.start(key, flatten(run), run.data.class_name)

    def _fail(self, key: str, message: str) -> None:
        if not self._store.is_open(key):
            self._start(key)
        self._store.fail(key, message)
