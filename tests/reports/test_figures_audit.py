from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import results
from reports import evidence, figures_audit, plots

NUMBERS = {
    "area_of_mark": 0.0625,
    "mass_on_mark": 0.5,
    "mass_without_mark": 0.05,
    "mass_on_moved_mark": 0.25,
    "auroc_clean": 0.9,
    "auroc_mark_on_nominal": 0.99,
    "auroc_mark_on_anomalous": 0.4,
    "auroc_mark_moved": 0.7,
}
MARK = {"watermark.kind": "square", "watermark.side_px": 7}


def examples() -> dict[str, np.ndarray]:
    """Two images, a tenth of white at the marked and moved ones."""
    made: dict[str, np.ndarray] = {"ids": np.arange(2)}
    for place, version in enumerate(("clean", "marked", "moved")):
        made[f"{version}_images"] = np.full((2, 1, 8, 8), 10 * place, np.uint8)
        made[f"{version}_heatmaps"] = np.full((2, 8, 8), float(place), np.float32)
    return made


@pytest.fixture
def audited(folder_of: Callable[..., Path]) -> Path:
    """Two seeds of class 3, trained with a mark and audited; the second has more mass on it."""
    rows: list[tuple[dict[str, Any], dict[str, Any]]] = [({**MARK, "seed": s}, {}) for s in (0, 1)]
    folder = folder_of(rows)
    for seed in (0, 1):
        numbers = {**NUMBERS, "mass_on_mark": 0.5 + 0.2 * seed}
        results.write_audit(folder, f"{seed:016x}", numbers, **examples())
    return folder


def gathered(folder: Path) -> evidence.Evidence:
    return evidence.gather([folder], evidence.read_rows([folder]))


def test_audit_is_drawn_with_its_examples(audited: Path, tmp_path: Path) -> None:
    found = gathered(audited)
    with plots.style():
        drawn = figures_audit.write(found.data[0], found.places, tmp_path)
    assert [one.name for one in drawn] == ["digits_audit", "digits_audit_3_3"]
    assert "trained with a mark (square) on nominal images, means over 2 seeds" in drawn[0].caption


def test_numbers_are_means_over_seeds(audited: Path) -> None:
    found = gathered(audited)
    (data,) = found.data
    runs = figures_audit.read(data.methods[0], found.places)
    with plots.style():
        figure = figures_audit.numbers(data, runs)
    points = {line.get_label(): line.get_xdata() for ax in figure.axes for line in ax.lines}
    assert points["on the mark"] == pytest.approx([0.6])
    assert points["mark on anomalous"] == pytest.approx([0.4])


def test_examples_are_normalised_together(audited: Path) -> None:
    found = gathered(audited)
    row = found.data[0].rows[0]
    lines = figures_audit.examples(row, found.places, figures_audit.LOOK)
    assert lines is not None
    heat = lines[1].tiles[:, 0, 0].astype(int).sum(-1)
    assert heat[0] == heat[1] < heat[2] == heat[3] < heat[4] == heat[5]


def test_runs_without_an_audit_are_not_drawn(audited: Path, tmp_path: Path) -> None:
    for path in (audited / "audits").iterdir():
        path.unlink()
    found = gathered(audited)
    assert figures_audit.write(found.data[0], found.places, tmp_path) == []


def test_damaged_audit_is_named(audited: Path, tmp_path: Path) -> None:
    path = audited / "audits" / f"{1:016x}.json"
    found = gathered(audited)
    for text in ("no json", "{}", "[]"):
        path.write_text(text)
        with pytest.raises(ValueError, match="0{15}1.json is no audit .*delete it and audit again"):
            figures_audit.read(found.data[0].methods[0], found.places)
    (audited / "audits" / f"{0:016x}.npz").write_bytes(b"x")
    with pytest.raises(ValueError, match="0{16}.npz cannot be used"):
        figures_audit.examples(found.data[0].rows[0], found.places, figures_audit.LOOK)
