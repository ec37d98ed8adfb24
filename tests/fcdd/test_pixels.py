import weakref
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from fcdd.histograms import metrics_from_histograms
from fcdd.pixels import PixelMetrics, pixel_metrics
from fcdd.regions import truth

Image = tuple[np.ndarray, np.ndarray]  # heatmap float32 [h, w], mask bool [H, W]
ROUNDING = 1e-11


def measured(images: list[Image], *, exact: bool) -> PixelMetrics:
    return pixel_metrics(
        ((torch.from_numpy(h), truth(m, (h.shape[0], h.shape[1]))) for h, m in images),
        pixels="exact" if exact else "histogram",
    )


def enlarged(images: list[Image]) -> list[Image]:
    """Every heatmap at the size of its mask, by nearest neighbour, pixel by pixel."""
    made = []
    for heatmap, mask in images:
        large = np.empty(mask.shape, np.float32)
        for i, j in np.ndindex(mask.shape):
            large[i, j] = heatmap[
                i * heatmap.shape[0] // mask.shape[0], j * heatmap.shape[1] // mask.shape[1]
            ]
        made.append((large, mask))
    return made


def flood(mask: np.ndarray) -> list[np.ndarray]:
    """The regions of a mask, 8-connected, as bool maps; by visiting neighbours."""
    left, regions = {(int(i), int(j)) for i, j in np.argwhere(mask)}, []
    while left:
        region, front = np.zeros_like(mask), [left.pop()]
        while front:
            i, j = front.pop()
            region[i, j] = True
            near = {(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)} & left
            left -= near
            front += near
        regions.append(region)
    return regions


def slow_pro(images: list[Image], limit: float = 0.3) -> float:
    """PRO from its definition, one threshold after the other; heatmaps at the masks' sizes."""
    nominal = np.concatenate([h[~m] for h, m in images])
    regions = [h[region] for h, m in images for region in flood(m)]
    thresholds = sorted({float(v) for h, _ in images for v in h.ravel()}, reverse=True)
    curve = [(0.0, 0.0)]
    for threshold in thresholds:
        overlap = np.mean([np.mean(region >= threshold) for region in regions])
        curve.append((float(np.mean(nominal >= threshold)), float(overlap)))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x1 <= limit:
            area += (x1 - x0) * (y0 + y1) / 2
        elif x0 < limit:
            y_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            area += (limit - x0) * (y0 + y_limit) / 2
    return area / limit


def references(images: list[Image]) -> tuple[float, float]:
    """AUROC and AP of scikit-learn."""
    labels = np.concatenate([m.ravel() for _, m in images])
    values = np.concatenate([h.ravel() for h, _ in images]).astype(np.float64)
    return float(roc_auc_score(labels, values)), float(average_precision_score(labels, values))


# Zero, the smallest subnormal, neighbours that share a bin, bins apart, the largest float32.
VALUES = (0.0, 1e-45, 2e-45, 1e-39, 0.5, 0.50001, 0.5001, 0.501, 1.0, 7.0, 3.4028235e38)


@st.composite
def image_sets(draw: st.DrawFn) -> list[Image]:
    images = []
    for _ in range(draw(st.integers(1, 3))):
        h, w, high, wide = (draw(st.integers(1, n)) for n in (4, 5, 7, 6))
        values = draw(st.lists(st.sampled_from(VALUES), min_size=h * w, max_size=h * w))
        bits = draw(st.lists(st.booleans(), min_size=high * wide, max_size=high * wide))
        heatmap = np.array(values, np.float32).reshape(h, w)
        images.append((heatmap, np.array(bits).reshape(high, wide)))
    return images


def both_kinds(images: list[Image]) -> bool:
    kinds = np.concatenate([m.ravel() for _, m in images])
    return bool(kinds.any()) and not bool(kinds.all())


@given(image_sets().filter(both_kinds))
@settings(deadline=None, max_examples=50)
def test_metrics_equal_the_definitions_exactly_or_within_the_bound(images: list[Image]) -> None:
    large = enlarged(images)
    auroc, ap = references(large)
    expected = {"auroc": auroc, "ap": ap, "pro": slow_pro(large)}
    exact, binned = measured(images, exact=True), measured(images, exact=False)
    for name, value in expected.items():
        assert getattr(exact, name) == pytest.approx(value, abs=ROUNDING)
        assert getattr(exact, f"{name}_bound") == 0
        bound = getattr(binned, f"{name}_bound")
        assert abs(getattr(binned, name) - value) <= bound + ROUNDING
        assert 0 <= getattr(binned, name) <= 1 + ROUNDING


