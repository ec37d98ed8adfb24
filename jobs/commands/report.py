"""`fcdd report` and `fcdd verify`: from rows to tables, figures and a page, and back."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

_SHOWN = 100  # faults that are printed one by one
Folders = Annotated[
    list[str], typer.Argument(help="Output folders of `fcdd run`: paths or s3://BUCKET/FOLDER.")
]


def report(
    folders: Folders,
    out: Annotated[str, typer.Option(help="Where the report goes, on this machine.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="image_auroc, image_ap, pixel_auroc, pixel_ap or pixel_pro; may be repeated; "
            "default: image_auroc, and pixel_auroc where there are masks."
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Field along the rows, or 'method'; default: data.normal_class."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Field along the columns; default: method.")
    ] = None,
    bold: Annotated[
        Literal["best", "equivalent"],
        typer.Option(help="Bold: the best, or also all that are not significantly worse."),
    ] = "best",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Print gaps as dashes.")
    ] = False,
    allow_mixed: Annotated[
        bool,
        typer.Option(
            "--allow-mixed", help="Let rows of several commits or protocols into one table."
        ),
    ] = False,
    rescore: Annotated[
        bool,
        typer.Option(
            "--rescore", help="Compute metrics again from stored scores; nothing is trained."
        ),
    ] = False,
    figures: Annotated[
        bool,
        typer.Option(
            " /--no-figures", show_default=False, help="Draw neither figures nor the page."
        ),
    ] = True,
) -> None:
    """Make the report of one or more output folders: tables (LaTeX, Markdown, CSV, HTML), figures
    and index.html."""
    from pipeline.places import reached
    from reports.plots import counted
    from reports.tables import Options
    from reports.write import write

    options = Options(
        metrics=tuple(metric or ()),
        rows=rows,
        columns=columns,
        bold=bold,
        allow_missing=allow_missing,
        allow_mixed=allow_mixed,
        rescore=rescore,
    )
    target = _local(out, "--out")
    places = [reached(folder) for folder in folders]
    paths = write(places, target, options=options, figures=figures, progress=_progress())
    tables = [path for path in paths if path.name.endswith(".tabular.tex")]
    for path in tables:
        print(path.with_name(path.name.replace(".tabular.tex", ".md")))
    print(f"{counted(len(tables), 'table')}, {counted(len(paths), 'file')} in {target}")
    if figures:
        print(f"page: {target / 'index.html'}")


def verify(
    report: Annotated[str, typer.Argument(help="The --out of `fcdd report`.")],
    folders: Annotated[
        list[str] | None,
        typer.Option(help="Output folders, where they have moved since; may be repeated."),
    ] = None,
) -> None:
    """Compute every number of a report again; name what is stale, missing or edited (exit 1)."""
    from pipeline.places import reached
    from reports.verify import verify as check

    places = [reached(folder) for folder in folders] if folders else None
    found = check(_local(report, "the report"), folders=places, progress=_progress())
    for fault in found.faults[:_SHOWN]:
        print(fault)
    if len(found.faults) > _SHOWN:
        print(f"and {len(found.faults) - _SHOWN} more")
    if found.faults:
        print(f"{len(found.faults)} faults in {report}; make the report again, or mend the rows")
        raise typer.Exit(1)
    print(
        f"{report}: {found.num_cells} cells and {found.num_files} files agree with the rows and "
        f"scores of {found.num_runs} runs"
    )


def _local(text: str, name: str) -> Path:
    from pipeline.places import Stored, place_of

    if isinstance(found := place_of(text), Stored):
        raise ValueError(
            f"{name} {found} is in an object store; a report is a folder of this machine, which "
            "the store's own tool copies"
        )
    return found


def _progress() -> Callable[[str], None]:
    """Prints each step that ends in "...", and of counts one line a second."""
    started = last = time.monotonic()

    def tell(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if text.endswith("...") or now - last > 1:
            print(f"{now - started:.0f} s: {text}", flush=True)
            last = now

    return tell
