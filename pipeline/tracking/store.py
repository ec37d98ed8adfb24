"""MLflow as a view of the rows: one parent run per benchmark, one child per Run.

Only the driver writes it. Deleting the store loses nothing: `sync` makes it again from the rows.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline import results
from pipeline.places import Place

logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it raises the same, too

Epochs = Iterable[Mapping[str, Any]]  # fields of `fcdd.training.Epoch`

_PARENT = "mlflow.parentRunId"
_KNOCK_SECONDS = 5
_BATCH = 1000  # most metrics, parameters and tags that MLflow takes at once
_PAGE = 200  # runs that MLflow sends at once
_READ_AT_ONCE = 200  # rows that `complete` holds as Python values
_FINAL = ("image_auroc", "image_ap", "train_images_per_second", "train_seconds")


def store_uri(out: Place, tracking_uri: str | None) -> str:
    """`tracking_uri`, or SQLite in the output folder. Raises ValueError where there is no disk."""
    if tracking_uri is None and not isinstance(out, Path):
        raise ValueError(
            f"{out} is in an object store, where no SQLite can be; give a --tracking-uri, e.g. "
            "sqlite:///mlflow.db"
        )
    return tracking_uri or f"sqlite:///{(Path(str(out)) / 'mlflow.db').resolve()}"


def brief(error: MlflowException) -> str:
    """The first line of `error`, short enough for a message; of a connection, what broke it."""
    line = str(error).splitlines()[0]
    return line.rpartition("(Caused by ")[2].removesuffix(")")[:200]


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turns what MLflow raises inside into a ValueError with a remedy."""
    _knock(uri)
    try:
        yield
    except MlflowException as error:
        if error.error_code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            raise ValueError(
                f"tracking store {uri!r} does not let this user in ({error.error_code}); set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user who may write "
                "there, or go without with --no-tracking"
            ) from None
        raise ValueError(
            f"tracking store {uri!r} does not answer ({brief(error)}); "
            "start it, give another --tracking-uri, or go without with --no-tracking"
        ) from None


def _knock(uri: str) -> None:
    """Raises ValueError where a database server does not let us in: MLflow itself would try for
    100 s, with a traceback each time."""
    dialect = urlsplit(uri).scheme.partition("+")[0]
    if dialect not in ("postgresql", "mysql"):
        return
    try:
        engine = create_engine(uri, connect_args={"connect_timeout": _KNOCK_SECONDS})
        engine.connect().close()
        engine.dispose()
    except (SQLAlchemyError, ModuleNotFoundError) as error:
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise ValueError(
            f"tracking store {uri!r} does not answer ({lines[-1].strip()[:200]}); is it up, its "
            "driver installed (`pip install 'psycopg[binary]'` for postgresql+psycopg://), and the "
            "password in PGPASSWORD? --no-tracking goes without"
        ) from None