def smooth_images(num: int, side: int) -> list[Image]:
    """Images with a bright defect, many ties, zeros, subnormals and an equal one."""
    stream = np.random.default_rng(3)
    rows, columns = np.mgrid[:side, :side] / side
    images = []
    for i in range(num):
        waves = np.sin(9 * rows + i) * np.cos(7 * columns) + 1.2
        mask = (rows - 0.3) ** 2 + (columns - 0.5) ** 2 < 0.01 * (i % 3)
        mask |= (np.abs(rows - 0.8) < 0.02) & (columns < 0.1 * (i % 4))
        heatmap = (waves + 2 * mask * stream.random((side, side))).astype(np.float32)
        heatmap[: side // 8] = 0
        heatmap[side // 8] = 1e-40
        heatmap[-2:] = np.round(heatmap[-2:], 1)
        images.append((heatmap, mask))
    images[-1] = (np.full((side, side), 0.7, np.float32), images[-1][1])
    return images


def test_a_million_pixels_equal_scikit_learn_within_a_bound_of_a_ten_thousandth() -> None:
    images = smooth_images(16, 256)
    auroc, ap = references(images)
    binned, exact = measured(images, exact=False), measured(images, exact=True)
    for found, value, bound in (
        (binned.auroc, auroc, binned.auroc_bound),
        (binned.ap, ap, binned.ap_bound),
        (binned.pro, exact.pro, binned.pro_bound),
    ):
        assert 0.5 < value < 1
        assert abs(found - value) <= bound + ROUNDING
        assert 0 < bound < 1e-3
    assert exact.auroc == pytest.approx(auroc, abs=ROUNDING)
    assert exact.ap == pytest.approx(ap, abs=ROUNDING)


def test_a_native_mask_is_counted_as_if_the_heatmap_were_enlarged() -> None:
    stream = np.random.default_rng(0)
    images = [
        (stream.random((7, 5)).astype(np.float32), stream.random((23, 19)) < 0.2),
        (stream.random((7, 5)).astype(np.float32), stream.random((4, 40)) < 0.2),
        (stream.random((7, 5)).astype(np.float32), np.zeros((31, 17), bool)),
    ]
    small, large = measured(images, exact=False), measured(enlarged(images), exact=False)
    for name in ("lower", "nominal", "anomalous"):
        np.testing.assert_array_equal(small.histograms[name], large.histograms[name])
    np.testing.assert_allclose(small.histograms["overlap"], large.histograms["overlap"])
    assert small.pro == pytest.approx(slow_pro(enlarged(images)), abs=small.pro_bound + ROUNDING)


def test_histograms_hold_every_pixel_and_region_and_give_the_metrics_back() -> None:
    images = smooth_images(6, 64)
    found = measured(images, exact=False)
    table = found.histograms
    assert {name: column.dtype.name for name, column in table.items()} == {
        "lower": "float32",
        "nominal": "int64",
        "anomalous": "int64",
        "overlap": "float64",
    }
    assert table["nominal"].sum() == sum((~m).sum() for _, m in images)
    assert table["anomalous"].sum() == sum(m.sum() for _, m in images)
    regions = sum(len(flood(m)) for _, m in images)
    assert table["overlap"].sum() == pytest.approx(regions)
    edges = np.append(table["lower"], np.inf)
    values = np.concatenate([h.ravel() for h, _ in images])
    counts = np.histogram(values, edges)[0]
    np.testing.assert_array_equal(counts, table["nominal"] + table["anomalous"])
    normal = values[values > 1e-30]
    below = table["lower"][np.searchsorted(table["lower"], normal, side="right") - 1]
    assert (normal / below).max() < 1 + 2**-11
    again = metrics_from_histograms(**table)
    assert again == {name: getattr(found, name) for name in again}
    exact = measured(images, exact=True)
    np.testing.assert_array_equal(exact.histograms["nominal"], table["nominal"])
    np.testing.assert_array_equal(exact.histograms["lower"], table["lower"])


def test_equal_heatmaps_rank_nothing() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    found = measured([(np.full((8, 8), 0.25, np.float32), mask)], exact=True)
    assert found.auroc == 0.5
    assert found.ap == 4 / 64
    # The curve is one straight line from (0, 0) to (1, 1): up to 0.3, on average at 0.15.
    assert found.pro == pytest.approx(0.15)


def test_regions_count_alike_whatever_their_size() -> None:
    mask = np.zeros((10, 10), bool)
    mask[:4, :4] = True  # 16 pixels, all found
    mask[9, 9] = True  # 1 pixel, missed
    heatmap = np.where(mask, np.float32(1), np.float32(0))
    heatmap[9, 9] = 0
    # The curve rises to 1/2 at rate 0, then goes straight to (1, 1): at 0.3 it is at 0.65.
    assert measured([(heatmap, mask)], exact=True).pro == pytest.approx((0.5 + 0.65) / 2)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    mask = np.array([[True, False, False], [False, True, False], [False, False, False]])
    table = measured([(np.ones((3, 3), np.float32), mask)], exact=False).histograms
    assert table["overlap"].sum() == pytest.approx(1)


@pytest.mark.parametrize("exact", [False, True])
def test_values_that_are_no_heatmap_are_refused(exact: bool) -> None:
    mask = np.eye(4, dtype=bool)
    heatmap = np.full((4, 4), 1.0, np.float32)
    heatmap[0, :2], heatmap[1, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match="3 of 16 pixels of a heatmap are not finite"):
        measured([(heatmap, mask)], exact=exact)
    with pytest.raises(ValueError, match=r"1 of 16 pixels of a heatmap are below 0 \(down to -2"):
        measured([(np.where(np.arange(16).reshape(4, 4) == 5, -2, 1.0), mask)], exact=exact)


def test_negative_zero_is_zero() -> None:
    mask = np.array([[True, False]])
    signed = measured([(np.array([[0.0, -0.0]], np.float32), mask)], exact=True)
    assert (signed.auroc, len(signed.histograms["lower"])) == (0.5, 1)


def test_masks_of_one_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="4 are nominal and 0 anomalous; check the masks"):
        measured([(np.ones((2, 2), np.float32), np.zeros((2, 2), bool))], exact=False)
    with pytest.raises(ValueError, match="0 are nominal and 4 anomalous"):
        measured([(np.ones((2, 2), np.float32), np.ones((2, 2), bool))], exact=False)


def test_only_one_heatmap_is_alive_at_a_time() -> None:
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def images() -> Iterator[tuple[Tensor, object]]:
        nonlocal most
        for heatmap, mask in smooth_images(8, 32):
            values = torch.from_numpy(heatmap)
            alive.append(weakref.ref(values))
            most = max(most, sum(ref() is not None for ref in alive))
            yield values, truth(mask, (32, 32))
            del values

    pixel_metrics(images(), pixels="histogram")  # pyright: ignore[reportArgumentType]
    assert most <= 2  # the one that is counted, and the next
