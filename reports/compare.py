"""Our values beside the published ones: differences, their intervals, and a verdict for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reports.aggregate import Cell, Table
from reports.axes import CLASS, METHOD
from reports.intervals import Interval
from reports.published.settings import UNSTATED, Counterpart, counterpart, reasons
from reports.published.values import BANDS, Value, paper, reproduction

Verdict = Literal[
    "agrees",
    "differs",
    "too few seeds",
    "other setting",
    "setting not stated",
    "no band known",
    "no published value",
]
FEWEST = 3  # seeds below which nothing is said


@dataclass(frozen=True)
class Comparison:
    """A cell beside the paper's and the reproduction's value; `difference` is ours minus the
    paper's, with the interval of ours."""

    class_name: str
    cell: Cell | None
    paper: Value | None
    reproduction: Value | None
    difference: float | None
    interval: Interval | None
    verdict: Verdict


@dataclass(frozen=True)
class Compared:
    """One method of a table beside its published counterpart. `reasons`: why it is not the
    published setting; without any, there are verdicts."""

    table: Table
    method: str
    counterpart: Counterpart
    reasons: tuple[str, ...]
    comparisons: tuple[Comparison, ...]


def compare(table: Table, num_test: Mapping[str, int]) -> list[Compared]:
    """Every method of a table of classes by methods that has a published counterpart with values
    of this metric. `num_test`: the number of test images by run key."""
    if table.axes != (CLASS, METHOD):
        return []
    found = []
    for column, method in enumerate(table.columns):
        run = setting_of(table, method)
        published = counterpart(run)
        if published is None:
            continue
        theirs = _by_class(paper(), published, table.metric)
        again = _by_class(reproduction(), published, table.metric)
        if not theirs and not again:
            continue
        cells = [cells[column] for cells in table.cells]
        why = reasons(run, published) + _split(cells, published, num_test)
        found.append(
            Compared(
                table=table,
                method=method,
                counterpart=published,
                reasons=tuple(why),
                comparisons=tuple(
                    comparison(name, cell, theirs.get(name), again.get(name), why=why)
                    for name, cell in zip(table.rows, cells, strict=True)
                ),
            )
        )
    return found


def setting_of(table: Table, method: str) -> dict[str, Any]:
    """All fields of a method of `table`."""
    return {**table.common, **table.settings.get(method, {})}


def _by_class(values: Sequence[Value], published: Counterpart, metric: str) -> dict[str, Value]:
    wanted = (published.dataset, published.setting, published.method, metric)
    return {
        value.class_name: value
        for value in values
        if (value.dataset, value.setting, value.method, value.metric) == wanted
    }


def _split(
    cells: Sequence[Cell | None], published: Counterpart, num_test: Mapping[str, int]
) -> list[str]:
    if published.num_test is None:
        return []
    counts = {num_test[key] for cell in cells if cell is not None for key in cell.keys}
    odd = sorted(counts - {published.num_test})
    return [f"split: {odd[0]} test images, not {published.num_test}"] if odd else []


def comparison(
    name: str,
    cell: Cell | None,
    published: Value | None,
    again: Value | None,
    *,
    why: Sequence[str] = (),
) -> Comparison:
    """A cell beside its published value. "agrees": the difference is at most the band, and its
    interval, widened by the band, contains 0."""
    difference, ends = None, None
    if cell is not None and published is not None:
        difference = cell.mean - published.value
        if cell.interval is not None:
            ends = (cell.interval[0] - published.value, cell.interval[1] - published.value)
    return Comparison(
        class_name=name,
        cell=cell,
        paper=published,
        reproduction=again,
        difference=difference,
        interval=ends,
        verdict=_verdict(cell, published, difference, ends, why),
    )


def _verdict(
    cell: Cell | None,
    published: Value | None,
    difference: float | None,
    ends: Interval | None,
    why: Sequence[str],
) -> Verdict:
    if cell is None or published is None or difference is None:
        return "no published value"
    if why:
        return "setting not stated" if list(why) == [UNSTATED] else "other setting"
    if published.dataset not in BANDS:
        return "no band known"
    if cell.n < FEWEST or ends is None:
        return "too few seeds"
    band = BANDS[published.dataset] + 1e-9  # 0.91 - 0.9 is a little more than 0.01
    near = abs(difference) <= band and ends[0] - band <= 0 <= ends[1] + band
    return "agrees" if near else "differs"
