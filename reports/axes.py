"""What stands along the rows and the columns of a table."""

from collections.abc import Sequence
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
    if name == METHOD:
        return _methods(rows, places)
    if name not in RUN:
        raise ValueError(f"no field {name!r} to put on an axis; known: {METHOD}, {', '.join(RUN)}")
    groups = rows.groups(DATA if name == DATA_SET else (name,), places)
    groups.sort(key=lambda group: order(rows.value(name, group[0])))
    headings = [_heading(rows, group, name) for group in groups]
    return _axis(name, places, groups, _all_different(headings))


def _methods(rows: Rows, places: np.ndarray) -> Axis:
    """Methods are told apart within each data set, and stand on one line where they are called
    alike: FCDD has another net and pool on each data set."""
    members: dict[str, list[np.ndarray]] = {}
    for data in rows.groups(DATA, places):
        groups = rows.groups(SETTING, data)
        names = labels([rows.setting(group[0]) for group in groups])
        for label, group in zip(names, groups, strict=True):
            members.setdefault(label, []).append(group)
    ordered = sorted(members, key=lambda label: (rank(rows.setting(members[label][0][0])), label))
    groups = [np.sort(np.concatenate(members[label])) for label in ordered]
    return _axis(METHOD, places, groups, ordered)


def _axis(
    name: str, places: np.ndarray, groups: Sequence[np.ndarray], headings: Sequence[str]
) -> Axis:
    ids = np.empty(len(places), dtype=np.int64)
    sequence = np.argsort(places)
    for place, group in enumerate(groups):
        ids[sequence[np.searchsorted(places, group, sorter=sequence)]] = place
    return Axis(
        name=name,
        ids=ids,
        headings=tuple(headings),
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
