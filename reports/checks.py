"""What may not become a table: each fault is named, with what to do."""

import numpy as np

from reports.axes import CLASS, DATA_SET, METHOD, Axis
from reports.methods import DATA, SETTING, value_words
from reports.rows import Rows


def refuse_merged(rows: Rows, places: np.ndarray, axes: tuple[Axis, Axis]) -> None:
    """Raises ValueError unless cells hold one setting each: only classes and seeds vary inside."""
    free = [one for one in axes if one.name != CLASS]
    pairs = np.zeros(len(places), dtype=np.int64)
    for one in free:
        pairs = pairs * len(one.headings) + one.ids
    names = [one.name for one in axes]
    fields = (*(() if METHOD in names else SETTING), *(() if DATA_SET in names else DATA))
    fixed = [name for name in fields if name not in names]
    for pair in np.unique(pairs):
        inside = places[pairs == pair]
        groups = rows.groups(fixed, inside)
        if len(groups) == 1:
            continue
        varying = [name for name in fixed if len(rows.groups([name], inside)) > 1]
        values = ", ".join(value_words(value) for value in rows.values(varying[0], inside))
        where = ", ".join(one.headings[one.ids[pairs == pair][0]] for one in free)
        also = f" (and {', '.join(varying[1:])})" if varying[1:] else ""
        raise ValueError(
            f"a cell{f' of {where}' if where else ''} would merge runs that differ in "
            f"{varying[0]}: {values}{also}; put {varying[0]} on an axis, or {METHOD}, which tells "
            "all settings apart, or report the runs from separate folders"
        )


def refuse_bad_values(rows: Rows, places: np.ndarray, metric: str) -> None:
    """Raises ValueError for a metric that is missing, NaN or outside of [0, 1]."""
    bad = places[rows.present[places] & ~np.isfinite(rows.metrics[metric][places])]
    if len(bad):
        what = "missing" if rows.without[metric][bad[0]] else rows.metrics[metric][bad[0]]
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise ValueError(
            f"{metric} of {rows.describe(bad[0])} ({rows.keys[bad[0]]}) is {what}{more}; "
            "delete its row and run it again"
        )
    outside = places[(rows.metrics[metric][places] < 0) | (rows.metrics[metric][places] > 1)]
    if len(outside):
        raise ValueError(
            f"{metric} of {rows.describe(outside[0])} ({rows.keys[outside[0]]}) is "
            f"{rows.metrics[metric][outside[0]]}, not in [0, 1]; the row was damaged or edited: "
            "delete it and run it again"
        )
