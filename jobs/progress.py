"""One live line of progress on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from fcdd.config import Run, flatten
from pipeline.sweep.events import Event, Failed, Finished, Progressed, Started

_PLAIN_SECONDS = 10.0


_ALWAYS_NAMED = ("data.name", "data.normal_class", "seed")
_TOLD_FIRST = ("objective.name", "supervision.maps_per_defect", "outliers.limit", "net.name")


class Names:
    """Names the runs of a benchmark as people do: data set, class, seed, and what else varies."""

    def __init__(self, runs: Iterable[Run]) -> None:
        flat = [flatten(run) for run in runs]
        self._telling: list[str] = []
        told = 1
        for field in dict.fromkeys((*_TOLD_FIRST, *(flat[0] if flat else ()))):
            if field in _ALWAYS_NAMED:
                continue
            fields = (*_ALWAYS_NAMED[:1], *self._telling, field)
            apart = len({tuple(str(one[f]) for f in fields) for one in flat})
            if apart > told:  # tells apart what the fields before it do not
                self._telling.append(field)
                told = apart

    def __call__(self, run: Run) -> str:
        fields = flatten(run)
        names = [
            str(fields[f]) if f.endswith(".name") else f"{f.split('.')[-1]}={fields[f]}"
            for f in self._telling
        ]
        return " ".join((run.data.name, repr(run.data.class_name), f"seed {run.seed}", *names))


class ProgressLine:
    """Done / running / failed / ETA of a sweep. ETA counts epochs, so it moves within long runs."""

    def __init__(self, console: Console, runs: Mapping[str, Run]) -> None:
        self._console, self._runs = console, runs
        self._describe = Names(runs.values())
        self._epochs_total = sum(run.training.epochs for run in runs.values())
        self._epochs: dict[str, int] = {}
        self._running: set[str] = set()
        self.rows: dict[str, float] = {}
        self.failed: dict[str, str] = {}
        self._started = self._told = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("runs", total=self._epochs_total, counts="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def draw(self, event: Event) -> None:
        """Takes `event` into account and redraws."""
        match event:
            case Started(key):
                if not self._epochs and not self._running:
                    self._started = time.monotonic()  # leaves out the start of Ray
                self._running.add(key)
            case Progressed(key, epochs):
                self._epochs[key] = epochs[-1]["epoch"]
            case Finished(key, row):
                self._running.discard(key)
                self._epochs[key] = self._runs[key].training.epochs
                self.rows[key] = row["image_auroc"]
            case Failed(key, message):
                self._running.discard(key)
                self._epochs[key] = self._runs[key].training.epochs
                self.failed[key] = message
        self._show(event)

    def _counts(self) -> str:
        done, total = len(self.rows), len(self._runs)
        return (
            f"{done}/{total} done, {len(self._running)} running, {len(self.failed)} failed, "
            f"ETA {self._eta()}"
        )

    def _eta(self) -> str:
        epochs = sum(self._epochs.values())
        if not epochs:
            return "?"
        seconds = (time.monotonic() - self._started) * (self._epochs_total / epochs - 1)
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"

    def _show(self, event: Event) -> None:
        if self._console.is_terminal:
            self._bar.update(
                self._task, completed=sum(self._epochs.values()), counts=self._counts()
            )
            return
        late = time.monotonic() - self._told > _PLAIN_SECONDS
        if isinstance(event, Finished):
            name, auroc = self._describe(self._runs[event.key]), event.row["image_auroc"]
            self._console.print(
                f"{name}: AUROC {auroc:.3f} ({self._counts()})", highlight=False, soft_wrap=True
            )
        elif isinstance(event, Failed):
            name = self._describe(self._runs[event.key])
            self._console.print(
                f"{name}: FAILED ({self._counts()})", highlight=False, soft_wrap=True
            )
        elif late:
            self._console.print(self._counts(), highlight=False, soft_wrap=True)
        else:
            return
        self._told = time.monotonic()
