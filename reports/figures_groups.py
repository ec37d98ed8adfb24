"""What is drawn together: data sets, their classes, and the methods that ran on them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports import methods
from reports.files import file_name

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """The rows of one setting on one data set, by class and seed; its label is that of tables."""

    label: str
    rows: tuple[Row, ...]

    def of_class(self, number: int) -> list[Row]:
        """The rows with that nominal class, by seed."""
        return [row for row in self.rows if row["data.normal_class"] == number]

    def complete_seeds(self, numbers: Iterable[int]) -> list[list[Row]]:
        """The rows of each seed that has all the classes `numbers`, by seed: what a mean over
        classes may be taken of."""
        by_seed: dict[int, list[Row]] = {}
        for row in self.rows:
            by_seed.setdefault(row["seed"], []).append(row)
        wanted = set(numbers)
        return [
            rows
            for _, rows in sorted(by_seed.items())
            if {row["data.normal_class"] for row in rows} == wanted
        ]


@dataclass(frozen=True)
class DataSet:
    """A data set with the methods that ran on it, in the order of tables; `classes`: numbers and
    names; `name` begins file names, `title` is for reading."""

    name: str
    title: str
    classes: tuple[tuple[int, str], ...]
    methods: tuple[Method, ...]

    @property
    def rows(self) -> list[Row]:
        """The rows of all methods."""
        return [row for method in self.methods for row in method.rows]


def data_sets(rows: Iterable[Row]) -> list[DataSet]:
    """`rows` sorted into data sets (the same test images and labels) and methods. A second data set
    of the same name is called "name-2"."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(methods.hashable(row[n]) for n in methods.DATA), []).append(row)
    sets = []
    names: dict[str, int] = {}
    for key in sorted(found, key=repr):
        name = str(key[0])
        names[name] = names.get(name, 0) + 1
        suffix = f"-{names[name]}" if names[name] > 1 else ""
        classes = {row["data.normal_class"]: row["class_name"] for row in found[key]}
        sets.append(
            DataSet(
                name=file_name(name) + suffix,
                title=methods.DATA_NAMES.get(name, name) + suffix,
                classes=tuple(sorted(classes.items())),
                methods=_methods(found[key]),
            )
        )
    return sets


def _methods(rows: Sequence[Row]) -> tuple[Method, ...]:
    settings: dict[tuple, list[Row]] = {}
    for row in rows:
        key = tuple(methods.hashable(row[name]) for name in methods.SETTING)
        settings.setdefault(key, []).append(row)
    groups = sorted(settings.values(), key=lambda members: methods.rank(members[0]))
    names = methods.labels([members[0] for members in groups])
    return tuple(
        Method(name, tuple(sorted(members, key=_by_class_and_seed)))
        for name, members in zip(names, groups, strict=True)
    )


def _by_class_and_seed(row: Row) -> tuple:
    return row["data.normal_class"], row["seed"], row["key"]
