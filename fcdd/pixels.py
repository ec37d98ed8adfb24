"""Pixel metrics of all test images together, by streaming histograms (docs/method.md, 7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PixelMetrics:
    """AUROC, AP and PRO over all pixels, and bounds on their errors from binning (0 if exact).

    `histograms`: columns lower, nominal, anomalous, overlap, as `pipeline.schema.PIXELS` has them.
    """

    auroc: float
    ap: float
    pro: float
    auroc_bound: float
    ap_bound: float
    pro_bound: float
    histograms: Mapping[str, Any]
