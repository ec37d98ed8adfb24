"""The files of a report: tables, figures, the page, and the manifest that `fcdd verify` reads."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.results import Place, StoreError
from reports.build import Report, build, title
from reports.files import MANIFEST, texts, write_all
from reports.tables import Options

MANIFEST_VERSION = 1
Progress = Callable[[str], None]


def write(
    folders: Sequence[Place],
    out: Path,
    *,
    options: Options | None = None,
    figures: bool = True,
    progress: Progress = lambda text: None,
) -> list[Path]:
    """Writes every table as LaTeX (a document, and a tabular to \\input), Markdown, HTML and CSV
    with a side-car JSON, the figures, index.html and report.json into `out`; returns their paths.

    The same rows give the same bytes, but for the paths in report.json. Raises ValueError as
    `build` does and when `out` cannot be written.
    """
    options = options or Options()
    report = build(folders, options, progress=progress)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _remove_last(out)
        paths = write_all(out, texts(report.printed))
        progress(f"{len(report.printed)} tables written")
        if figures:
            paths += _figures(report, folders, out, progress)
        paths.append(_manifest(report, folders, out, options, figures, paths))
    except StoreError:
        raise
    except OSError as error:
        raise ValueError(
            f"--out {str(out)!r} cannot be written ({error.strerror or error}); choose another "
            "or change its permissions"
        ) from None
    return paths


def _remove_last(out: Path) -> None:
    """Deletes the files of an earlier report in `out`, so that none of its tables stays behind."""
    if not (out / MANIFEST).is_file():
        return
    for name in read_manifest(out)["files"]:
        path = out / name
        if path.resolve().is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)
    (out / MANIFEST).unlink()


def _figures(report: Report, folders: Sequence[Place], out: Path, progress: Progress) -> list[Path]:
    from reports import evidence, page, plots, rank_figure
    from reports import figures as drawing

    gathered = evidence.gather(folders, evidence.read_rows(folders))
    progress("drawing figures ...")
    drawn = drawing.write(gathered, out / "figures", curves=report.curves)
    with plots.style():
        for one in report.rankings:
            caption = (
                f"Average ranks over {one.ranks.num_blocks} classes (1 is best); bars join methods "
                f"within the critical difference CD = {one.ranks.critical_difference:.2f} "
                "(Nemenyi, 5 %)."
            )
            drawn.append(rank_figure.write(one.ranks, out / "figures" / one.stem, caption=caption))
    progress("writing the page ...")
    index = page.write(gathered, out, tables=report.printed, drawn=drawn, title=title(report))
    made = sorted(path for path in (out / "figures").iterdir() if path.is_file())
    return [*made, index]


def _manifest(
    report: Report,
    folders: Sequence[Place],
    out: Path,
    options: Options,
    figures: bool,
    paths: Sequence[Path],
) -> Path:
    """report.json: from which folders and with which options, and the digest of every file."""
    content = {
        "manifest_version": MANIFEST_VERSION,
        "folders": [_relative(folder, out) for folder in folders],
        "options": asdict(options),
        "figures": figures,
        "num_rows": int(report.rows.present.sum()),
        "files": {path.relative_to(out).as_posix(): digest(path) for path in sorted(paths)},
    }
    return write_all(out, {MANIFEST: json.dumps(content, indent=1) + "\n"})[0]


def _relative(folder: Place, out: Path) -> str:
    """`folder` as seen from `out`, so that both can be moved together; of a store its URI."""
    if not isinstance(folder, Path):
        return str(folder)
    try:
        return Path(os.path.relpath(folder.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return str(folder.resolve())


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_manifest(out: Path) -> dict[str, Any]:
    """The content of report.json. Raises ValueError when it is missing or no manifest."""
    path = out / MANIFEST
    if not path.is_file():
        raise ValueError(
            f"{str(out)!r} is no report: it has no {MANIFEST}; known: the --out of fcdd report"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["manifest_version"] != MANIFEST_VERSION:
            raise ValueError(f"version {content['manifest_version']}, not {MANIFEST_VERSION}")
        return content
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no manifest ({error}); delete it and make the report again"
        ) from None
