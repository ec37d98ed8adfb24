import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fcdd.config import flatten
from jobs.select import load_spec
from reports.aggregate import Cell, Group, Sample, class_cells
from reports.compare import Comparison, comparison
from reports.compare_sheet import points
from reports.methods import hashable
from reports.published.settings import UNSTATED, counterpart, reasons
from reports.published.values import Value, paper
from reports.write import write

Folder = Callable[..., Path]


def cell(*values: float) -> Cell:
    sample = Sample(0, tuple(range(len(values))), values)
    return class_cells([Group(sample, tuple(map(str, sample.seeds)))])[0]


def published(value: float, dataset: str = "fmnist") -> Value:
    found = next(v for v in paper() if v.dataset == dataset and v.method == "FCDD")
    return replace(found, value=value)


def judged(ours: Cell | None, theirs: Value | None, **options: Any) -> Comparison:
    return comparison("bag", ours, theirs, None, **options)


def test_small_differences_agree_and_large_ones_differ() -> None:
    near = judged(cell(0.894, 0.896, 0.895, 0.893), published(0.89))
    assert near.verdict == "agrees"
    assert near.difference == pytest.approx(0.0045)
    assert near.interval is not None
    assert near.interval[0] < 0.0045 < near.interval[1]
    assert judged(cell(0.91, 0.912, 0.911), published(0.89)).verdict == "differs"
    # The band of Fashion-MNIST is one point, that of MVTec-AD two.
    assert judged(cell(0.905, 0.905, 0.905), published(0.89)).verdict == "differs"
    assert judged(cell(0.905, 0.905, 0.905), published(0.89, "mvtec")).verdict == "agrees"


def test_a_difference_of_exactly_the_band_agrees() -> None:
    assert judged(cell(0.91, 0.91, 0.91), published(0.9)).verdict == "agrees"


def test_wide_interval_does_not_make_a_far_mean_agree() -> None:
    assert judged(cell(0.5, 0.7, 0.99), published(0.89)).verdict == "differs"


def test_two_seeds_are_too_few_for_a_verdict() -> None:
    found = judged(cell(0.89, 0.891), published(0.89))
    assert found.verdict == "too few seeds"
    assert found.difference == pytest.approx(0.0005)
    assert judged(cell(0.89), published(0.89)).verdict == "too few seeds"


def test_without_a_band_or_a_value_there_is_no_verdict() -> None:
    three = cell(0.94, 0.94, 0.95)
    assert judged(three, published(0.94, "imagenet30")).verdict == "no band known"
    assert judged(three, None).verdict == "no published value"
    assert judged(None, published(0.9)).verdict == "no published value"


def test_another_setting_says_so_instead_of_a_verdict() -> None:
    found = judged(cell(0.89, 0.89, 0.89), published(0.89), why=["pool: folder, not cifar100"])
    assert found.verdict == "other setting"


def fields(spec: str, **only: Any) -> dict[str, Any]:
    run = next(
        flat
        for flat in map(flatten, load_spec(spec).runs)
        if all(flat[k.replace("__", ".")] == v for k, v in only.items())
    )
    return {name: hashable(value) for name, value in run.items()}


@pytest.mark.parametrize(
    ("spec", "dataset", "setting"),
    [
        ("fmnist", "fmnist", "OE=CIFAR-100(gray)"),
        ("fmnist_emnist", "fmnist", "OE=EMNIST"),
        ("cifar10", "cifar10", "OE=CIFAR-100"),
        ("imagenet30", "imagenet30", "OE=ImageNet22k"),
        ("mvtec", "mvtec", "unsupervised"),
        ("mvtec_semi_supervised", "mvtec", "semi-supervised"),
    ],
)
def test_specs_of_the_paper_are_the_published_settings(
    spec: str, dataset: str, setting: str
) -> None:
    run = fields(spec, objective__name="fcdd")
    beside = counterpart(run)
    assert beside is not None
    assert (beside.dataset, beside.setting, beside.method) == (dataset, setting, "FCDD")
    assert reasons(run, beside) == []


