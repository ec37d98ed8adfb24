"""Tables as Markdown to read and CSV to compute with."""

import csv
import io

from reports.aggregate import METRICS, Cell, Table
from reports.latex import caption


def markdown(table: Table) -> str:
    """A Markdown table in percent, its caption above."""
    heading = METRICS.get(table.metric, table.metric)
    lines = [caption(table), "", f"| nominal class | {heading} in % | n |", "|---|---:|---:|"]
    entries = [*zip(table.classes, table.cells, strict=True), ("**mean**", table.mean)]
    for name, cell in entries:
        safe = name.replace("|", "\\|")
        lines.append(f"| {safe} | {_percent(cell)} | {cell.n if cell else 0} |")
    return "\n".join(lines) + "\n"


def _percent(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    spread = "" if cell.std is None else f" ± {100 * cell.std:.1f}"
    return f"{100 * cell.mean:.1f}{spread}"


def comma_separated(table: Table) -> str:
    """CSV in full precision: class, metric, mean, std, n, keys; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", "metric", "mean", "std", "n", "keys"])
    for name, cell in [*zip(table.classes, table.cells, strict=True), ("mean", table.mean)]:
        if cell is None:
            writer.writerow([name, table.metric, "", "", 0, ""])
            continue
        std = "" if cell.std is None else repr(cell.std)
        writer.writerow([name, table.metric, repr(cell.mean), std, cell.n, " ".join(cell.keys)])
    return text.getvalue()