class Store:
    """The experiment of one benchmark. Its methods raise what MLflow raises; the caller knows
    whether that is an error or a loss to live with."""

    def __init__(self, out: Place, benchmark: str, tracking_uri: str | None) -> None:
        artifacts = None
        if tracking_uri is None and isinstance(out, Path):
            artifacts = (out / "mlartifacts").resolve().as_uri()
        self._client = MlflowClient(tracking_uri=store_uri(out, tracking_uri))
        found = self._client.get_experiment_by_name(benchmark)
        self._experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(benchmark, artifact_location=artifacts)
        )
        self._children: dict[str, str] = {}
        self._parameters: dict[str, list[Param]] = {}  # of children of which nothing is logged yet
        self._failed: dict[str, list[str]] = {}
        self._parent = self._open_parent(benchmark)

    def _search(self, filter_string: str) -> list[tuple[str, str, str]]:
        """(MLflow's id, key, status) of the runs found. Whole ones hold some 100 objects each."""
        found: list[tuple[str, str, str]] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], filter_string, max_results=_PAGE, page_token=token
            )
            found += [
                (one.info.run_id, one.data.tags.get("key", ""), one.info.status) for one in page
            ]
            token = page.token
            if not token:
                return found

    def _open_parent(self, benchmark: str) -> str:
        parents = self._search("tags.role = 'benchmark'")
        if parents:
            return parents[0][0]
        parent = self._client.create_run(
            self._experiment, run_name=benchmark, tags={"role": "benchmark"}
        )
        return parent.info.run_id

    def finished_keys(self, known: Iterable[str]) -> set[str]:
        """Keys of the children that are complete.

        Of the keys in `known`, children that an earlier start left open are closed and deleted, as
        is a second complete one; those of other keys belong to somebody else's sweep.
        """
        finished: set[str] = set()
        mine = set(known) - set(self._children)
        for child, key, status in self._search("tags.role = 'run'"):
            if status == "FINISHED" and key not in finished:
                finished.add(key)
            elif key in mine and status == "FAILED":
                self._failed.setdefault(key, []).append(child)
            elif key in mine:
                self._discard(child)
        for key in finished & set(self._failed):
            self._forget_failed(key)
        return finished

    def _forget_failed(self, key: str) -> None:
        for child in self._failed.pop(key, []):
            self._client.delete_run(child)

    def _discard(self, child: str) -> None:
        self._client.set_terminated(child, "KILLED")  # no child stays RUNNING, even a deleted one
        self._client.delete_run(child)

    def is_open(self, key: str) -> bool:
        """Whether `start` opened a child of run `key` that has not ended."""
        return key in self._children

    def start(
        self,
        key: str,
        fields: Mapping[str, Any],
        class_name: str,
        *,
        row: Mapping[str, Any] | None = None,
    ) -> None:
        """Opens the child of run `key`; `fields` are its dotted Run fields, which it gets with what
        is logged first (a request takes up to 60 ms). One that is open already (its worker was
        lost) or failed at an earlier start is discarded. With the `row` of a run that is done it
        has the tags of `finish`."""
        self.discard(key)
        self._forget_failed(key)
        tags = {
            _PARENT: self._parent,
            "role": "run",
            "key": key,
            "dataset": fields["data.name"],
            "class": class_name,
            "seed": str(fields["seed"]),
            "method": f"{fields['objective.name']} {fields['net.name']}",
            **(_circumstances(row) if row else {}),
        }
        name = f"{fields['data.name']} {class_name} seed {fields['seed']}"
        child = self._client.create_run(self._experiment, run_name=name, tags=tags)
        self._children[key] = child.info.run_id
        self._parameters[key] = [
            Param(field, str(list(value) if isinstance(value, tuple) else value))  # as rows have it
            for field, value in fields.items()
        ]

    def log_epochs(self, key: str, epochs: Epochs) -> None:
        """Logs train_loss, lr and test_auroc (where there is one) with the epoch as step."""
        self._log(key, _epoch_metrics(epochs))

    def finish(self, key: str, row: Mapping[str, Any], epochs: Epochs) -> None:
        """Logs `epochs`, final metrics and circumstances of run `key` and closes its child."""
        tags = [RunTag(name, value) for name, value in _circumstances(row).items()]
        self._end(key, row, epochs, tags)

    def add(self, row: Mapping[str, Any], epochs: Epochs) -> None:
        """Adds the complete child of `row`, whose `epochs` are all there are."""
        key = row["key"]
        self.start(key, _fields(row), row["class_name"], row=row)
        self._end(key, row, epochs)

    def discard(self, key: str) -> None:
        """Deletes the child of run `key` if one is open."""
        if key in self._children:
            self._discard(self._children.pop(key))

    def _end(
        self, key: str, row: Mapping[str, Any], epochs: Epochs, tags: Sequence[RunTag] = ()
    ) -> None:
        final = [Metric(name, row[name], 0, row["training.epochs"]) for name in _FINAL]
        self._log(key, [*_epoch_metrics(epochs), *final], tags)
        self._client.set_terminated(self._children.pop(key), "FINISHED")

    def fail(self, key: str, message: str) -> None:
        """Closes the child of run `key` as FAILED."""
        if key in self._children:
            self._log(key, [], [RunTag("error", message[:500])])
            self._client.set_terminated(self._children.pop(key), "FAILED")

    def _log(self, key: str, metrics: Sequence[Metric], tags: Sequence[RunTag] = ()) -> None:
        child, parameters = self._children[key], self._parameters.pop(key, [])
        room = _BATCH - len(parameters) - len(tags)
        self._client.log_batch(child, metrics[:room], parameters, tags)
        for start in range(room, len(metrics), _BATCH):
            self._client.log_batch(child, metrics[start : start + _BATCH])

    def close(self) -> None:
        """Ends what is still open as KILLED, and the parent by what its children became."""
        for key, child in self._children.items():
            if key in self._parameters:
                self._log(key, [])
            self._client.set_terminated(child, "KILLED")
        status = "KILLED" if self._children else "FINISHED"
        self._children.clear()
        self._client.set_terminated(self._parent, status)


def sync(out: Place, tracking_uri: str | None) -> int:
    """Completes the store from plan, rows and curves of `out`; returns how many runs it added.

    Raises ValueError when the store does not answer; what it took by then is not added again.
    """
    plan = results.read_plan(out)
    benchmarks: dict[str, list[str]] = {}
    for key in sorted(results.row_keys(out)):
        for name in plan[key]["benchmarks"] if key in plan else ["rows without a plan"]:
            benchmarks.setdefault(name, []).append(key)
    known = {*plan, *(key for keys in benchmarks.values() for key in keys)}
    with answering(store_uri(out, tracking_uri)):
        return sum(
            _sync(Store(out, name, tracking_uri), out, keys, known)
            for name, keys in benchmarks.items()
        )


def _sync(store: Store, out: Place, keys: Sequence[str], known: Iterable[str]) -> int:
    added = complete(store, out, keys, known=known)
    store.close()
    return added


def complete(store: Store, out: Place, keys: Iterable[str], *, known: Iterable[str]) -> int:
    """Adds the rows of `keys` that have no complete child in `store`, after clearing what earlier
    starts left open of the keys in `known`; returns how many it added."""
    missing = sorted(set(keys) - store.finished_keys(known))
    for start in range(0, len(missing), _READ_AT_ONCE):
        some = results.read_table(out, keys=set(missing[start : start + _READ_AT_ONCE]))
        for row in some.to_pylist():
            store.add(row, results.read_curve(out, row["key"]))
    return len(missing)


def _circumstances(row: Mapping[str, Any]) -> dict[str, str]:
    names = ("commit", "host", "cpu", "device", "version.torch", "data_fingerprint")
    return {name: str(row[name]) for name in names}


def _epoch_metrics(epochs: Epochs) -> list[Metric]:
    return [
        Metric(name, epoch[name], 0, epoch["epoch"])
        for epoch in epochs
        for name in ("train_loss", "lr", "test_auroc")
        if epoch[name] is not None
    ]


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    names = results.SCHEMA.names
    run = names[names.index("data.name") : names.index("class_name")]
    return {name: row[name] for name in run}
