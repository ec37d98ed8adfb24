"""Figures: the median of n measurements with their spread, and tables of them."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Figure:
    """n measured values, in order."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Their median."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        """Median (smallest to largest, n)."""
        low, high = short(min(self.values)), short(max(self.values))
        return f"{short(self.median)} ({low} to {high}, n = {len(self.values)})"


def short(value: float) -> str:
    """Three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def seconds(work: Callable[[], object], device: torch.device, *, n: int) -> Figure:
    """Seconds of `work`, n times after one warm-up: of the processor on a CPU, where one thread
    idle elsewhere takes as long by the clock; else by the clock, the device waited for."""
    return Figure(tuple(_timed(work, device) for _ in range(n + 1))[1:])


def _timed(work: Callable[[], object], device: torch.device) -> float:
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    wait(device)
    started = clock()
    work()
    wait(device)
    return clock() - started


def wait(device: torch.device) -> None:
    """Returns when the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def per_second(count: float, taken: Figure) -> Figure:
    """`count` per second, of the seconds that it took."""
    return Figure(tuple(count / value for value in taken.values))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
