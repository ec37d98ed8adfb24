"""One HTML page per report: tables whose cells open, figures, provenance. Needs no network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from pipeline.results import write_text
from reports import page_data, page_images
from reports.evidence import MAX_RUNS, Evidence
from reports.page_model import View, view
from reports.panels import QUANTILE
from reports.plots import Drawn
from reports.sheet import Printed

_SCRIPTS = ("elements.js", "charts.js", "heatmaps.js", "cell.js", "tables.js")  # in this order
_FIGURE_BYTES = 4_000_000  # of all figures in the page
_FIGURE_COLOURS = 128


@dataclass(frozen=True)
class Picture:
    """A figure in the page: its PNG as a data URI, or None where the page had no room left, and
    its size in pixels."""

    name: str
    caption: str
    uri: str | None
    width: int = 0
    height: int = 0


def write(
    evidence: Evidence,
    out: Path,
    *,
    tables: Sequence[Printed],
    drawn: Sequence[Drawn] = (),
    title: str = "Report",
    quantile: float = QUANTILE,
) -> Path:
    """Writes `out`/index.html and returns its path. The same rows give the same bytes.

    Shown are the `tables`, the figures of `drawn` that have a PDF of their own (pictures of
    heatmaps are in the cells), and behind every cell its runs, commands, curves and heatmaps. More
    than `evidence.MAX_RUNS` runs come without what is behind the cells, which the page says.
    """
    path = out / "index.html"
    write_text(
        path,
        render(
            [view(table) for table in tables],
            pictures(drawn),
            page_data.as_json(page_data.details(evidence, quantile=quantile)),
            title=title,
            summary=_summary(evidence),
            num_runs=len(_keys(tables)),
        ),
    )
    return path


def _keys(tables: Iterable[Printed]) -> set[str]:
    return {key for table in tables for record in table.records for key in record["keys"]}


def render(
    views: Sequence[View],
    figures: Sequence[Picture],
    data: str,
    *,
    title: str,
    summary: Sequence[tuple[str, str]],
    num_runs: int,
) -> str:
    """The page. `data` is what its script reads (`page_data.as_json`); everything else is escaped
    by the template."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = files("reports") / "templates"
    environment = Environment(
        loader=FileSystemLoader(str(templates)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["tints"] = tints
    # Our own files, so not escaped.
    css = Markup((templates / "page.css").read_text(encoding="utf-8"))
    js = Markup("\n".join((templates / name).read_text(encoding="utf-8") for name in _SCRIPTS))
    return environment.get_template("page.html").render(
        title=title,
        summary=summary,
        views=views,
        shared_provenance=shared_provenance(views),
        figures=figures,
        num_runs=num_runs,
        max_runs=MAX_RUNS,
        data=Markup(data),
        css=css,
        js=js,
    )


def tints(one: View) -> dict[float, int]:
    """How strongly cells are tinted, 0 to 100, by their value: its place between the lowest and the
    highest metric of the table."""
    values = {
        cell.value
        for row in one.rows
        for cell in row.cells
        if cell.metric and cell.value is not None
    }
    low, high = min(values, default=0.0), max(values, default=0.0)
    return {value: round(100 * (value - low) / (high - low)) for value in values if high > low}


def shared_provenance(views: Sequence[View]) -> dict[str, str]:
    """What all tables that have a provenance have in common, so that it stands once."""
    told = [dict(one.provenance) for one in views if one.provenance]
    if not told:
        return {}
    return {n: text for n, text in told[0].items() if all(one.get(n) == text for one in told)}


def pictures(drawn: Iterable[Drawn]) -> list[Picture]:
    """The figures that have a PDF of their own, in few colours, until the page's room is used."""
    from PIL import Image

    found = []
    room = _FIGURE_BYTES
    for one in drawn:
        if one.pdf.stem != one.name:
            continue
        if room <= 0:
            found.append(Picture(one.name, one.caption, None))
            continue
        with Image.open(one.png) as image:
            pixels = np.asarray(image.convert("RGB"))
        text = page_images.uri(pixels, colours=_FIGURE_COLOURS)
        room -= len(text)
        height, width = pixels.shape[:2]
        found.append(Picture(one.name, one.caption, text, width, height))
    return found


def _summary(evidence: Evidence) -> list[tuple[str, str]]:
    """The line below the title: names and numbers."""
    rows = [row for data in evidence.data for row in data.rows]
    if not rows:
        return []
    seeds = sorted({row["seed"] for row in rows})
    methods: Mapping[str, None] = dict.fromkeys(m.label for d in evidence.data for m in d.methods)
    return [
        ("Data", ", ".join(data.title for data in evidence.data)),
        ("Methods", str(len(methods))),
        ("Runs", str(len(rows))),
        ("Seeds", ", ".join(str(seed) for seed in seeds)),
    ]
