"""`fcdd audit`: does the net look at a mark that has nothing to do with the class?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from jobs.commands import run as run_command
from jobs.select import apply, load_spec

if TYPE_CHECKING:
    from pipeline.places import Place


def audit(
    spec: Annotated[str, typer.Argument(help="A spec's name, or your own .py file (it runs).")],
    mark: Annotated[
        Literal["square", "cross", "text"], typer.Option(help="What is stamped.")
    ] = "square",
    fraction: Annotated[float, typer.Option(help="Share of the images that carry it.")] = 1.0,
    target: Annotated[
        Literal["nominal", "outliers"], typer.Option(help="Which training images carry it.")
    ] = "nominal",
    corner: Annotated[
        Literal["top_left", "top_right", "bottom_left", "bottom_right"],
        typer.Option(help="Where it stands."),
    ] = "bottom_left",
    side_px: Annotated[
        int | None,
        typer.Option(help="Its height and width.", show_default="a quarter of the image"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(help="Output folder, or s3://....", show_default="results/audit_SPEC"),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="field=value, e.g. training.epochs=5.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="field=v1,v2: only these runs, e.g. seed=0,1.")
    ] = None,
    data_root: Annotated[
        Path | None, typer.Option(envvar="FCDD_DATA", help="Folder of the data sets.")
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(envvar="FCDD_POOL", help="Folder or tar of images: outliers.source=folder."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="File of pretrained weights.")] = None,
    cache: Annotated[
        Path | None, typer.Option(envvar="FCDD_CACHE", help="Folder for decoded images.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to train.")
    ] = "auto",
) -> None:
    """Train SPEC with a mark on its training images and tell what the heatmaps make of it.

    The paper found a net that looked at the photographer's watermark on horse pictures (section
    4.3). Each run leaves audits/KEY.json beside its row; `fcdd report` draws it.
    """
    from pipeline.places import place_of

    benchmark = apply(load_spec(spec), settings=settings or [], only=only or [])
    side = side_px or min(min(one.data.shape[1:]) for one in benchmark.runs) // 4
    marked = [
        *(settings or []),
        f"watermark.kind={mark}",
        f"watermark.fraction={fraction}",
        f"watermark.target={target}",
        f"watermark.corner={corner}",
        f"watermark.side_px={side}",
    ]
    folder = out or str(Path("results", f"audit_{benchmark.name}").resolve())
    code = 0
    try:
        run_command.run(
            spec,
            out=folder,
            settings=marked,
            only=only,
            data_root=data_root,
            pool=pool,
            weights=weights,
            cache=cache,
            device=device,
        )
    except typer.Exit as done:
        code = done.exit_code
    _show(place_of(folder))
    raise typer.Exit(code)


def _show(folder: "Place") -> None:
    from pipeline import results

    table = Table(title="What the mark does", caption=f"{folder / 'audits'}")
    for name in (
        *("run", "heat on the mark", "its area", "AUROC clean"),
        *("mark on nominal", "mark on anomalous", "mark moved"),
    ):
        table.add_column(name, justify="left" if name == "run" else "right")
    for key in sorted(results.row_keys(folder)):
        row, audit = results.read_row(folder, key), results.read_audit(folder, key)
        if audit is None:
            continue
        table.add_row(
            f"{row['data.name']} {row['class_name']} seed {row['seed']}",
            f"{100 * audit['mass_on_mark']:.1f} %",
            f"{100 * audit['area_of_mark']:.1f} %",
            *(
                f"{audit[name]:.3f}"
                for name in (
                    *("auroc_clean", "auroc_mark_on_nominal"),
                    *("auroc_mark_on_anomalous", "auroc_mark_moved"),
                )
            ),
        )
    Console().print(table)
