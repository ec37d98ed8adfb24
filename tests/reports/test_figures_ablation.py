from dataclasses import replace

import numpy as np
import pytest

from reports import figures_ablation, plots
from reports.ablation import Curve

CURVE = Curve(
    name="FCDD",
    data="mvtec",
    field="supervision.maps_per_defect",
    label="labelled maps per defect type",
    metric="pixel_auroc",
    x=(0.0, 1.0, 4.0),
    x_names=("0", "1", "4"),
    mean=(0.9, 0.92, 0.96),
    low=(0.89, 0.91, None),
    high=(0.91, 0.93, None),
    n=(2, 2, 1),
    gain=(None, 0.02, 0.06),
    gain_low=(None, 0.01, None),
    gain_high=(None, 0.03, None),
    per_class={"grid": (0.8, 0.84, None), "leather": (1.0, 1.0, 0.96)},
    published={0.0: 0.92},
    keys=((), (), ()),
)


def points(ax: object, marker: str) -> list[tuple[list[float], list[float]]]:
    lines = [line for line in ax.lines if line.get_marker() == marker]  # type: ignore[attr-defined]
    return [(np.asarray(one.get_xdata()).tolist(), one.get_ydata().tolist()) for one in lines]


def test_gain_is_drawn_in_points_and_divided_by_the_added_maps() -> None:
    with plots.style():
        metric, gain, per_map = figures_ablation.draw([CURVE]).axes
    assert points(metric, "o") == [([0, 1, 4], [0.9, 0.92, 0.96])]
    assert points(gain, "o")[0][0] == [1, 4]
    assert points(gain, "o")[0][1] == pytest.approx([2, 6])
    assert points(per_map, "o")[0][1] == pytest.approx([2, 1.5])


def test_published_values_are_crosses() -> None:
    with plots.style():
        metric = figures_ablation.draw([CURVE]).axes[0]
    (cross,) = [line for line in metric.lines if line.get_marker() == "x"]
    assert np.asarray(cross.get_xydata()).tolist() == [[0.0, 0.92]]


def test_gaps_of_a_class_are_not_drawn_as_values() -> None:
    with plots.style():
        grid, leather = figures_ablation.draw_classes([CURVE]).axes
    assert [ax.get_title() for ax in (grid, leather)] == ["grid", "leather"]
    assert points(grid, "o") == [([0, 1], [0.8, 0.84])]
    assert points(leather, "o") == [([0, 1, 4], [1.0, 1.0, 0.96])]


def test_sizes_of_the_pool_stand_on_a_logarithmic_axis() -> None:
    pool = replace(
        CURVE,
        field="outliers.limit",
        x=(1.0, 8.0, 50_000.0),
        x_names=("1", "8", "50000 (all)"),
        published={},
    )
    with plots.style():
        axes = figures_ablation.draw([pool]).axes
    assert [ax.get_xscale() for ax in axes] == ["log", "log"]
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["1", "8", "50000 (all)"]


def test_one_point_without_gain_has_one_panel() -> None:
    alone = replace(CURVE, gain=(None, None, None))
    with plots.style():
        assert len(figures_ablation.draw([alone]).axes) == 1


def test_caption_says_what_is_drawn() -> None:
    text = figures_ablation.caption("MVTec-AD", [CURVE])
    assert text.startswith("pixel AUROC on MVTec-AD against labelled maps per defect type: mean")
    assert "1 to 2 seeds" in text
    assert "paired difference to 0" in text
    assert "divided by the number of added maps" in text
    assert "crosses: the paper's values" in text
