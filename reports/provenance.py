"""Where the rows of a table come from, and whether they may stand in one table."""

from collections.abc import Collection

import numpy as np

from pipeline.schema import SCHEMA
from reports.methods import value_words
from reports.rows import CIRCUMSTANCES, Rows

_DATA_FIELDS = tuple(
    name for name in SCHEMA.names if name.startswith("data.") and name != "data.normal_class"
)
_OUTLIER_FIELDS = tuple(name for name in SCHEMA.names if name.startswith("outliers."))
# Rows of different values of these are refused in one table unless asked for.
UNMIXED = ("commit", "protocol")


def provenance(rows: Rows, places: np.ndarray) -> dict[str, tuple[str, ...]]:
    """The distinct values of every circumstance of the rows at `places`, as text, in order."""
    present = places[rows.present[places]]
    return {
        name: tuple(value_words(value) for value in rows.values(name, present))
        for name in CIRCUMSTANCES
    }


def mixed(rows: Rows, places: np.ndarray, *, asked_for: Collection[str] = ()) -> list[str]:
    """Which of commit and protocol differ among the rows at `places`, in words, with an example of
    each value; those in `asked_for` stand on an axis of the table."""
    present = places[rows.present[places]]
    found = []
    for name in UNMIXED:
        groups = rows.groups([name], present)
        if name not in asked_for and len(groups) > 1:
            examples = ", ".join(
                f"{rows.value(name, group[0])} ({len(group)}, such as {rows.describe(group[0])})"
                for group in groups
            )
            found.append(f"{len(groups)} {name}s: {examples}")
    return found


def refuse_mixed(rows: Rows, places: np.ndarray, *, asked_for: Collection[str] = ()) -> None:
    """Raises ValueError when the rows at `places` are of several commits or protocols."""
    found = mixed(rows, places, asked_for=asked_for)
    if found:
        raise ValueError(
            f"rows of one table come from {'; and from '.join(found)}; report them from separate "
            "folders, run the older ones again, or mix them with --allow-mixed"
        )


def refuse_other_images(rows: Rows, places: np.ndarray) -> None:
    """Raises ValueError when rows that say the same of their data were made on different images.

    A data set has one fingerprint, or (where a class is a folder) one for each class.
    """
    present = places[rows.present[places]]
    _refuse_contents(rows, present, "data_fingerprint", _DATA_FIELDS)
    _refuse_contents(rows, present, "outliers_fingerprint", (*_DATA_FIELDS, *_OUTLIER_FIELDS))


def _refuse_contents(
    rows: Rows, places: np.ndarray, fingerprint: str, fields: Collection[str]
) -> None:
    for group in rows.groups(list(fields), places):
        contents = rows.groups([fingerprint], group)
        classes = rows.groups(["data.normal_class"], group)
        pairs = rows.groups([fingerprint, "data.normal_class"], group)
        if len(contents) == 1 or len(contents) == len(classes) == len(pairs):
            continue
        examples = "; ".join(
            f"{rows.describe(content[0])} has {fingerprint} {rows.value(fingerprint, content[0])}"
            for content in contents
        )
        raise ValueError(
            f"rows of one table were made on different images: {examples}; "
            "report them from separate folders"
        )
