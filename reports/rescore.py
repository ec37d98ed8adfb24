"""Metrics computed again from what runs stored, without training: scores and pixel histograms."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from pipeline import results
from pipeline.results import Place
from reports.metrics import (
    auroc,
    auroc_of_counts,
    average_precision,
    average_precision_of_counts,
    pro_of_counts,
)
from reports.rows import METRICS, Rows

IMAGE = ("image_auroc", "image_ap")
PIXEL = ("pixel_auroc", "pixel_ap", "pixel_pro")
Progress = Callable[[int, int], None]


def image_metrics(rows: Rows, place: int) -> dict[str, float]:
    """Image AUROC and AP of the row at `place` from its scores.

    Raises ValueError naming the file when it is missing or corrupt, or does not fit the row: in
    the number of images, of anomalous ones, or in a score that is not finite.
    """
    path, folder = _path(rows, place, "scores")
    table = results.read_scores(folder, rows.keys[place])
    labels, scores = table["label"].to_numpy(), table["score"].to_numpy()
    counts = {"num_test": len(labels), "num_test_anomalous": int((labels == 1).sum())}
    for name, count in counts.items():
        if count != rows.value(name, place):
            raise ValueError(
                f"{path} does not fit its row: {name} is {count} in the scores and "
                f"{rows.value(name, place)} in the row; {_REMEDY}"
            )
    if len(np.unique(table["id"].to_numpy())) != len(labels):
        raise ValueError(f"{path} holds an image id twice; {_REMEDY}")
    try:
        return {
            "image_auroc": auroc(labels, scores),
            "image_ap": average_precision(labels, scores),
        }
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_REMEDY}") from None


_REMEDY = "delete it with its file in rows/ and run the same command again"


def pixel_metrics(rows: Rows, place: int) -> dict[str, float]:
    """Pixel AUROC, AP and PRO of the row at `place` from its histograms. Raises ValueError naming
    the file when it is missing, corrupt or impossible."""
    path, folder = _path(rows, place, "pixels")
    table = results.read_pixels(folder, rows.keys[place])
    lower, nominal, anomalous, overlap = (
        table[name].to_numpy() for name in ("lower", "nominal", "anomalous", "overlap")
    )
    counts = np.stack([nominal, anomalous, overlap])
    if (np.diff(lower) <= 0).any() or not np.isfinite(counts).all() or (counts < 0).any():
        raise ValueError(
            f"{path} is no histogram: bins must rise and counts be 0 or more; {_REMEDY}"
        )
    try:
        return {
            "pixel_auroc": auroc_of_counts(nominal, anomalous),
            "pixel_ap": average_precision_of_counts(nominal, anomalous),
            "pixel_pro": pro_of_counts(nominal, overlap),
        }
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {_REMEDY}") from None


def _path(rows: Rows, place: int, part: str) -> tuple[Place, Place]:
    folder = rows.folders[int(rows.folder[place])]
    path = folder / part / f"{rows.keys[place]}.parquet"
    if not path.is_file():
        raise ValueError(
            f"{path} of {rows.describe(place)} is missing, so its metrics cannot be recomputed; "
            "copy it there, or delete its file in rows/ and run the same command again"
        )
    return path, folder


def rescored(
    rows: Rows, metrics: Iterable[str], *, progress: Progress = lambda done, of: None
) -> Rows:
    """`rows` with `metrics` computed again from scores and histograms. Raises ValueError naming
    every kind of file that is missing or does not fit."""
    wanted = [name for name in METRICS if name in set(metrics)]
    found: dict[str, np.ndarray] = {name: rows.metrics[name].copy() for name in wanted}
    places = np.flatnonzero(rows.present).tolist()
    for number, place in enumerate(places):
        for name, value in metrics_of(rows, place, wanted).items():
            found[name][place] = value
        progress(number + 1, len(places))
    return replace(rows, metrics={**rows.metrics, **found})


def metrics_of(rows: Rows, place: int, wanted: Iterable[str]) -> Mapping[str, float]:
    """Those of the `wanted` metrics that the row at `place` has, computed again."""
    names = [name for name in wanted if not rows.without[name][place]]
    found: dict[str, float] = {}
    if any(name in IMAGE for name in names):
        found |= image_metrics(rows, place)
    if any(name in PIXEL for name in names):
        found |= pixel_metrics(rows, place)
    return {name: value for name, value in found.items() if name in names}
