"""All figures of a report: curves, training, heatmaps, their stability, ablations, audits."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.results import Place, write_text
from reports import (
    figures_ablation,
    figures_audit,
    figures_curves,
    figures_panels,
    figures_stability,
    figures_training,
    plots,
)
from reports.ablation import Curve
from reports.evidence import Evidence
from reports.figures_groups import DataSet
from reports.figures_panels import LOOK, Look
from reports.figures_stability import Entry
from reports.figures_tiles import Frames
from reports.latex import escape
from reports.plots import Drawn

PER_LABEL = 6  # images of each label: Liznerski et al. 2021, Figures 4 to 6


def write(
    evidence: Evidence,
    out: Path,
    *,
    curves: Sequence[Curve] = (),
    look: Look = LOOK,
) -> list[Drawn]:
    """Draws all that `evidence` and the ablation `curves` hold into the folder `out`, each figure
    as PDF and PNG; with them figures.tex, in which each stands ready to be copied, and
    stability.csv. The same rows give the same bytes.

    Raises ValueError for files that are missing, corrupt or do not fit each other; each is named.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{str(out)!r} cannot be made ({error.strerror})") from None
    drawn: list[Drawn] = []
    stability: list[Entry] = []
    with plots.style():
        drawn += figures_ablation.write(curves, out)
        for data in evidence.data:
            drawn += figures_curves.write(data, evidence, out)
            drawn += figures_training.write(data, evidence, out)
            drawn += figures_audit.write(data, evidence.places, out, look=look)
            panels, found = _heatmaps(data, evidence.places, out, look)
            drawn += figures_stability.write(data, found, out)
            drawn += panels
            stability += found
    if stability:
        write_text(out / "stability.csv", figures_stability.comma_separated(stability))
    write_text(out / "figures.tex", document(drawn))
    return drawn


def _heatmaps(
    data: DataSet, places: Mapping[str, Place], out: Path, look: Look
) -> tuple[list[Drawn], list[Entry]]:
    drawn: list[Drawn] = []
    found: list[Entry] = []
    frames = Frames()
    with figures_panels.books(data, out) as book:
        for number, _ in data.classes:
            kept, runs = figures_panels.read(data, number, places, per_label=PER_LABEL)
            found += figures_stability.entries(data, number, runs)
            if kept is not None:
                drawn += figures_panels.write(
                    data, kept, out, number=number, book=book, frames=frames, look=look
                )
    return drawn, found


def document(drawn: Iterable[Drawn]) -> str:
    """A LaTeX document of all figures with captions and labels, which compiles in their folder."""
    lines = [r"\documentclass{article}", r"\usepackage{graphicx}", r"\begin{document}"]
    for one in drawn:
        page = f",page={one.page}" if one.page > 1 else ""
        lines += [
            r"\begin{figure}",
            r"\centering",
            rf"\includegraphics[width=\linewidth{page}]{{{one.pdf.name}}}",
            rf"\caption{{{escape(one.caption)}}}",
            rf"\label{{fig:{one.name}}}",
            r"\end{figure}",
            r"\clearpage",
        ]
    return "\n".join([*lines, r"\end{document}"]) + "\n"
