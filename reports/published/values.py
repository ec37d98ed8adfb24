"""Values of Liznerski et al., ICLR 2021 (arXiv 2007.01760v3), and of the independent reproduction
of Bertoldo and Decencière (arXiv 2206.02598), each with its source and how sure it is.

`confidence` of the paper's values: "high" (the source names the column), "medium" (the column's
method was told by its mean in Table 1), "single-source" (one secondary text only). In paper.csv
`std` is the spread over the 15 classes of MVTec-AD, never one over seeds; it is not read here.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PAPER = "Liznerski et al. 2021"
REPRODUCTION = "Bertoldo and Decencière, arXiv 2206.02598"
# The largest per-class difference between reproduction and paper (arXiv 2206.02598): what the
# same code does on other machines, so no smaller difference is one between methods.
BANDS = {"fmnist": 0.01, "cifar10": 0.005, "mvtec": 0.02}
# The competitors in Table 2 are the paper's own quotations from the literature.
QUOTED = frozenset(("AE-SS", "AE-L2", "AnoGAN", "CNNFD", "VEVAE", "SMAI", "GDR", "P-NET"))


@dataclass(frozen=True)
class Value:
    """One published number in [0, 1]; `class_name` "mean" is the mean over classes."""

    dataset: str
    table: str
    setting: str
    metric: str
    class_name: str
    method: str
    value: float
    confidence: str
    source: str


@lru_cache
def paper() -> tuple[Value, ...]:
    """The paper's values, per class and means; Table 1 only where no per-class table has it."""
    read = [_value(row, row["table"], row["confidence"]) for row in _read("paper.csv")]
    detailed = {(v.dataset, v.setting, v.method, v.metric) for v in read if v.table != "Table1"}
    return tuple(
        value
        for value in read
        if value.class_name != "std"
        and not (
            value.table == "Table1"
            and (value.dataset, value.setting, value.method, value.metric) in detailed
        )
    )


@lru_cache
def reproduction() -> tuple[Value, ...]:
    """The reproduction's AUROC values, per class and means."""
    return tuple(
        _value(row, "reproduction", "high")
        for row in _read("reproduction.csv")
        if row["metric"] in ("image_auroc", "pixel_auroc") and row["class"] != "std"
    )


def _read(name: str) -> list[dict[str, str]]:
    with open(Path(__file__).parent / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _value(row: dict[str, str], table: str, confidence: str) -> Value:
    value = float(row["value"])
    if not 0 <= value <= 1:
        raise ValueError(f"published value {row} is not in [0, 1]; mend the file")
    return Value(
        dataset=row["dataset"],
        table=table,
        setting=row["setting"],
        metric=row["metric"],
        class_name=row["class"],
        method=row["method"],
        value=value,
        confidence=confidence,
        source=row["source"],
    )
