from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fcdd.catalog import CLASS_NAMES
from fcdd.config import Run, change
from pipeline import results
from pipeline.benchmark import expand
from pipeline.forecast import (
    RUN_SECONDS,
    START_SECONDS,
    Machine,
    Rate,
    data_bytes,
    data_of,
    disk_bytes,
    done_runs,
    need,
    rates_of_rows,
    run_seconds,
    within,
    work_of,
)
from pipeline.probe import probe
from pipeline.sizes import Size, pool_images, published_size

RATE = Rate(100.0, 50.0, 2_000, None, "a test")


def planned(run: Run, *, size: Size, rate: Rate = RATE) -> tuple[list[Run], dict, dict]:
    """Three classes times two seeds, all of one size and speed."""
    runs = list(expand(run, {"data.normal_class": range(3), "seed": range(2)}))
    return runs, {data_of(r): size for r in runs}, {work_of(r): rate for r in runs}


def test_seconds_of_a_run_by_hand(digits_run: Run) -> None:
    run = change(digits_run, {"training.passes": 3, "training.epochs": 4})
    # 120 images * 3 passes * 4 epochs at 100 per second, 200 test images at 50 per second
    assert run_seconds(run, Size(120, 200, 0), RATE) == pytest.approx(14.4 + 4 + RUN_SECONDS)


def test_test_curves_are_counted(digits_run: Run) -> None:
    run = change(digits_run, {"training.epochs": 5, "evaluation.test_every": 2})
    without = change(run, {"evaluation.test_every": 0})
    size = Size(100, 50, 0)
    # tested after epochs 2 and 4: twice 50 images at 50 per second
    assert run_seconds(run, size, RATE) - run_seconds(without, size, RATE) == pytest.approx(2.0)


def test_hours_are_shared_by_the_cores_but_no_run_is_split(digits_run: Run) -> None:
    runs, sizes, rates = planned(digits_run, size=Size(18_000, 0, 0))
    each = 360 + RUN_SECONDS  # 18,000 images * 2 epochs at 100 per second
    for machine, seconds in [
        (Machine(1), 6 * each),
        (Machine(2), 3 * each),
        (Machine(4), 2 * each),  # four, then two: a core does not take half a run
        (Machine(64), each),
        (Machine(64, slots=3), 2 * each),
    ]:
        needed = need(runs, sizes, rates, machine=machine)
        assert needed.hours * 3600 == pytest.approx(START_SECONDS + seconds)
        assert needed.num_runs == 6


def test_wide_runs_take_several_cores(digits_run: Run) -> None:
    wide = change(digits_run, {"threads": 2})
    runs, sizes, rates = planned(wide, size=Size(18_000, 0, 0))
    needed = need(runs, sizes, rates, machine=Machine(4))
    assert needed.hours * 3600 == pytest.approx(START_SECONDS + 3 * (360 + RUN_SECONDS))
    images = data_bytes(runs, sizes)
    assert needed.memory_bytes == 2 * 2_000 + images  # two side by side


def test_images_count_once_and_workers_as_often_as_they_run(digits_run: Run) -> None:
    runs, sizes, rates = planned(digits_run, size=Size(100, 50, 1_797))
    # digits are one data set for all classes; the photographs are 4,000 crops
    assert data_bytes(runs, sizes) == (1_797 + 4_000) * 28 * 28
    assert need(runs, sizes, rates, machine=Machine(4)).memory_bytes == 4 * 2_000 + (
        (1_797 + 4_000) * 28 * 28
    )
    assert need(runs[:1], sizes, rates, machine=Machine(4)).memory_bytes == 2_000 + (
        (1_797 + 4_000) * 28 * 28
    )


def test_gpu_memory_is_that_of_the_runs_side_by_side(digits_run: Run) -> None:
    rate = Rate(100.0, 50.0, 2_000, 700, "a test")
    runs, sizes, rates = planned(digits_run, size=Size(100, 50, 0), rate=rate)
    assert need(runs, sizes, rates, machine=Machine(8, slots=3)).gpu_bytes == 2_100
    assert need(runs[:2], sizes, rates, machine=Machine(8, slots=3)).gpu_bytes == 1_400


def test_disk_grows_with_test_images_and_epochs_and_masks(digits_run: Run) -> None:
    few, many = Size(1, 0, 0), Size(1, 1_000, 0)
    assert disk_bytes(digits_run, many, masks=False) - disk_bytes(
        digits_run, few, masks=False
    ) == pytest.approx(15_000)
    longer = change(digits_run, {"training.epochs": 12})
    assert disk_bytes(longer, few, masks=False) > disk_bytes(digits_run, few, masks=False)
    assert disk_bytes(digits_run, few, masks=True) > disk_bytes(digits_run, few, masks=False)


