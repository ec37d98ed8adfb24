"""Pixel metrics over all test pixels together (docs/method.md section 7).

Heatmap values are counted in bins taken from their bit pattern: for values of at least 0, a larger
float32 has a larger pattern as an integer. The leading 19 bits behind the sign are kept, so a bin
is at most 1/2048 of its value wide at any scale, and memory does not grow with the number of
pixels. What binning can change is bounded from the counts themselves (fcdd/histograms.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from torch import Tensor

from fcdd.histograms import metrics_from_histograms
from fcdd.regions import Truth

_DROPPED_BITS = 12  # 11 bits of the mantissa stay; with 12 the table is twice as long
_NUM_BINS = 1 << (31 - _DROPPED_BITS)
_INFINITY_BITS = 0x7F800000  # of float32; NaN lies above
_CHUNK = 1 << 20  # values counted at once: 4 MB


@dataclass(frozen=True)
class PixelMetrics:
    """AUROC, AP and PRO over all pixels, and bounds on their errors from binning (0 if exact).

    `histograms`: columns lower, nominal, anomalous, overlap, as `pipeline.schema.PIXELS` has them,
    in rising order; always binned, with `lower` the smallest value that a bin holds.
    """

    auroc: float
    ap: float
    pro: float
    auroc_bound: float
    ap_bound: float
    pro_bound: float
    histograms: dict[str, np.ndarray]


def pixel_metrics(
    images: Iterable[tuple[Tensor, Truth]], *, pixels: Literal["histogram", "exact"]
) -> PixelMetrics:
    """Metrics of all test pixels of `images`: heatmaps float32 [h, w], at least 0, each with what
    stands under it.

    "histogram" takes 13 MB for any number of pixels. "exact" keeps 28 bytes per heatmap pixel.
    Raises ValueError for values that are not finite or below 0, or without both kinds of pixels.
    """
    match pixels:
        case "histogram":
            table = _binned(images)
            return _metrics(table, table, exact=False)
        case "exact":
            table = _exact(images)
            return _metrics(table, _rebinned(table), exact=True)
        case unknown:
            assert_never(unknown)


@dataclass(frozen=True)
class _Table:
    """Counts of test pixels by rising, distinct bit patterns of their values."""

    bits: np.ndarray  # int32 [m]
    nominal: np.ndarray  # int64 [m]
    anomalous: np.ndarray  # int64 [m]
    overlap: np.ndarray  # float64 [m]


def _metrics(table: _Table, binned: _Table, *, exact: bool) -> PixelMetrics:
    found = metrics_from_histograms(table.bits, table.nominal, table.anomalous, table.overlap)
    if exact:
        found |= {"auroc_bound": 0.0, "ap_bound": 0.0, "pro_bound": 0.0}
    columns = {
        "lower": binned.bits.view(np.float32),
        "nominal": binned.nominal,
        "anomalous": binned.anomalous,
        "overlap": binned.overlap,
    }
    return PixelMetrics(**found, histograms=columns)


def _binned(images: Iterable[tuple[Tensor, Truth]]) -> _Table:
    total = torch.zeros(_NUM_BINS, dtype=torch.int64)
    anomalous = torch.zeros(_NUM_BINS, dtype=torch.int64)
    overlap = torch.zeros(_NUM_BINS, dtype=torch.float64)
    for heatmap, under in images:
        bits = _bits(heatmap)
        weights = None if under.pixels is None else torch.from_numpy(under.pixels)
        for start in range(0, len(bits), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            part = None if weights is None else weights[chunk]
            _count(total, bits[chunk] >> _DROPPED_BITS, weights=part)
        if len(under.places):
            bins = bits[torch.from_numpy(under.places)] >> _DROPPED_BITS
            _count(anomalous, bins, weights=torch.from_numpy(under.anomalous))
            _count(overlap, bins, weights=torch.from_numpy(under.overlap))
    filled = total.nonzero()[:, 0]
    return _Table(
        bits=(filled << _DROPPED_BITS).to(torch.int32).numpy(),
        nominal=(total - anomalous)[filled].numpy(),
        anomalous=anomalous[filled].numpy(),
        overlap=overlap[filled].numpy(),
    )


def _count(counts: Tensor, bins: Tensor, *, weights: Tensor | None) -> None:
    """Adds to `counts`; touches only the span of bins that occur."""
    first = int(bins.min())
    found = torch.bincount(bins - first, weights=weights)
    counts[first : first + len(found)] += found.to(counts.dtype)


def _bits(heatmap: Tensor) -> Tensor:
    """int32 [h * w]: the bit patterns of a heatmap, checked."""
    bits = heatmap.float().contiguous().flatten().view(torch.int32)
    low, high = bits.aminmax()
    if int(low) >= 0 and int(high) < _INFINITY_BITS:
        return bits
    values = bits.view(torch.float32)
    if bad := int((~values.isfinite()).sum()):
        raise ValueError(
            f"{bad} of {len(values)} pixels of a heatmap are not finite; "
            "train with a lower training.lr"
        )
    if bad := int((values < 0).sum()):
        raise ValueError(
            f"{bad} of {len(values)} pixels of a heatmap are below 0 (down to {values.min():g}), "
            "which no anomaly map is; check the net's output"
        )
    return values.abs().view(torch.int32)  # -0.0


def _exact(images: Iterable[tuple[Tensor, Truth]]) -> _Table:
    bits, total, anomalous, overlap = [], [], [], []
    for heatmap, under in images:
        values = _bits(heatmap).numpy()
        ones = under.pixels is None
        bits.append(values.copy())
        total.append(np.ones(len(values), dtype=np.int64) if ones else under.pixels)
        anomalous.append(np.zeros(len(values), dtype=np.int64))
        anomalous[-1][under.places] = under.anomalous
        overlap.append(np.zeros(len(values)))
        overlap[-1][under.places] = under.overlap
    distinct, place = np.unique(np.concatenate(bits), return_inverse=True)
    return _summed(distinct, place, *(np.concatenate(c) for c in (total, anomalous, overlap)))


def _rebinned(table: _Table) -> _Table:
    distinct, place = np.unique(table.bits >> _DROPPED_BITS, return_inverse=True)
    lower = (distinct << _DROPPED_BITS).astype(np.int32)
    total = table.nominal + table.anomalous
    return _summed(lower, place, total, table.anomalous, table.overlap)


def _summed(
    bits: np.ndarray,
    place: np.ndarray,
    total: np.ndarray,
    anomalous: np.ndarray,
    overlap: np.ndarray,
) -> _Table:
    """Adds up the columns by `place`, the row of `bits` that each entry belongs to."""
    n, a, o = (
        np.bincount(place, weights=c, minlength=len(bits)) for c in (total, anomalous, overlap)
    )
    return _Table(bits, (n - a).astype(np.int64), a.astype(np.int64), o)
