"""Output folders with rows of one's choice."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import results
from reports.methods import RUN

MakeRow = Callable[..., dict[str, Any]]
Folder = Callable[..., Path]


def nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """The Run of a row as plan.json holds it."""
    run: dict[str, Any] = {}
    for name in RUN:
        part, _, field = name.rpartition(".")
        (run.setdefault(part, {}) if part else run)[field] = row[name]
    return run


@pytest.fixture
def folder_of(tmp_path: Path, make_row: MakeRow) -> Folder:
    """Writes rows and their plan to tmp_path/NAME. Each row is given as (fields of the Run, other
    columns); keys count from 0 unless given."""

    def write(
        rows: Iterable[tuple[dict[str, Any], dict[str, Any]]], *, name: str = "out", first: int = 0
    ) -> Path:
        out = tmp_path / name
        results.prepare(out)
        plan = {}
        for number, (fields, columns) in enumerate(rows, first):
            row = make_row(run_=fields, **({"key": f"{number:016x}"} | columns))
            results.write_row(out, row)
            plan[row["key"]] = nested(row)
        results.write_plan(out, "test", plan)
        return out

    return write


@pytest.fixture
def with_scores() -> Callable[[Path], None]:
    """Gives every row of a folder 40 scores, and the metrics that follow from them."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    def add(out: Path) -> None:
        for number, row in enumerate(results.read_rows([out])):
            generator = np.random.default_rng(number)
            labels = (np.arange(40) % 4 > 0).astype(np.uint8)
            scores = np.round(generator.normal(size=40) + labels, 1)  # with ties
            columns = {"id": np.arange(40), "class": labels.astype(np.int64)}
            results.write_scores(out, row["key"], {**columns, "label": labels, "score": scores})
            row["num_test"], row["num_test_anomalous"] = 40, int(labels.sum())
            row["image_auroc"] = float(roc_auc_score(labels, scores))
            row["image_ap"] = float(average_precision_score(labels, scores))
            results.write_row(out, row)

    return add


@pytest.fixture
def pictured(folder_of: Folder) -> Folder:
    """Writes a folder of runs on digits with everything that figures and pages read: per class,
    seed and size of the pool 60 scores, 5 epochs and the heatmaps of 8 images with masks, which lie
    the more on the mask the more outliers there are."""

    def write(
        *,
        classes: Mapping[int, str] = {3: "3", 5: "5"},
        seeds: Iterable[int] = (0, 1),
        limits: Iterable[int | None] = (8, None),
        name: str = "out",
    ) -> Path:
        settings = [
            (number, limit, seed) for number in classes for limit in limits for seed in seeds
        ]
        scores = {place: _scores(*setting) for place, setting in enumerate(settings)}
        rows = [
            (
                {"data.normal_class": number, "outliers.limit": limit, "seed": seed},
                {
                    "class_name": classes[number],
                    "num_test": 60,
                    "num_test_anomalous": 40,
                    "num_outliers": limit or 4000,
                    "image_auroc": float(np.mean(scores[place][20:, None] > scores[place][:20])),
                },
            )
            for place, (number, limit, seed) in enumerate(settings)
        ]
        out = folder_of(rows, name=name)
        for place, (number, limit, seed) in enumerate(settings):
            key = f"{place:016x}"
            ids, labels = np.arange(60), (np.arange(60) >= 20).astype(np.uint8)
            columns = {"id": ids, "class": labels.astype(np.int64), "label": labels}
            results.write_scores(out, key, {**columns, "score": scores[place]})
            epochs = [
                {"epoch": e, "train_loss": 1 / e, "lr": 0.1, "test_auroc": None}
                for e in range(1, 6)
            ]
            epochs[-1]["test_auroc"] = 0.9
            results.write_curve(out, key, epochs)
            results.write_heatmaps(out, key, **_shown(number, limit, seed, scores[place]))
        return out

    return write


def _scores(number: int, limit: int | None, seed: int) -> np.ndarray:
    generator = np.random.default_rng([number, limit or 0, seed])
    shift = np.where(np.arange(60) < 20, 0.0, 1.0 if limit else 2.0)
    return np.exp(generator.normal(size=60) + shift)


def _shown(number: int, limit: int | None, seed: int, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Images 0 to 3 are nominal and 20 to 23 anomalous; the mask is the upper left quarter."""
    generator = np.random.default_rng([number, limit or 0, seed, 1])
    images = np.random.default_rng(number).integers(0, 256, (8, 1, 12, 12)).astype(np.uint8)
    ids = np.array([0, 1, 2, 3, 20, 21, 22, 23])
    masks = np.zeros((8, 12, 12), dtype=bool)
    masks[4:, :6, :6] = True
    heatmaps = generator.random((8, 12, 12)) + (2.0 if limit else 4.0) * masks
    levels = np.array([0.0, 0.97, 1.0])
    return {
        "ids": ids,
        "labels": (ids >= 20).astype(np.uint8),
        "images": images,
        "heatmaps": heatmaps.astype(np.float16),
        "masks": masks,
        "scores": scores[ids],
        "reference_quantiles": levels,
        "reference_values": np.quantile(heatmaps, levels),
    }