def test_small_specs_are_not_and_say_why() -> None:
    run = fields("fmnist_small")
    beside = counterpart(run)
    assert beside is not None
    told = reasons(run, beside)
    assert "pool: folder, not cifar100" in told
    assert "epochs: 20, not 400" in told
    assert "net: FCDD_CNN28, not FCDD_CNN28_W" in told
    run = fields("screw_small")
    beside = counterpart(run)
    assert beside is not None
    told = reasons(run, beside)
    assert "resolution: 128 x 128 pixels, not 224 x 224 pixels" in told
    assert "protocol (kernel): mended, not published" in told
    few = fields("mvtec_few_maps", objective__name="fcdd", supervision__maps_per_defect=1)
    beside = counterpart(few)
    assert beside is not None
    assert beside.setting == "semi-supervised"
    assert "split (labelled images in the test set): mended, not published" in reasons(few, beside)


def test_data_without_published_values_have_no_counterpart() -> None:
    assert counterpart(fields("quickstart")) is None
    assert counterpart(fields("textures", objective__name="fcdd")) is None
    assert counterpart(fields("mvtec", objective__name="hsc")) is None


def test_baselines_whose_setting_no_source_states_get_no_verdict() -> None:
    for name in ("hsc", "ae"):
        run = fields("cifar10", objective__name=name)
        beside = counterpart(run)
        assert beside is not None
        assert reasons(run, beside) == [UNSTATED]


def test_differences_are_printed_in_points() -> None:
    assert points(-0.0042, (-0.0121, 0.003)) == "−0.4 [−1.2, +0.3]"
    assert points(0.0001, None) == "0.0"
    assert points(None, None) == "–"


def rows(spec: str, *, classes: int, seeds: int, shift: float = 0.0, **columns: Any) -> list:
    wanted = [
        flatten(run)
        for run in load_spec(spec).runs
        if run.objective.name == "fcdd" and run.data.normal_class < classes and run.seed < seeds
    ]
    theirs = {
        v.class_name: v.value for v in paper() if v.dataset == "fmnist" and v.method == "FCDD"
    }
    return [
        (
            run,
            {
                "image_auroc": list(theirs.values())[run["data.normal_class"]]
                + shift
                + 0.001 * run["seed"],
                "num_test": 10_000,
                **columns,
            },
        )
        for run in wanted
    ]


def test_report_prints_paper_reproduction_difference_and_verdict(
    folder_of: Folder, tmp_path: Path
) -> None:
    write([folder_of(rows("fmnist", classes=10, seeds=3))], tmp_path / "r", figures=False)
    text = (tmp_path / "r" / "fmnist_image_auroc_against_paper.md").read_text()
    assert "| t-shirt/top | 82.1 ± 0.1 | 82 | 82.8 | +0.1 \\[" in text
    assert text.count("| agrees |") == 11
    assert "Agrees: a difference of at most 1 point (the reproduction's" in text
    side_car = json.loads((tmp_path / "r" / "fmnist_image_auroc_against_paper.json").read_text())
    bag = side_car["cells"][8]
    assert bag["row"] == "bag"
    assert bag["paper_confidence"] == "high"
    assert bag["verdict"] == "agrees"
    assert len(bag["keys"]) == 3
    beside = (tmp_path / "r" / "fmnist_image_auroc_beside_paper.md").read_text()
    assert "| nominal class | FCDD | paper, AE | paper, DSVDD | paper, GEO | paper, FCDD |" in (
        beside.replace("ours, ", "")
    )
    assert "The source does not name the column" in beside


def test_report_counts_the_test_images(folder_of: Folder, tmp_path: Path) -> None:
    folder = folder_of(rows("fmnist", classes=2, seeds=3, num_test=5000))
    write([folder], tmp_path / "r", figures=False)
    text = (tmp_path / "r" / "fmnist_image_auroc_against_paper.md").read_text()
    assert "Not published: split: 5000 test images, not 10000." in text
    assert "agrees" not in text
