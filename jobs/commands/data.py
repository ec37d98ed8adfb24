"""`fcdd data ...`: what data of your own need before a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.needs import needs

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from fcdd.data.check import Told
    from fcdd.data.check_findings import Checked, Finding, Report

app = typer.Typer(no_args_is_help=True, help="Check data of your own before a run.")

_ORDER = ("refused", "counted", "harmless")
_MEANING = {
    "refused": "a run stops",
    "counted": "a run leaves it out and counts it",
    "harmless": "numbers stay the same",
}
_STYLE = {"refused": "red", "counted": "yellow", "harmless": "dim"}
_PLAIN_SECONDS = 10.0
_WIDE = 10_000  # characters


@app.callback()
def _group() -> None:
    """Keeps `check` a command of its own while it is the only one."""


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A data root, a folder of images or a tar.")],
    pool: Annotated[
        Path | None, typer.Option(envvar="FCDD_POOL", help="Folder or tar of outlier images.")
    ] = None,
    shown: Annotated[int, typer.Option(min=1, help="Files shown of each fault.")] = 5,
) -> None:
    """Name everything in PATH that a run would refuse or leave out, and what to do about it.

    Exit code 0 if nothing of it would change numbers, else 1.
    """
    from rich.console import Console

    with needs("run"):
        from fcdd.data.check import check as look

        console = Console()
        if not console.is_terminal:
            console = Console(width=_WIDE)  # in a file, no path is cut or wrapped
        with _progress(console) as told:
            report = look(path, pool=pool, told=told)
    for tree in _trees(report, shown):
        console.print(tree, highlight=False)
    for line in _verdict(report):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    raise typer.Exit(1 if report.changes_numbers else 0)


@contextmanager
def _progress(console: Console) -> Iterator[Told]:
    """A bar on a terminal, else a line now and then."""
    from rich.progress import Progress

    lately = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        tasks = {}

        def told(place: str, done: int, total: int) -> None:
            nonlocal lately
            if place not in tasks:
                tasks[place] = bar.add_task(place, total=total)
            bar.update(tasks[place], completed=done)
            if not console.is_terminal and time.monotonic() - lately > _PLAIN_SECONDS:
                console.print(f"{place}: {done:,} of {total:,} files", highlight=False)
                lately = time.monotonic()

        yield told


def _trees(report: Report, shown: int) -> Iterator[Tree]:
    from rich.markup import escape
    from rich.tree import Tree

    for checked in report.checked:
        place = f"{checked.place}: " if checked.place else ""
        tree = Tree(f"[bold]{escape(place + checked.layout)}[/bold], {_counts(checked)}")
        for severity in _ORDER:
            for kind, findings in _grouped(checked, severity).items():
                _add(tree, kind, findings, shown)
        if not checked.findings:
            tree.add("nothing found")
        yield tree


def _counts(checked: Checked) -> str:
    classes = f"{len(checked.classes)} classes, " if checked.classes else ""
    return f"{classes}{checked.num_images:,} images"


def _grouped(checked: Checked, severity: str) -> dict[str, list[Finding]]:
    groups: dict[str, list[Finding]] = {}
    for finding in checked.findings:
        if finding.severity == severity:
            groups.setdefault(finding.kind, []).append(finding)
    return groups


def _add(tree: Tree, kind: str, findings: list[Finding], shown: int) -> None:
    """A branch for one kind of fault: its files, then what to do."""
    from rich.markup import escape

    severity = findings[0].severity
    style = _STYLE[severity]
    times = f", {len(findings)} times" if len(findings) > 1 else ""
    branch = tree.add(
        f"[{style}]{severity}[/{style}] ({_MEANING[severity]}): {escape(kind)}{times}"
    )
    for finding in findings[:shown]:
        text = ": ".join(part for part in (finding.path, finding.detail) if part)
        branch.add(escape(text or "all of it"))
    if len(findings) > shown:
        branch.add(f"and {len(findings) - shown} more; --shown {len(findings)} shows all")
    branch.add(escape(f"to do: {findings[0].remedy}"))


def _verdict(report: Report) -> Iterator[str]:
    counts = {
        severity: sum(f.severity == severity for c in report.checked for f in c.findings)
        for severity in _ORDER
    }
    yield f"{report.place}: " + ", ".join(f"{n} {name}" for name, n in counts.items())
    for checked in report.checked:
        if checked.settings:
            place = f" ({checked.place})" if checked.place else ""
            yield " ".join(f"--set '{setting}'" for setting in checked.settings) + place
