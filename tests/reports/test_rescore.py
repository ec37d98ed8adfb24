from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import results
from reports.metrics import (
    auroc,
    auroc_of_counts,
    average_precision,
    average_precision_of_counts,
    pro_of_counts,
)
from reports.rescore import rescored
from reports.rows import load
from reports.tables import Options
from reports.write import write

Folder = Callable[..., Path]

SCORES = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40).filter(
    lambda pairs: len({label for label, _ in pairs}) == 2
)


def arrays(pairs: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = zip(*pairs, strict=True)
    return np.array(labels, np.uint8), np.array(scores, np.float64) / 4


@settings(max_examples=200)
@given(SCORES)
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = arrays(pairs)
    wins = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high in scores[labels == 1]
        for low in scores[labels == 0]
    ]
    assert auroc(labels, scores) == pytest.approx(np.mean(wins))


@settings(max_examples=200)
@given(SCORES)
def test_average_precision_sums_over_thresholds(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = arrays(pairs)
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        flagged = scores >= threshold
        recall = labels[flagged].sum() / labels.sum()
        total += (recall - recall_before) * labels[flagged].mean()
        recall_before = recall
    assert average_precision(labels, scores) == pytest.approx(total)


def test_metrics_agree_with_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    generator = np.random.default_rng(0)
    labels = (generator.random(500) < 0.3).astype(np.uint8)
    scores = np.round(generator.normal(size=500) + labels, 1)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert average_precision(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_pro_by_hand() -> None:
    """Two regions. From the highest bin: 2 of 10 nominal pixels (rate 0.2) with 0.4 of the mean
    overlap found, then 2 more (0.4) with 1.0: up to 0.3 that is 0.2 x 0.2 + 0.1 x (0.4 + 0.7) / 2.
    """
    nominal = np.array([6, 2, 2])
    overlap = np.array([0.0, 1.2, 0.8])
    expected = (0.2 * 0.4 / 2 + 0.1 * (0.4 + 0.7) / 2) / 0.3
    assert pro_of_counts(nominal, overlap) == pytest.approx(expected)
    assert pro_of_counts(np.array([10, 0]), np.array([0.0, 2.0])) == pytest.approx(1.0)
    assert pro_of_counts(np.array([0, 10]), np.array([2.0, 0.0])) == pytest.approx(0.0)


def test_histograms_agree_with_the_metrics_of_the_runs() -> None:
    """Two implementations, written apart, on the same random histogram."""
    from fcdd.histograms import metrics_from_histograms

    generator = np.random.default_rng(1)
    nominal = generator.integers(0, 50, size=300)
    anomalous = generator.integers(0, 9, size=300) * (np.arange(300) > 100)
    overlap = anomalous / 7.0
    theirs = metrics_from_histograms(np.arange(300.0), nominal, anomalous, overlap)
    assert auroc_of_counts(nominal, anomalous) == pytest.approx(theirs["auroc"], abs=1e-12)
    found = average_precision_of_counts(nominal, anomalous)
    assert found == pytest.approx(theirs["ap"], abs=1e-12)
    assert pro_of_counts(nominal, overlap) == pytest.approx(theirs["pro"], abs=1e-12)


def test_one_label_and_bad_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="needs both kinds, but there are 3 nominal and 0 anoma"):
        auroc(np.zeros(3), np.arange(3.0))
    with pytest.raises(ValueError, match="1 scores are not finite"):
        average_precision(np.array([0, 1]), np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="2 labels do not fit 3 scores"):
        auroc(np.array([0, 1]), np.arange(3.0))


@pytest.fixture
def folder(folder_of: Folder, with_scores: Callable[[Path], None]) -> Path:
    """Two classes by two seeds, with scores that the rows' metrics follow from."""
    out = folder_of(
        [({"data.normal_class": n, "seed": seed}, {}) for n in (0, 1) for seed in (0, 1)]
    )
    with_scores(out)
    return out


def rewrite(folder: Path, key: str, **changes: Any) -> None:
    results.write_row(folder, results.read_row(folder, key) | changes)


def test_rescoring_gives_the_rows_own_numbers(folder: Path) -> None:
    rows = load([folder])
    again = rescored(rows, ["image_auroc", "image_ap"])
    for name in ("image_auroc", "image_ap"):
        assert again.metrics[name] == pytest.approx(rows.metrics[name], abs=1e-12)
        assert again.own[name] is rows.own[name]


def test_report_from_scores_ignores_the_rows_numbers(folder: Path, tmp_path: Path) -> None:
    honest = write([folder], tmp_path / "1", figures=False)
    rewrite(folder, f"{0:016x}", image_auroc=0.123)
    write([folder], tmp_path / "2", figures=False)
    write([folder], tmp_path / "3", options=Options(rescore=True), figures=False)
    name = next(path.name for path in honest if path.suffix == ".md")
    first, second, third = ((tmp_path / n / name).read_text() for n in "123")
    assert first == third
    assert first != second


def test_scores_that_do_not_fit_their_row_are_named(folder: Path) -> None:
    rewrite(folder, f"{0:016x}", num_test=41)
    with pytest.raises(ValueError, match="0.parquet does not fit its row: num_test is 40 in the s"):
        rescored(load([folder]), ["image_auroc"])
    rewrite(folder, f"{0:016x}", num_test=40, num_test_anomalous=7)
    with pytest.raises(ValueError, match="num_test_anomalous is 30 in the scores and 7 in the row"):
        rescored(load([folder]), ["image_auroc"])


def test_missing_and_foreign_scores_are_named(folder: Path) -> None:
    path = folder / "scores" / f"{1:016x}.parquet"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(ValueError, match=r"1.parquet of digits class 0 seed 1 is missing, so its"):
        rescored(load([folder]), ["image_auroc"])
    path.write_bytes(content[:50])
    with pytest.raises(ValueError, match="1.parquet cannot be read"):
        rescored(load([folder]), ["image_auroc"])
    path.write_bytes((folder / "rows" / f"{1:016x}.parquet").read_bytes())
    lacking = r"4 of its 4 columns are missing \(id, class, label, score\)"
    with pytest.raises(ValueError, match=f"1.parquet is not a file of this version: {lacking}"):
        rescored(load([folder]), ["image_auroc"])


def test_image_that_stands_twice_is_named(folder: Path) -> None:
    key = f"{0:016x}"
    scores = results.read_scores(folder, key).to_pydict()
    columns = {name: np.array(values) for name, values in scores.items()}
    columns["id"][1] = 0
    columns["label"] = columns["label"].astype(np.uint8)
    results.write_scores(folder, key, columns)
    with pytest.raises(ValueError, match="0.parquet holds an image id twice"):
        rescored(load([folder]), ["image_auroc"])


@pytest.fixture
def with_pixels(folder_of: Folder) -> Path:
    """One run on textures, with a pixel histogram."""
    nominal, anomalous = np.array([5, 3, 2]), np.array([0, 1, 4])
    overlap = np.array([0.0, 0.2, 0.8])
    fields = {"data.name": "textures", "data.normal_class": 0, "net.name": "FCDD_CNN224"}
    metrics = {
        "pixel_auroc": auroc_of_counts(nominal, anomalous),
        "pixel_ap": average_precision_of_counts(nominal, anomalous),
        "pixel_pro": pro_of_counts(nominal, overlap),
    }
    out = folder_of([(fields, metrics)])
    histogram = {"lower": np.array([0, 1, 2], np.float32), "nominal": nominal}
    columns = {**histogram, "anomalous": anomalous, "overlap": overlap}
    results.write_pixels(out, f"{0:016x}", columns)
    return out


def test_pixel_metrics_follow_from_histograms(with_pixels: Path) -> None:
    rows = load([with_pixels])
    again = rescored(rows, ["pixel_auroc", "pixel_ap", "pixel_pro"])
    # 5 x 0 + 3 x (1 of 5 below 5, half of 3 ties) ...: by hand, of 50 pairs.
    pairs = 1 * (5 + 3 / 2) + 4 * (5 + 3 + 2 / 2)
    assert again.metrics["pixel_auroc"][0] == pytest.approx(pairs / 50)
    for name in ("pixel_auroc", "pixel_ap", "pixel_pro"):
        assert again.metrics[name][0] == pytest.approx(rows.metrics[name][0], abs=1e-12)


def test_impossible_histogram_is_named(with_pixels: Path) -> None:
    key = f"{0:016x}"
    columns = results.read_pixels(with_pixels, key).to_pydict()
    arrays = {name: np.array(values) for name, values in columns.items()}
    arrays["lower"] = np.array([0, 2, 1], np.float32)
    results.write_pixels(with_pixels, key, arrays)
    with pytest.raises(ValueError, match="0.parquet is no histogram: bins must rise"):
        rescored(load([with_pixels]), ["pixel_pro"])
