"""The files of a report."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pipeline.results import write_text
from reports.aggregate import per_class
from reports.latex import document, tabular
from reports.text import comma_separated, markdown


def write(
    folders: Iterable[Path], out: Path, *, metric: str = "image_auroc", allow_missing: bool = False
) -> list[Path]:
    """Writes each table as a LaTeX document, a tabular to \\input, Markdown and CSV into `out`;
    returns their paths. The same rows give the same bytes. Raises ValueError (see `per_class`)."""
    tables = per_class(folders, metric=metric, allow_missing=allow_missing)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {str(out)!r} cannot be made ({error.strerror})") from None
    paths = []
    used: Counter[str] = Counter()
    for table in tables:
        stem = f"{table.setting['data.name']}_{table.setting['objective.name']}_{metric}"
        used[stem] += 1
        if used[stem] > 1:
            stem = f"{stem}-{used[stem]}"
        for suffix, text in (
            (".tex", document(table)),
            (".tabular.tex", tabular(table)),
            (".md", markdown(table)),
            (".csv", comma_separated(table)),
        ):
            paths.append(out / f"{stem}{suffix}")
            write_text(paths[-1], text)
    return paths
