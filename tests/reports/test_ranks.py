import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import plots, rank_figure
from reports.published.values import paper
from reports.ranks import Ranks, average_ranks, compare, holm, wilcoxon_holm
from reports.write import write

Folder = Callable[..., Path]


def mvtec_table() -> tuple[list[str], np.ndarray]:
    """Table 2 of the paper: methods, and values [15 classes, 10 methods]."""
    values = [v for v in paper() if v.table == "Table2" and v.class_name != "mean"]
    methods = list(dict.fromkeys((v.method, v.setting) for v in values))
    classes = list(dict.fromkeys(v.class_name for v in values))
    by_place = {(v.method, v.setting, v.class_name): v.value for v in values}
    table = np.array([[by_place[(*method, name)] for method in methods] for name in classes])
    return [f"{method} {setting}" for method, setting in methods], table


def ranks_by_hand(table: np.ndarray) -> list[float]:
    """1 + the number of better values + half the number of equal ones, averaged over classes."""
    sums = [0.0] * table.shape[1]
    for row in table.tolist():
        for place, value in enumerate(row):
            better = sum(other > value for other in row)
            equal = sum(other == value for other in row) - 1
            sums[place] += 1 + better + equal / 2
    return [total / len(table) for total in sums]


def friedman_by_hand(table: np.ndarray) -> float:
    """The statistic with the correction for ties (Conover 1999, equation 5.8.5)."""
    num_blocks, k = table.shape
    by_block = [ranks_by_hand(row[None]) for row in table]
    squares = sum(rank**2 for ranks in by_block for rank in ranks)
    correction = num_blocks * k * (k + 1) ** 2 / 4
    sums = [num_blocks * mean for mean in ranks_by_hand(table)]
    spread = sum((total - num_blocks * (k + 1) / 2) ** 2 for total in sums)
    return (k - 1) * spread / (squares - correction)


def test_ranks_of_the_published_mvtec_table_are_those_by_hand() -> None:
    methods, table = mvtec_table()
    assert table.shape == (15, 10)
    by_hand = ranks_by_hand(table)
    assert average_ranks(table) == pytest.approx(by_hand)
    found = compare(table, methods)
    assert dict(zip(found.methods, found.ranks, strict=True)) == pytest.approx(
        dict(zip(methods, by_hand, strict=True))
    )
    assert found.methods[0] == "FCDD semi-supervised"
    assert list(found.ranks) == sorted(found.ranks)
    assert found.num_blocks == 15
    assert found.friedman_statistic == pytest.approx(friedman_by_hand(table))


def test_critical_difference_is_that_of_the_literature() -> None:
    """Demšar 2006, Table 5a: q = 3.164 for ten methods and 2.343 for three, at 5 %."""
    methods, table = mvtec_table()
    expected = 3.164 * math.sqrt(10 * 11 / (6 * 15))
    assert compare(table, methods).critical_difference == pytest.approx(expected, abs=2e-3)
    three = compare(table[:, :3], methods[:3]).critical_difference
    assert three == pytest.approx(2.343 * math.sqrt(3 * 4 / (6 * 15)), abs=2e-3)


def test_post_hoc_tests_agree_with_an_independent_library() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    methods, table = mvtec_table()
    found = compare(table, methods)
    order = [methods.index(name) for name in found.methods]
    nemenyi = posthocs.posthoc_nemenyi_friedman(table).to_numpy()
    assert np.array(found.nemenyi) == pytest.approx(nemenyi[np.ix_(order, order)], abs=1e-9)
    # Integers, for that library ranks 0.81 - 0.80 and 0.91 - 0.90 apart.
    whole = np.round(100 * table)
    wilcoxon = posthocs.posthoc_wilcoxon([*whole.T], p_adjust="holm").to_numpy()
    assert wilcoxon_holm(whole) == pytest.approx(wilcoxon, abs=1e-9)
    assert wilcoxon_holm(table) == pytest.approx(wilcoxon, abs=1e-9)


def test_wilcoxon_of_six_differences_of_one_sign_is_two_in_sixty_four() -> None:
    base = np.arange(6) / 10
    values = np.stack([base, base + 0.01 * (1 + np.arange(6)), base], axis=1)
    found = wilcoxon_holm(values)
    exact = 2 / 2**6
    assert found[0, 1] == pytest.approx(3 * exact)  # the smallest of three p-values
    assert found[1, 2] == pytest.approx(3 * exact)
    assert found[0, 2] == 1.0  # equal everywhere
    assert (found == found.T).all()
    assert (np.diag(found) == 1).all()


