from collections.abc import Iterator

import pytest
import torch

from fcdd.config import Run
from pipeline import stack_probe
from pipeline.stack_probe import Stacking, choose_stack

CPU = torch.device("cpu")
MB = 10**6


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_widths_are_measured_for_real_and_the_fastest_is_chosen(digits_run: Run) -> None:
    choice = choose_stack(digits_run, device=CPU, most=2, num_batches=2)
    assert [one.runs for one in choice.measured] == [1, 2]
    assert all(one.images_per_second > 1 and one.peak_bytes > 50 * MB for one in choice.measured)
    fastest = max(choice.measured, key=lambda one: one.images_per_second)
    assert choice.runs == fastest.runs


@pytest.fixture
def device_with(monkeypatch: pytest.MonkeyPatch):
    """Replaces the measurement by a device of a given memory on which given rates are reached."""

    def make(rates: dict[int, float], *, memory: int, per_run: int) -> None:
        def measured(run: Run, runs: int, **rest: object) -> Stacking:
            if runs * per_run > memory:
                raise torch.OutOfMemoryError("out of memory")
            return Stacking(runs, rates[runs], runs * per_run)

        monkeypatch.setattr(stack_probe, "_measured", measured)
        monkeypatch.setattr(stack_probe, "_memory_bytes", lambda device: memory)

    return make


def test_it_stops_where_more_runs_are_no_faster(digits_run: Run, device_with) -> None:
    device_with({1: 100.0, 2: 190.0, 4: 195.0}, memory=10**9, per_run=1)
    choice = choose_stack(digits_run, device=CPU)
    assert choice.runs == 4
    assert choice.reason == "4 runs train 195 images/s together, 2 190"
    device_with({1: 100.0, 2: 60.0}, memory=10**9, per_run=1)
    assert choose_stack(digits_run, device=CPU).runs == 1


def test_it_stops_before_memory_is_short(digits_run: Run, device_with) -> None:
    device_with({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, memory=100, per_run=15)
    choice = choose_stack(digits_run, device=CPU)
    assert choice.runs == 4  # 60 of 100
    assert choice.reason == "8 runs would not fit into the memory of cpu"


def test_running_out_of_memory_lowers_the_width(digits_run: Run, device_with) -> None:
    device_with({1: 1.0, 2: 2.0}, memory=39, per_run=15)
    choice = choose_stack(digits_run, device=CPU, most=4)
    assert (choice.runs, [one.runs for one in choice.measured]) == (2, [1, 2])


def test_a_run_that_does_not_fit_at_all_is_refused(digits_run: Run, device_with) -> None:
    device_with({}, memory=10, per_run=15)
    with pytest.raises(ValueError, match="not even one run .*'FCDD_CNN28'.* lower training.batch"):
        choose_stack(digits_run, device=CPU)


def test_the_most_that_is_asked_for_is_a_limit(digits_run: Run, device_with) -> None:
    device_with({1: 1.0, 2: 2.0, 4: 4.0}, memory=10**9, per_run=1)
    choice = choose_stack(digits_run, device=CPU, most=4)
    assert (choice.runs, choice.reason) == (4, "4 runs are the most that were asked for")
