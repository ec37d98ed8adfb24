import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.ablation import Curve, curves, receptive_field
from reports.rows import load
from reports.write import write

Folder = Callable[..., Path]
Rows = list[tuple[dict[str, Any], dict[str, Any]]]
TEXTURES: dict[str, Any] = {
    "data.name": "textures",
    "data.preprocessing": "lcnaug1",
    "outliers.source": "none",
    "supervision.mode": "few_maps",
    "supervision.noise": "confetti",
    "supervision.reserved_maps": 4,
    "net.name": "FCDD_CNN224",
}


def few_maps(ks: tuple[int, ...] = (0, 1, 4), *, seeds: int = 3, lr: float = 1e-3) -> Rows:
    """Pixel AUROC 0.5 + 0.1 x class + 0.05 x seed, and 0.02 more per map."""
    return [
        (
            {
                **TEXTURES,
                "training.lr": lr,
                "data.normal_class": number,
                "seed": seed,
                "supervision.maps_per_defect": k,
            },
            {
                "pixel_auroc": 0.5 + 0.1 * number + 0.05 * seed + 0.02 * k,
                "image_auroc": 0.9,
                "labelled_files": [f"{n}.png" for n in range(3 * k)] or None,
            },
        )
        for k in ks
        for number in range(2)
        for seed in range(seeds)
    ]


def made(folder: Path, metric: str = "pixel_auroc") -> list[Curve]:
    return curves(load([folder]), metric=metric)


def test_few_map_curve_is_paired_by_class_and_seed(folder_of: Folder) -> None:
    (curve,) = made(folder_of(few_maps()))
    assert (curve.name, curve.data) == ("FCDD", "textures")
    assert curve.label == "labelled maps per defect type"
    assert curve.x == (0, 1, 4)
    assert curve.x_names == ("0", "1", "4")
    assert curve.mean == pytest.approx((0.6, 0.62, 0.68))
    assert curve.n == (3, 3, 3)
    # Seeds differ by far more than maps do, but equally at every k.
    assert curve.gain[0] is None
    assert curve.gain[1:] == pytest.approx((0.02, 0.08))
    assert curve.gain_low[1:] == pytest.approx((0.02, 0.08))
    assert curve.gain_high[1:] == pytest.approx((0.02, 0.08))
    low, high = curve.low[1], curve.high[1]
    assert low is not None
    assert high is not None
    assert low < 0.62 - 0.03 < 0.62 + 0.03 < high
    assert curve.per_class == {
        "checker": pytest.approx((0.55, 0.57, 0.63)),
        "stripes": pytest.approx((0.65, 0.67, 0.73)),
    }
    assert curve.num_labelled == (0, 3, 12)
    assert [len(keys) for keys in curve.keys] == [6, 6, 6]


def test_methods_have_a_curve_each(folder_of: Folder) -> None:
    slow = few_maps(lr=1e-4)
    found = made(folder_of(few_maps() + slow))
    assert [curve.name for curve in found] == ["FCDD, lr 0.0001", "FCDD, lr 0.001"]


def test_single_values_make_no_curve(folder_of: Folder) -> None:
    assert made(folder_of(few_maps((1,)))) == []


def test_one_seed_has_no_interval(folder_of: Folder) -> None:
    (curve,) = made(folder_of(few_maps(seeds=1)))
    assert curve.low == curve.gain_high == (None, None, None)
    assert curve.gain[1] == pytest.approx(0.02)


def test_point_that_lacks_a_class_has_no_mean(folder_of: Folder) -> None:
    rows = [
        row
        for row in few_maps()
        if (row[0]["data.normal_class"], row[0]["supervision.maps_per_defect"]) != (1, 4)
    ]
    (curve,) = made(folder_of(rows))
    assert curve.mean[2] is None
    assert curve.gain[2] is None
    assert curve.per_class["stripes"][2] is None


def test_pool_without_a_limit_stands_at_its_size(folder_of: Folder) -> None:
    rows = [
        (
            {"data.normal_class": 0, "seed": seed, "outliers.limit": limit},
            {"image_auroc": auroc, "num_outliers": limit or 4000},
        )
        for seed in (0, 1)
        for limit, auroc in ((8, 0.7), (None, 0.9), (64, 0.8))
    ]
    (curve,) = made(folder_of(rows), "image_auroc")
    assert curve.field == "outliers.limit"
    assert curve.x == (8, 64, 4000)
    assert curve.x_names == ("8", "64", "4000 (all)")
    assert curve.mean == pytest.approx((0.7, 0.8, 0.9))


def test_receptive_fields_are_those_of_the_nets() -> None:
    from fcdd.config import Net
    from fcdd.nets import build

    for side, kernels in ((32, (3, 5, 17)), (224, (3, 13))):
        for k in kernels:
            name = f"FCDD_CNN{side}_{k}K"
            net = build.architecture(Net.model_validate({"name": name}), size=(side, side))
            extents = [axis.extent for axis in build.receptive_field(net, (side, side))]
            assert extents == [receptive_field(name)] * 2
    assert receptive_field("FCDD_CNN32_LW3K") is None


def test_published_ablations_stand_beside_the_published_setting_only(folder_of: Folder) -> None:
    from fcdd.config import flatten
    from jobs.select import load_spec

    runs = [
        flatten(run)
        for run in load_spec("gauss_std").runs
        if run.objective.name == "fcdd" and run.seed < 2 and run.data.normal_class < 1
    ]
    rows = [(run, {"pixel_auroc": 0.9}) for run in runs]
    (curve,) = made(folder_of(rows))
    assert curve.published == {4.0: 0.8567, 14.0: 0.9217, 16.0: 0.9208}
    short = [(run | {"training.epochs": 3}, columns) for run, columns in rows]
    (curve,) = made(folder_of(short, name="short"))
    assert curve.published == {}


def test_report_prints_gains_per_map(folder_of: Folder, tmp_path: Path) -> None:
    write([folder_of(few_maps())], tmp_path / "r", figures=False)
    stem = "textures_against_maps_per_defect_pixel_auroc"
    text = (tmp_path / "r" / f"{stem}.md").read_text()
    assert "| 1 | 62.0 \\[" in text
    assert "| +2.0 \\[+2.0, +2.0\\] | +2.0 | 3 |" in text
    assert "| +8.0 \\[+8.0, +8.0\\] | +2.0 | 12 |" in text
    with open(tmp_path / "r" / f"{stem}.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["x"]) for line in lines] == [0, 1, 4]
    assert float(lines[2]["gain"]) == pytest.approx(0.08)
    assert len(lines[2]["keys"].split()) == 6
