"""The state of an output folder, drawn for `fcdd status`."""

import time
from datetime import UTC, datetime

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jobs.durations import brief, seconds
from pipeline.places import Place
from pipeline.status import STATES, One, Status
from pipeline.status import status as look

_SHOWN = 20  # of the running, and of the failed ones


def tell_status(folder: Place, *, watch: bool, every: str) -> None:
    """Prints the state of the runs in `folder`, once or until all are done."""
    console, pause = Console(), seconds(every, option="--every")
    if not watch:
        _print(look(folder), folder, console)
        return
    try:
        _watch(folder, console, pause=pause)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _watch(folder: Place, console: Console, *, pause: float) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            started = time.monotonic()
            found = look(folder)
            if console.is_terminal:
                live.update(_drawn(found, folder), refresh=True)
            else:
                _print(found, folder, console)
            if not any(found.count(state) for state in ("running", "stale", "missing")):
                return
            time.sleep(max(pause, 4 * (time.monotonic() - started)))  # a big folder is slow to read


def _print(found: Status, folder: Place, console: Console) -> None:
    if console.is_terminal:
        console.print(_drawn(found, folder))
        return
    print(*_summary(found, folder), sep="\n")
    for (dataset, method), counts in found.groups.items():
        print(f"{dataset}, {method}: " + ", ".join(f"{counts[s]} {s}" for s in STATES))
    for line in _details(found):
        print(line, flush=True)


def _drawn(found: Status, folder: Place) -> Group:
    table = Table()
    table.add_column("data set")
    table.add_column("method")
    for state in STATES:
        table.add_column(state, justify="right")
    for (dataset, method), counts in found.groups.items():
        table.add_row(dataset, method, *(str(counts[state] or "") for state in STATES))
    above, below = (
        [Text(line) for line in lines] for lines in (_summary(found, folder), _details(found))
    )
    return Group(*above, table, *below)


def _summary(found: Status, folder: Place) -> list[str]:
    counts = ", ".join(f"{found.count(state)} {state}" for state in STATES[1:])
    lines = [f"{folder}: {found.count('done')} of {found.num_runs} runs done, {counts}"]
    if driver := found.driver:
        lines.append(
            f"driver: process {driver['pid']} on {driver['host']}, last sign of life "
            f"{brief(driver['age_seconds'])} ago"
        )
    elif found.count("missing") or found.count("stale"):
        lines.append("no driver is at work; the same `fcdd run` command goes on")
    told = []
    if found.runs_per_hour is not None:
        told.append(f"{found.runs_per_hour:.1f} runs/h, {found.images_per_second:,.0f} images/s")
    if found.eta_seconds is not None:
        told.append(f"ETA {brief(found.eta_seconds)}")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return [*lines, f"{'; '.join(told) or 'no throughput yet'} ({at})"]


def _details(found: Status) -> list[str]:
    lines = [_running(one) for one in found.running[:_SHOWN]]
    lines += [f"failed: {one.name} ({one.key}): {one.reason}" for one in found.failed[:_SHOWN]]
    for name, ones in (("running", found.running), ("failed", found.failed)):
        if len(ones) > _SHOWN:
            lines.append(f"and {len(ones) - _SHOWN} more {name}")
    return lines


def _running(one: One) -> str:
    return (
        f"{one.state}: {one.name} ({one.key}): epoch {one.epoch} of {one.epochs}, process "
        f"{one.pid} on {one.host}, {brief(one.age_seconds)} ago"
    )
