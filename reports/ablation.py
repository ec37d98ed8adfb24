"""Ablations as numbers: a metric against one field of the Run, everything else equal."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Curve:
    """A metric against the values of one field: one line of an ablation figure.

    `x` are the places on the axis (a pool without a limit stands at its number of images, a net at
    its receptive field) and `x_names` how each is written. `mean`, `low` and `high` (95 % interval,
    None where a class has one seed) are of the mean over classes; `n` the number of complete seeds.
    `gain`, `gain_low` and `gain_high` are paired differences to the first point (the same class and
    seed; None there). `per_class` holds the mean over seeds of each class. `published`: the paper's
    value at an `x`, where there is one. `keys`: the run keys of each point. All metrics in [0, 1].
    """

    name: str  # of the method, without the field
    data: str  # data.name
    field: str  # "supervision.maps_per_defect"
    label: str  # of the axis: "labelled maps per defect type"
    metric: str  # "pixel_auroc"
    x: tuple[float, ...]
    x_names: tuple[str, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    n: tuple[int, ...]
    gain: tuple[float | None, ...]
    gain_low: tuple[float | None, ...]
    gain_high: tuple[float | None, ...]
    per_class: Mapping[str, tuple[float | None, ...]]
    published: Mapping[float, float]
    keys: tuple[tuple[str, ...], ...]
