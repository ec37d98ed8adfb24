"""Average ranks and the tests between methods, as printed."""

from typing import Any

from reports.aggregate import Table
from reports.ranks import Ranks
from reports.rows import METRICS
from reports.sheet import Entry, Head, Line, Printed, Sheet, Words, comments


def printed(ranks: Ranks, table: Table, *, stem: str, how: str) -> Printed:
    """The ranks of the methods of `table`; the records hold every pair."""
    lines = []
    for place, method in enumerate(ranks.methods):
        entries: tuple[Entry, ...] = (
            Words(f"{ranks.ranks[place]:.2f}"),
            Words("" if place == 0 else _p(ranks.wilcoxon[0][place])),
            Words("" if place == 0 else _p(ranks.nemenyi[0][place])),
        )
        lines.append(Line(method, entries))
    sheet = Sheet(
        stem=stem,
        title=_title(ranks, table),
        corner="method",
        heads=(
            Head("average rank"),
            Head("Wilcoxon, Holm", "p against the best"),
            Head("Nemenyi", "p against the best"),
        ),
        lines=tuple(lines),
        footnotes=(("", _groups(ranks)),),
        comments=comments(table.common, table.settings, table.provenance),
    )
    keys = {
        column: tuple(
            sorted({k for _, at, cell in table.present() if at == number for k in cell.keys})
        )
        for number, column in enumerate(table.columns)
    }
    return Printed(
        stem=stem,
        kind="ranks",
        metric=table.metric,
        how=how,
        sheets=(sheet,),
        records=tuple(_records(ranks, table.metric, keys)),
        provenance=table.provenance,
        common=table.common,
        settings=table.settings,
    )


def _title(ranks: Ranks, table: Table) -> str:
    few = " Fewer than 10 classes: the approximations are rough." if ranks.num_blocks < 10 else ""
    return (
        f"Average ranks of methods by {METRICS[table.metric]} on {table.data} "
        f"over {ranks.num_blocks} nominal classes, 1 is best. Friedman test that all are alike: "
        f"chi-squared {ranks.friedman_statistic:.2f} with {len(ranks.methods) - 1} degrees of "
        f"freedom, {_with_p(ranks.friedman_p)}. Wilcoxon: two-sided signed-rank test, corrected "
        "for all pairs by Holm. Nemenyi: critical difference "
        f"{ranks.critical_difference:.2f} at 5 %.{few}"
    )


def _groups(ranks: Ranks) -> str:
    if not ranks.groups:
        return "Every two methods differ by more than the critical difference."
    told = "; ".join(f"{group[0]} to {group[-1]}" for group in ranks.groups)
    return f"Not told apart by the critical difference: {told}."


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _with_p(value: float) -> str:
    text = _p(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _records(ranks: Ranks, metric: str, keys: dict[str, tuple[str, ...]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for i, method in enumerate(ranks.methods):
        for j, other in enumerate(ranks.methods):
            if i == j:
                continue
            found.append(
                {
                    "row": method,
                    "column": other,
                    "metric": metric,
                    "average_rank": ranks.ranks[i],
                    "other_rank": ranks.ranks[j],
                    "wilcoxon_holm_p": ranks.wilcoxon[i][j],
                    "nemenyi_p": ranks.nemenyi[i][j],
                    "critical_difference": ranks.critical_difference,
                    "keys": keys.get(method, ()),
                }
            )
    return found