def test_holm_steps_down_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_groups_are_the_longest_runs_within_the_critical_difference() -> None:
    methods, table = mvtec_table()
    found = compare(table, methods)
    ranks = dict(zip(found.methods, found.ranks, strict=True))
    for group in found.groups:
        assert ranks[group[-1]] - ranks[group[0]] < found.critical_difference
    for one, other in itertools.combinations(found.methods, 2):
        near = abs(ranks[one] - ranks[other]) < found.critical_difference
        assert near == any(one in group and other in group for group in found.groups)
    for one, other in itertools.permutations(found.groups, 2):
        assert not set(one) <= set(other)


def test_methods_that_are_always_alike_differ_in_nothing() -> None:
    found = compare(np.full((6, 3), 0.5), ["a", "b", "c"])
    assert found.ranks == (2.0, 2.0, 2.0)
    assert found.friedman_p == 1.0
    assert found.groups == (("a", "b", "c"),)


def test_what_cannot_be_ranked_is_refused() -> None:
    with pytest.raises(ValueError, match="ranks need 3 methods on 2 classes at least"):
        compare(np.zeros((5, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="ranks need finite values"):
        compare(np.array([[0.1, 0.2, np.nan]] * 4), ["a", "b", "c"])


@pytest.fixture
def ranked() -> Ranks:
    methods, table = mvtec_table()
    return compare(table, methods)


def test_diagram_has_the_same_bytes_each_time(ranked: Ranks, tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        with plots.style():
            drawn = rank_figure.write(ranked, tmp_path / f"{number}", caption="Ranks.")
        contents.append([path.read_bytes() for path in (drawn.pdf, drawn.png)])
    assert contents[0] == contents[1]
    assert contents[0][0].startswith(b"%PDF")


def test_diagram_shows_every_method_at_its_rank(ranked: Ranks) -> None:
    with plots.style():
        figure = rank_figure.draw(ranked)
    (ax,) = figure.axes
    texts = [text.get_text() for text in ax.texts]
    for name, rank in zip(ranked.methods, ranked.ranks, strict=True):
        assert any(text.startswith(name[:20]) and text.endswith(f"{rank:.2f}") for text in texts)
    assert f"CD = {ranked.critical_difference:.2f}" in texts
    bars = [line for line in ax.lines if line.get_linewidth() > 2]
    assert len(bars) == len(ranked.groups)
    # The critical difference is drawn in the units of the axis.
    ticks = {text.get_text(): text.get_position()[0] for text in ax.texts[: len(ranked.methods)]}
    unit = (ticks["10"] - ticks["1"]) / 9
    ends = [np.asarray(line.get_xydata()) for line in ax.lines]
    lengths = [float(np.ptp(xy[:, 0])) for xy in ends if xy[0, 1] == xy[-1, 1]]
    assert any(abs(n - unit * ranked.critical_difference) < 1e-9 for n in lengths)


def test_report_ranks_methods_over_classes(folder_of: Folder, tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {},
        {"training.lr": 0.01},
        {"training.lr": 0.1},
    ]
    rows = [
        (
            {"data.normal_class": number, "seed": 0, **fields},
            {"image_auroc": 0.9 - 0.1 * place + 0.001 * number},
        )
        for place, fields in enumerate(others)
        for number in range(6)
    ]
    write([folder_of(rows)], tmp_path / "r", figures=False)
    text = (tmp_path / "r" / "digits_image_auroc_ranks.md").read_text()
    assert "over 6 nominal classes, 1 is best" in text
    assert "| FCDD, lr 0.001 | 1.00 |" in text
    assert "| FCDD, lr 0.1 | 3.00 |" in text
    assert "Fewer than 10 classes: the approximations are rough." in text
    # Perfect agreement of n blocks on k methods: n (k - 1).
    assert "chi\\-squared 12.00".replace("\\", "") in text
    side_car = json.loads((tmp_path / "r" / "digits_image_auroc_ranks.json").read_text())
    assert len(side_car["cells"]) == 6
    assert len(side_car["cells"][0]["keys"]) == 6