def test_budget_takes_whole_seeds_first_then_classes(digits_run: Run) -> None:
    runs, sizes, rates = planned(digits_run, size=Size(18_000, 0, 0))  # 360 s each
    enough = 4 * (360 + RUN_SECONDS) + 2 * START_SECONDS
    first, then = within(enough / 3600, runs, sizes, rates, machine=Machine(1))
    assert (first.seeds, first.classes, first.num_runs) == ((0,), None, 3)
    assert first.only == "--only seed=0"
    assert (then.seeds, then.classes, then.num_runs) == ((1,), (0,), 1)
    assert then.only == "--only seed=1 --only data.normal_class=0"


def test_budget_below_a_seed_names_classes_and_below_a_class_nothing(digits_run: Run) -> None:
    runs, sizes, rates = planned(digits_run, size=Size(18_000, 0, 0))
    two = 2 * (360 + RUN_SECONDS) + START_SECONDS + 1
    (only,) = within(two / 3600, runs, sizes, rates, machine=Machine(1))
    assert only.only == "--only seed=0 --only data.normal_class=0,1"
    assert within(0.05, runs, sizes, rates, machine=Machine(1)) == []


def test_budget_for_everything_selects_every_seed(digits_run: Run) -> None:
    runs, sizes, rates = planned(digits_run, size=Size(18_000, 0, 0))
    (all_,) = within(24.0, runs, sizes, rates, machine=Machine(1))
    assert (all_.seeds, all_.classes, all_.num_runs) == ((0, 1), None, 6)


def test_rows_give_medians_and_the_largest_memory(
    digits_run: Run, make_row: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    results.prepare(tmp_path)
    for number, (speed, memory) in enumerate([(100.0, 5), (900.0, 7), (200.0, 6)]):
        row = make_row(
            run_={"seed": number},
            key=f"{number:016}",
            device="cpu",
            train_images_per_second=speed,
            evaluate_seconds=0.5,
            num_test=40,
            peak_memory_bytes=memory,
        )
        results.write_row(tmp_path, row)
    rates = rates_of_rows([tmp_path], device="cpu")
    rate = rates[work_of(digits_run)]  # whatever the seed
    assert (rate.train_images_per_second, rate.evaluate_images_per_second) == (200.0, 80.0)
    assert (rate.peak_memory_bytes, rate.peak_gpu_bytes) == (7, None)
    assert rate.source.startswith(f"3 rows of {tmp_path}")
    assert rates_of_rows([tmp_path], device="cuda") == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"net.name": "FCDD_CNN28_W"},
        {"threads": 2},
        {"training.batch_size": 64},
        {"data.preprocessing": "lcnaug1"},
    ],
)
def test_rows_of_other_work_do_not_count(digits_run: Run, changes: dict[str, object]) -> None:
    assert work_of(change(digits_run, changes)) != work_of(digits_run)
    assert work_of(change(digits_run, {"seed": 1, "training.lr": 0.5})) == work_of(digits_run)


def test_a_row_says_which_run_is_done(
    digits_run: Run, make_row: Callable[..., dict[str, Any]]
) -> None:
    milestones = change(
        digits_run, {"training.schedule": "milestones", "training.lr_milestones": [1]}
    )
    other = change(digits_run, {"seed": 8})
    row = make_row(run_={"training.schedule": "milestones", "training.lr_milestones": [1]})
    assert done_runs([digits_run, milestones, other], [row]) == [milestones]


def test_published_counts_sum_to_the_published_totals(digits_run: Run) -> None:
    mvtec = change(
        digits_run,
        {
            "data.name": "mvtec",
            "net.name": "FCDD_CNN224",
            "outliers.source": "none",
            "supervision.mode": "unsupervised",
        },
    )
    sizes = []
    for number in range(len(CLASS_NAMES["mvtec"])):
        size = published_size(change(mvtec, {"data.normal_class": number}).data)
        assert size is not None
        sizes.append(size)
    # Bergmann et al. 2019: 3,629 training and 1,725 test images
    assert sum(size.num_train for size in sizes) == 3_629
    assert sum(size.num_test for size in sizes) == 1_725
    assert published_size(digits_run.data) is None  # counted by loading them
    assert (pool_images(digits_run), pool_images(mvtec)) == (4_000, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"supervision.mode": "noise", "supervision.noise": "blob", "outliers.source": "none"},
        {"objective.name": "hsc", "net.name": "CNN28"},
    ],
)
def test_probe_measures_without_the_data(digits_run: Run, changes: dict[str, object]) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    rate = probe(change(digits_run, changes), device=torch.device("cpu"), seconds=0.05)
    assert 1 < rate.train_images_per_second < 1e7
    assert 1 < rate.evaluate_images_per_second < 1e7
    assert 50e6 < rate.peak_memory_bytes < 50e9
    assert rate.peak_gpu_bytes is None
    assert rate.source.startswith("probe: ")
    assert torch.equal(before[0], torch.get_rng_state())
    assert torch.get_num_threads() == before[1]


def test_probe_cuts_batches_that_would_take_long_and_says_so(digits_run: Run) -> None:
    run = change(digits_run, {"training.batch_size": 100_000})
    rate = probe(run, device=torch.device("cpu"), seconds=0.02)
    assert rate.source.endswith(" for 100000")
