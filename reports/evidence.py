"""What the files beside the rows say about each run: curves, histograms, epochs, heatmaps.

Read once per report, class by class, and kept small: scores of 10,000 test images become two curves
on a grid and two histograms.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zipfile import BadZipFile

import numpy as np

from pipeline import results
from pipeline.results import Place
from reports.curves import precision_on_grid, roc_on_grid, score_edges, shares
from reports.figures_groups import DataSet, Row, data_sets
from reports.methods import RUN
from reports.panels import Shown, shown

MAX_RUNS = 2000  # of a report with figures and details
# What figures and pages read of a row.
COLUMNS = (
    *("key", *RUN, "class_name", "num_test", "num_test_anomalous"),
    *("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_pro", "train_loss"),
    *("train_seconds", "commit", "dirty", "device", "determinism"),
)


@dataclass(frozen=True)
class Epochs:
    """Per epoch [e]: its number, the training loss, and the test AUROC (NaN where not computed)."""

    epoch: np.ndarray
    loss: np.ndarray
    auroc: np.ndarray


@dataclass(frozen=True)
class Scores:
    """A run's scores: ROC and precision on `curves.GRID`, the share of the nominal and of the
    anomalous images per bin between `edges` (common to a method)."""

    roc: np.ndarray
    precision: np.ndarray
    edges: np.ndarray
    logarithmic: bool
    nominal: np.ndarray
    anomalous: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """The data sets with their runs; by run key the folder it lies in, its scores and its epochs
    (runs without the file are left out of `scores` and `epochs`)."""

    data: tuple[DataSet, ...]
    places: Mapping[str, Place]
    scores: Mapping[str, Scores]
    epochs: Mapping[str, Epochs]


def locate(folders: Iterable[Place]) -> dict[str, Place]:
    """The folder of every run key with a row."""
    return {key: folder for folder in folders for key in sorted(results.row_keys(folder))}


def read_rows(folders: Iterable[Place]) -> list[Row]:
    """The rows of `folders` by key, as far as figures and pages need them; none where they are more
    than MAX_RUNS, which neither could show."""
    tables = [results.read_table(folder, list(COLUMNS)) for folder in folders]
    if sum(len(table) for table in tables) > MAX_RUNS:
        return []
    return [row for table in tables for row in table.to_pylist()]


def gather(folders: Iterable[Place], rows: Iterable[Row]) -> Evidence:
    """The evidence for `rows`; the runs of a method share the bins of their histograms.

    Raises ValueError when some runs of a method have a file and others lack it: a curve over the
    rest would look complete.
    """
    places = locate(folders)
    data = tuple(data_sets(rows))
    scores: dict[str, Scores] = {}
    epochs: dict[str, Epochs] = {}
    for method in (method for one in data for method in one.methods):
        if all_or_none(method.rows, places, "scores"):
            scores.update(_scores(method.rows, places))
        if all_or_none(method.rows, places, "curves"):
            keys = [row["key"] for row in method.rows]
            epochs.update({key: _epochs(places[key], key) for key in keys})
    return Evidence(data, places, scores, epochs)


def all_or_none(rows: Sequence[Row], places: Mapping[str, Place], part: str) -> bool:
    """Whether the runs have their file in `part` ("scores", "curves", "heatmaps"). Raises
    ValueError when only some have it."""
    suffix = "npz" if part == "heatmaps" else "parquet"
    paths = [places[row["key"]] / part / f"{row['key']}.{suffix}" for row in rows]
    there = results.each(lambda path: path.is_file(), paths)
    missing = [row for row, here in zip(rows, there, strict=True) if not here]
    if missing and len(missing) < len(rows):
        named = ", ".join(
            f"{row['key']} ({row['class_name']}, seed {row['seed']})" for row in missing[:5]
        )
        raise ValueError(
            f"{len(missing)} of {len(rows)} runs of {rows[0]['data.name']} "
            f"have no file in {part}/: {named}; copy it there, or delete "
            "their files in rows/ and run the same command again"
        )
    return not missing


def _scores(rows: Sequence[Row], places: Mapping[str, Place]) -> dict[str, Scores]:
    found = results.each(_read_scores, [places[row["key"]] for row in rows], rows)
    read = {row["key"]: scores for row, scores in zip(rows, found, strict=True)}
    edges, logarithmic = score_edges([values for _, values in read.values()])
    return {
        key: Scores(
            roc=roc_on_grid(labels, values),
            precision=precision_on_grid(labels, values),
            edges=edges,
            logarithmic=logarithmic,
            nominal=shares(values[labels == 0], edges),
            anomalous=shares(values[labels == 1], edges),
        )
        for key, (labels, values) in read.items()
    }


def _read_scores(place: Place, row: Row) -> tuple[np.ndarray, np.ndarray]:
    columns = results.read_scores(place, row["key"])
    labels, values = columns["label"].to_numpy(), columns["score"].to_numpy()
    path = place / "scores" / f"{row['key']}.parquet"
    remedy = "delete it with its file in rows/ and run the same command again"
    if len(labels) != row["num_test"]:
        raise ValueError(
            f"{path} holds {len(labels)} scores, its row says {row['num_test']}; {remedy}"
        )
    if not np.isfinite(values).all() or not 0 < int((labels == 1).sum()) < len(labels):
        raise ValueError(f"{path} holds scores that are not finite, or one label only; {remedy}")
    return labels, values


def _epochs(place: Place, key: str) -> Epochs:
    lines = sorted(results.read_curve(place, key), key=lambda line: line["epoch"])
    aurocs = [np.nan if line["test_auroc"] is None else line["test_auroc"] for line in lines]
    return Epochs(
        epoch=np.array([line["epoch"] for line in lines], dtype=np.int64),
        loss=np.array([line["train_loss"] for line in lines], dtype=np.float64),
        auroc=np.array(aurocs, dtype=np.float64),
    )


def read_shown(place: Place, key: str) -> Shown:
    """The kept images and heatmaps of run `key`, with their scores: those in the file, else those
    of scores/<key>.parquet. Raises ValueError naming a file that is corrupt or foreign."""
    path = place / "heatmaps" / f"{key}.npz"
    try:
        arrays = results.read_heatmaps(place, key)
        if "ids" in arrays and "scores" not in arrays:
            arrays["scores"] = _scores_of(place, key, arrays["ids"])
        return shown(arrays)
    except results.StoreError:
        raise
    except (ValueError, OSError, EOFError, BadZipFile, zlib.error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{path} cannot be used ({reason}); delete it with its file in rows/ and run again"
        ) from None


def _scores_of(place: Place, key: str, ids: np.ndarray) -> np.ndarray:
    columns = results.read_scores(place, key)
    known, values = columns["id"].to_numpy(), columns["score"].to_numpy()
    order = np.argsort(known)
    found = order[np.searchsorted(known, ids, sorter=order).clip(max=len(known) - 1)]
    if (known[found] != ids).any():
        raise ValueError("scores/ does not have all of its images")
    return values[found]
