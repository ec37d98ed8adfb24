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
