"""What stands along the rows and the columns of a table."""

from dataclasses import dataclass

import numpy as np

from reports.methods import DATA, DATA_NAMES, RUN, SETTING, heading, labels, order, rank
from reports.rows import Rows

CLASS = "data.normal_class"
DATA_SET = "data.name"
METHOD = "method"  # all fields of a setting together, under a short name


@dataclass(frozen=True)
class Axis:
    """`ids` [n] is the place along the axis of each of n rows, `headings` the text there and
    `examples` one of the rows."""

    name: str
    ids: np.ndarray
    headings: tuple[str, ...]
    examples: tuple[int, ...]


def axis(rows: Rows, places: np.ndarray, name: str) -> Axis:
    """The axis `name` ("method", "data.name", "data.normal_class" or any field of a Run) over the
    rows at `places`. Raises ValueError for a name that is no field."""
    if name not in (METHOD, *RUN):
        raise ValueError(f"no field {name!r} to put on an axis; known: {METHOD}, {', '.join(RUN)}")
    columns = {METHOD: SETTING, DATA_SET: DATA}.get(name, (name,))
    groups = rows.groups(columns, places)
    if name == METHOD:
        groups.sort(key=lambda group: rank(rows.setting(group[0])))
        headings = labels([rows.setting(group[0]) for group in groups])
    else:
        groups.sort(key=lambda group: order(rows.value(name, group[0])))
        headings = [_heading(rows, group, name) for group in groups]
    ids = np.empty(len(places), dtype=np.int64)
    sequence = np.argsort(places)
    for place, group in enumerate(groups):
        ids[sequence[np.searchsorted(places, group, sorter=sequence)]] = place
    return Axis(
        name=name,
        ids=ids,
        headings=tuple(_all_different(headings)),
        examples=tuple(int(group[0]) for group in groups),
    )


def _heading(rows: Rows, group: np.ndarray, name: str) -> str:
    if name != CLASS:
        return heading(name, rows.value(name, group[0]))
    names = rows.values("class_name", group)
    if len(names) > 1:
        raise ValueError(
            f"class {rows.value(CLASS, group[0])} has several names ({', '.join(names)}), so rows "
            "of different data sets cannot share an axis of classes; leave data.name off the axes"
        )
    return names[0] if names else str(rows.value(CLASS, group[0]))


def _all_different(headings: list[str]) -> list[str]:
    """Texts that stand twice get a number: two folders of own images."""
    seen: dict[str, int] = {}
    found = []
    for text in headings:
        seen[text] = seen.get(text, 0) + 1
        found.append(f"{text} ({seen[text]})" if headings.count(text) > 1 else text)
    return found


def data_sets(rows: Rows) -> list[tuple[str, np.ndarray]]:
    """The data sets among all rows: a name for files, and the places of their rows."""
    groups = rows.groups(DATA, np.arange(len(rows.keys)))
    groups.sort(key=lambda group: [order(rows.value(name, group[0])) for name in DATA])
    names = [str(rows.value(DATA_SET, group[0])) for group in groups]
    found = []
    for place, (name, group) in enumerate(zip(names, groups, strict=True)):
        number = names[: place + 1].count(name)
        found.append((f"{name}-{number}" if number > 1 else name, group))
    return found


def data_title(rows: Rows, places: np.ndarray) -> str:
    """The data sets of the rows at `places` as a caption names them."""
    names = rows.values(DATA_SET, places)
    return ", ".join(DATA_NAMES.get(name, str(name)) for name in names)
