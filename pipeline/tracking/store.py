"""MLflow as a view of the rows: one parent run per benchmark, one child per Run.

Only the driver writes it. Deleting the store loses nothing: `sync` makes it again from the rows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from pipeline import results

_PARENT = "mlflow.parentRunId"
_BATCH = 1000  # most metrics that MLflow takes at once
_FINAL = ("image_auroc", "image_ap", "train_images_per_second", "train_seconds")


def store_uri(out: Path, tracking_uri: str | None) -> str:
    """`tracking_uri`, or SQLite in the output folder."""
    return tracking_uri or f"sqlite:///{(out / 'mlflow.db').resolve()}"


def brief(error: MlflowException) -> str:
    """The first line of `error`, short enough for a message; of a connection, what broke it."""
    line = str(error).splitlines()[0]
    return line.rpartition("(Caused by ")[2].removesuffix(")")[:200]


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turns what MLflow raises inside into a ValueError with a remedy."""
    try:
        yield
    except MlflowException as error:
        raise ValueError(
            f"tracking store {uri!r} does not answer ({brief(error)}); "
            "start it, give another --tracking-uri, or go without with --no-tracking"
        ) from None


class Store:
    """The experiment of one benchmark. Its methods raise what MLflow raises; the caller knows
    whether that is an error or a loss to live with."""

    def __init__(self, out: Path, benchmark: str, tracking_uri: str | None) -> None:
        local = tracking_uri is None
        artifacts = (out / "mlartifacts").resolve().as_uri() if local else None
        self._client = MlflowClient(tracking_uri=store_uri(out, tracking_uri))
        found = self._client.get_experiment_by_name(benchmark)
        self._experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(benchmark, artifact_location=artifacts)
        )
        self._children: dict[str, str] = {}
        self._parent = self._open_parent(benchmark)

    def _search(self, filter_string: str) -> list[Any]:
        runs: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment], filter_string, max_results=1000, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs

    def _open_parent(self, benchmark: str) -> str:
        parents = self._search("tags.role = 'benchmark'")
        if parents:
            return parents[0].info.run_id
        parent = self._client.create_run(
            self._experiment, run_name=benchmark, tags={"role": "benchmark"}
        )
        return parent.info.run_id

    def finished_keys(self) -> set[str]:
        """Keys of the children that are complete; incomplete ones of an earlier start are closed
        and deleted (their runs begin anew)."""
        finished = set()
        for child in self._search("tags.role = 'run'"):
            if child.info.status == "FINISHED":
                finished.add(child.data.tags["key"])
            elif child.data.tags["key"] not in self._children:
                self._discard(child.info.run_id)
        return finished

    def _discard(self, child: str) -> None:
        self._client.set_terminated(child, "KILLED")  # no child stays RUNNING, even a deleted one
        self._client.delete_run(child)

    def start(self, key: str, fields: Mapping[str, Any], class_name: str) -> None:
        """Opens the child of run `key`; `fields` are its dotted Run fields. A child that is open
        already is discarded: its worker was lost and the run begins anew."""
        if key in self._children:
            self._discard(self._children.pop(key))
        tags = {
            _PARENT: self._parent,
            "role": "run",
            "key": key,
            "dataset": fields["data.name"],
            "class": class_name,
            "seed": str(fields["seed"]),
            "method": f"{fields['objective.name']} {fields['net.name']}",
        }
        name = f"{fields['data.name']} {class_name} seed {fields['seed']}"
        child = self._client.create_run(self._experiment, run_name=name, tags=tags)
        self._children[key] = child.info.run_id
        parameters = [Param(field, str(value)) for field, value in fields.items()]
        self._client.log_batch(child.info.run_id, params=parameters)

    def log_epochs(self, key: str, epochs: Iterable[Mapping[str, Any]]) -> None:
        """Logs train_loss, lr and test_auroc (where there is one) with the epoch as step."""
        metrics = [
            Metric(name, epoch[name], 0, epoch["epoch"])
            for epoch in epochs
            for name in ("train_loss", "lr", "test_auroc")
            if epoch[name] is not None
        ]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._children[key], metrics[start : start + _BATCH])

    def finish(self, key: str, row: Mapping[str, Any]) -> None:
        """Logs the final metrics and the circumstances of run `key` and closes its child."""
        child = self._children.pop(key)
        tags = [
            RunTag(name, str(row[name]))
            for name in ("commit", "host", "cpu", "device", "version.torch", "data_fingerprint")
        ]
        metrics = [Metric(name, row[name], 0, row["training.epochs"]) for name in _FINAL]
        self._client.log_batch(child, metrics, tags=tags)
        self._client.set_terminated(child, "FINISHED")

    def fail(self, key: str, message: str) -> None:
        """Closes the child of run `key` as FAILED."""
        child = self._children.pop(key, None)
        if child:
            self._client.set_tag(child, "error", message[:500])
            self._client.set_terminated(child, "FAILED")

    def close(self) -> None:
        """Ends what is still open as KILLED, and the parent by what its children became."""
        for child in self._children.values():
            self._client.set_terminated(child, "KILLED")
        status = "KILLED" if self._children else "FINISHED"
        self._children.clear()
        self._client.set_terminated(self._parent, status)


def sync(out: Path, tracking_uri: str | None) -> int:
    """Completes the store from plan, rows and curves of `out`; returns how many runs it added.

    Raises ValueError when the store does not answer; what it took by then is not added again.
    """
    plan = results.read_plan(out)
    benchmarks: dict[str, list[str]] = {}
    for key in sorted(results.row_keys(out)):
        for name in plan[key]["benchmarks"] if key in plan else ["rows without a plan"]:
            benchmarks.setdefault(name, []).append(key)
    with answering(store_uri(out, tracking_uri)):
        return sum(
            _sync(Store(out, name, tracking_uri), out, keys) for name, keys in benchmarks.items()
        )


def _sync(store: Store, out: Path, keys: Sequence[str]) -> int:
    added = complete(store, out, keys)
    store.close()
    return added


def complete(store: Store, out: Path, keys: Iterable[str]) -> int:
    """Adds the rows of `keys` that have no complete child in `store`; returns how many."""
    missing = sorted(set(keys) - store.finished_keys())
    for key in missing:
        row = results.read_row(out, key)
        store.start(key, _fields(row), row["class_name"])
        store.log_epochs(key, results.read_curve(out, key))
        store.finish(key, row)
    return len(missing)


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    names = results.SCHEMA.names
    run = names[names.index("data.name") : names.index("class_name")]
    return {name: row[name] for name in run}
