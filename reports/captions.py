"""What stands above and below a table: what the numbers are, and what is missing from them."""

from collections.abc import Sequence

from reports.aggregate import Table
from reports.axes import CLASS, DATA_SET, METHOD
from reports.cross import Bold
from reports.intervals import Resampling
from reports.methods import in_words
from reports.rows import METRICS


def caption(table: Table, *, bold: Bold, resampling: Resampling) -> str:
    """Metric, data, methods, spread and what is bold, in sentences."""
    metric = sentence(METRICS[table.metric])
    if len(table.settings) == 1:
        what = in_words({**table.common, **next(iter(table.settings.values()))})
        sentences = [f"{metric} in percent on {table.data}: {what}."]
    elif table.axes == (CLASS, METHOD):
        sentences = [f"{metric} in percent on {table.data} for each nominal class."]
    else:
        along, across = (_plural(name) for name in table.axes)
        sentences = [f"{metric} in percent on {table.data}: {along} by {across}."]
    sentences.append(_spread(table))
    if DATA_SET in table.axes and METHOD in table.axes and len(table.columns) > 1:
        sentences.append("Net, pool and schedule are those of each data set.")
    if table.bold:
        where = "row" if table.axes[1] not in (CLASS, DATA_SET) else "column"
        sentences.append(_bold(bold, where, resampling))
    return " ".join(sentence for sentence in sentences if sentence)


def sentence(text: str) -> str:
    """`text` with a capital at its start."""
    return text[:1].upper() + text[1:]


def _plural(name: str) -> str:
    known = {CLASS: "nominal classes", DATA_SET: "data sets", METHOD: "methods"}
    return known.get(name, name)


def usual_n(table: Table) -> int:
    """The number of seeds of most cells, means over classes aside; the larger one in doubt."""
    end = (len(table.rows) - table.mean_row, len(table.columns) - table.mean_column)
    counts = [cell.n for row, column, cell in table.present() if row < end[0] and column < end[1]]
    return max(set(counts), key=lambda n: (counts.count(n), n), default=0)


def _spread(table: Table) -> str:
    n = usual_n(table)
    if n < 2:
        return "One seed, so without a spread."
    over = f"Mean and sample standard deviation over {n} seeds"
    if table.mean_row or table.mean_column:
        where = "row" if table.mean_row else "column"
        return f"{over}; last {where}: mean over classes, its spread that of this mean over seeds."
    if CLASS not in table.axes:
        return f"{over} of the mean over classes."
    return f"{over}."


def _bold(rule: Bold, where: str, resampling: Resampling) -> str:
    if rule == "best":
        return f"Bold: the highest mean of each {where}."
    return (
        f"Bold: the highest mean of each {where} and all that are not significantly lower "
        f"({100 * resampling.level:g} % interval of the difference paired by seed)."
    )


def notes(table: Table, *, mixed: Sequence[str]) -> tuple[str, ...]:
    """What a reader must know before trusting the table: gaps, single seeds, mixed rows."""
    found = [f"Rows are mixed: {text}." for text in mixed]
    gaps = [
        f"{table.rows[row]}, {table.columns[column]}"
        for row, cells in enumerate(table.cells)
        for column, cell in enumerate(cells)
        if cell is None
    ]
    if gaps:
        found.append(f"{len(gaps)} {_are(gaps, 'cell has', 'cells have')} no value: {_some(gaps)}.")
    single = [_where(table, row, column) for row, column, cell in table.present() if cell.n == 1]
    if single and usual_n(table) > 1:
        found.append(
            f"{len(single)} {_are(single, 'cell has', 'cells have')} one seed, so neither spread "
            f"nor interval: {_some(single)}. More seeds: run the same spec with more of them."
        )
    return tuple(found)


def _where(table: Table, row: int, column: int) -> str:
    return f"{table.rows[row]}, {table.columns[column]}"


def _are(things: Sequence[object], one: str, many: str) -> str:
    return one if len(things) == 1 else many


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return "; ".join(texts[:5]) + more


def deviating(table: Table) -> dict[tuple[int, int], int]:
    """Places whose number of seeds is not the usual one, with that number."""
    usual = usual_n(table)
    return {(row, column): cell.n for row, column, cell in table.present() if cell.n != usual}
