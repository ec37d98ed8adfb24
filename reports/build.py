"""A report, complete but not yet written: tables, comparisons, ranks and ablations of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.results import Place
from reports import ablation, ablation_sheet, compare_sheet, rank_sheet
from reports.ablation import Curve
from reports.aggregate import Table
from reports.axes import METHOD
from reports.compare import compare
from reports.competitors import beside_competitors
from reports.files import file_name
from reports.ranks import Ranks, from_table
from reports.rescore import rescored
from reports.rows import METRICS, Rows, load
from reports.sheet import Printed
from reports.table_sheet import printed
from reports.tables import Options, metrics, tables

Progress = Callable[[str], None]
_STEP = 500  # runs between two lines of progress
_FEW = 3  # of our columns that stand beside the paper's in other settings


@dataclass(frozen=True)
class Ranking:
    """The ranks of a table's methods, and the stem of their files."""

    stem: str
    ranks: Ranks


@dataclass(frozen=True)
class Report:
    """All numbers of a report. `printed` has everything that becomes a table, in its order."""

    rows: Rows
    tables: tuple[Table, ...]
    printed: tuple[Printed, ...]
    curves: tuple[Curve, ...]
    rankings: tuple[Ranking, ...]


def build(
    folders: Sequence[Place],
    options: Options,
    *,
    progress: Progress = lambda text: None,
) -> Report:
    """The report of `folders`. The same rows give the same report.

    Raises ValueError as `rows.load` and `tables.tables` do, and with `options.rescore` as
    `rescore.rescored` does.
    """
    rows = load(folders, allow_missing=options.allow_missing)
    progress(
        f"{int(rows.present.sum())} rows of {len(folders)} folder{'s' * (len(folders) > 1)} ..."
    )
    names = metrics(rows, options)
    if options.rescore:
        rows = rescored(rows, names, progress=_counted(progress))
    made = tables(rows, options, progress=progress)
    how = _how(options)
    num_test = _num_test(rows, made)
    found: list[Printed] = []
    rankings: list[Ranking] = []
    for table in made:
        found.append(printed(table, how=how))
        found += _beside(table, num_test, how)
        ranks = from_table(table)
        if ranks is not None:
            stem = f"{table.stem}_ranks"
            rankings.append(Ranking(stem, ranks))
            found.append(rank_sheet.printed(ranks, table, stem=stem, how=how))
    curves = [
        curve
        for name in names
        for curve in ablation.curves(
            rows, metric=name, allow_mixed=options.allow_mixed, resampling=options.resampling
        )
    ]
    found += [ablation_sheet.printed(group, how=how) for group in ablation_sheet.grouped(curves)]
    return Report(rows, tuple(made), tuple(found), tuple(curves), tuple(rankings))


def _counted(progress: Progress) -> Callable[[int, int], None]:
    def tell(done: int, of: int) -> None:
        if done % _STEP == 0 or done == of:
            progress(f"metrics recomputed: {done} of {of} runs")

    return tell


def _how(options: Options) -> str:
    source = "stored scores and pixel histograms" if options.rescore else "the rows' own metrics"
    return (
        f"mean and sample standard deviation (ddof 1) over seeds of {source}; "
        f"{options.resampling.describe()}"
    )


def _num_test(rows: Rows, made: Sequence[Table]) -> dict[str, int]:
    """The number of test images by run key, where a table can be compared with published ones."""
    if not any(table.axes[1] == METHOD for table in made):
        return {}
    counts = rows.levels["num_test"]
    codes = rows.codes["num_test"].tolist()
    return {key: counts[code] for key, code in zip(rows.keys, codes, strict=True) if code >= 0}


def _beside(table: Table, num_test: dict[str, int], how: str) -> list[Printed]:
    """The table's methods beside their published counterparts: per class where the setting is the
    published one (or the only one), the rest in one table; and beside the paper's competitors."""
    compared = compare(table, num_test)
    if not compared:
        return []
    stem = f"{table.stem}_against_paper"
    detailed = [one for one in compared if not one.reasons or len(compared) == 1]
    others = [one for one in compared if one not in detailed]
    found = []
    for one in detailed:
        name = f"{stem}_{file_name(one.method)}" if len(detailed) > 1 else stem
        found.append(compare_sheet.printed(one, stem=name, how=how))
    if others:
        name = f"{stem}_other_settings" if detailed else stem
        found.append(compare_sheet.summary(others, stem=name, how=how))
    methods = [one.method for one in detailed]
    if not methods and len(table.columns) <= _FEW:
        methods = list(table.columns)
    dataset = compared[0].counterpart.dataset
    stem = f"{table.stem}_beside_paper"
    beside = beside_competitors(table, methods, dataset, stem=stem, how=how) if methods else None
    return found + ([beside] if beside else [])


def title(report: Report) -> str:
    """What the report is of: metrics and data sets."""
    data = dict.fromkeys(table.data for table in report.tables)
    names = dict.fromkeys(METRICS[table.metric] for table in report.tables)
    return f"{', '.join(names)} on {'; '.join(data)}"
