"""Forecasts of a benchmark, counted and drawn for `fcdd plan`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fcdd.catalog import WITH_DEFECTS
from fcdd.config import Run, parse
from jobs.commands.needs import needs
from jobs.durations import brief, seconds
from jobs.select import apply, load_spec
from pipeline import forecast, results
from pipeline.benchmark import Benchmark, Resources
from pipeline.places import Place
from pipeline.sizes import Size, published_size


def tell_plan(
    spec: str,
    *,
    out: Place | None,
    settings: list[str],
    only: list[str],
    data_root: Path | None,
    rows: list[Place] | None,
    device: str,
    cores: int | None,
    budget: str | None,
) -> None:
    """Prints what the runs of `spec` that are left take, and what fits `budget`. Raises ValueError
    for what `fcdd run` would refuse too."""
    hours = None if budget is None else seconds(budget, option="--budget") / 3600
    benchmark = apply(load_spec(spec), settings=settings, only=only)
    console = Console()
    folder = out or Path("results") / benchmark.name
    done, failed = _earlier(benchmark, folder)
    ended = {run.model_dump_json() for run in (*done, *failed)}
    left = [run for run in benchmark.runs if run.model_dump_json() not in ended]
    _say(
        console,
        f"{benchmark.name}: {len(benchmark.runs)} runs, {len(done)} done, {len(failed)} failed "
        f"before, {len(left)} left; results in {folder}",
    )
    if not left:
        _say(console, "nothing is left to do; `fcdd run --retry-failed` tries failed runs again")
        return
    with needs("run"):
        chosen = _choose_device(device)
        folders = rows if rows is not None else [folder] if (folder / "rows").is_dir() else []
        plans = _Plans(
            left,
            sizes=_sizes(left, data_root),
            rates=_rates(left, folders, device=chosen, console=console),
            machine=_machine(benchmark.resources, device=chosen, cores=cores),
        )
    _show(console, plans, device=chosen)
    if hours is not None:
        _fit(console, plans, hours, spec=spec, settings=settings, only=only)


@dataclass(frozen=True)
class _Plans:
    """What the forecasts of the runs that are left share."""

    runs: list[Run]
    sizes: Mapping[str, Size]
    rates: Mapping[forecast.Work, forecast.Rate]
    machine: forecast.Machine

    def need(self, runs: Sequence[Run]) -> forecast.Need:
        masked = set(WITH_DEFECTS) | {run.data.name for run in runs if run.data.maps}
        return forecast.need(runs, self.sizes, self.rates, machine=self.machine, masked=masked)


def _earlier(benchmark: Benchmark, folder: Place) -> tuple[list[Run], list[Run]]:
    """Runs with a row in `folder`, and those that failed there."""
    if not (folder / "rows").is_dir():
        return [], []
    done = forecast.done_runs(benchmark.runs, results.read_table(folder).to_pylist())
    planned = results.read_plan(folder)
    keys = results.failed_keys(folder) & set(planned)
    texts = {parse(planned[key]["run"]).model_dump_json() for key in keys}
    return done, [run for run in benchmark.runs if run.model_dump_json() in texts]


def _choose_device(device: str) -> str:
    from jobs.run_benchmark import choose_device  # imports torch

    return device if device == "cpu" else choose_device(device)


def _machine(resources: Resources, *, device: str, cores: int | None) -> forecast.Machine:
    have = cores or os.cpu_count() or 1  # as many as Ray takes
    match device:
        case "cuda":
            import torch

            # A row of a stack counts its share of the time, as if it had had the GPU to itself; one
            # of a team all its time, with all of its GPUs.
            each = 1 if resources.runs_per_gpu == "auto" else resources.runs_per_gpu
            teams = max(1, torch.cuda.device_count() // resources.gpus_per_run)
            return forecast.Machine(have, teams * each)
        case "mps":
            return forecast.Machine(have, 1)
        case _:
            return forecast.Machine(have)


def _sizes(runs: Sequence[Run], root: Path | None) -> dict[str, Size]:
    """Per `forecast.data_of` the numbers of images: published, or counted by loading the data."""
    sizes: dict[str, Size] = {}
    loaded: dict[str, object] = {}
    for run in runs:
        if (name := forecast.data_of(run)) in sizes:
            continue
        if (size := published_size(run.data)) is None:
            size = _counted(run, root, loaded)
        sizes[name] = size
    return sizes


def _counted(run: Run, root: Path | None, loaded: dict) -> Size:
    from fcdd.data.load import images_name, load

    name = images_name(run.data)
    if name not in loaded:
        loaded[name] = load(run.data, root)
    images = loaded[name]
    anomalous = images.train_anomalous
    if anomalous is None:
        anomalous = images.train_classes != run.data.normal_class
    num_test = len(images.test)
    return Size(int((~anomalous).sum()), num_test, len(images.train) + num_test)


def _rates(
    runs: Sequence[Run], folders: Sequence[Place], *, device: str, console: Console
) -> dict[forecast.Work, forecast.Rate]:
    known = forecast.rates_of_rows(folders, device=device)
    first = {forecast.work_of(run): run for run in reversed(runs)}
    rates = {work: known[work] for work in first if work in known}
    missing = {work: run for work, run in first.items() if work not in known}
    if missing:
        import torch

        from pipeline.probe import probe

        for number, (work, run) in enumerate(missing.items(), 1):
            with console.status(f"probe {number} of {len(missing)}: {run.net.name}"):
                rates[work] = probe(run, device=torch.device(device))
    return rates


def _show(console: Console, plans: _Plans, *, device: str) -> None:
    table = Table(title=f"On {device}, {_described(plans)}")
    for name in ("runs", "net", "data"):
        table.add_column(name, overflow="fold")
    for name in ("images/s", "one run", "all", "memory", "disk"):
        table.add_column(name, justify="right")
    groups: dict[forecast.Work, list[Run]] = {}
    for run in plans.runs:
        groups.setdefault(forecast.work_of(run), []).append(run)
    for work, runs in groups.items():
        rate, needed = plans.rates[work], plans.need(runs)
        each = [forecast.run_seconds(run, plans.sizes[forecast.data_of(run)], rate) for run in runs]
        table.add_row(
            str(len(runs)),
            runs[0].net.name,
            runs[0].data.name,
            f"{rate.train_images_per_second:,.0f}",
            brief(sum(each) / len(each)),
            brief(needed.hours * 3600),
            _bytes(needed.memory_bytes),
            _bytes(needed.disk_bytes),
        )
    needed = plans.need(plans.runs)
    totals = (brief(needed.hours * 3600), _bytes(needed.memory_bytes), _bytes(needed.disk_bytes))
    table.add_section()
    table.add_row(str(needed.num_runs), "together", "", "", "", *totals)
    console.print(table)
    if needed.gpu_bytes is not None:
        _say(console, f"GPU memory of the runs side by side: {_bytes(needed.gpu_bytes)}")
    for source in dict.fromkeys(
        f"{runs[0].net.name}: {plans.rates[work].source}" for work, runs in groups.items()
    ):
        _say(console, f"speed of {source}")
    _say(
        console,
        "a forecast: with the machine to itself, and runs side by side as fast as one alone",
    )


def _described(plans: _Plans) -> str:
    width = forecast.side_by_side(plans.machine, plans.runs)
    return f"{width} {'run' if width == 1 else 'runs'} at once"


def _fit(
    console: Console,
    plans: _Plans,
    hours: float,
    *,
    spec: str,
    settings: Sequence[str],
    only: Sequence[str],
) -> None:
    choices = forecast.within(hours, plans.runs, plans.sizes, plans.rates, machine=plans.machine)
    if not choices:
        first = plans.runs[0]
        smallest = [
            run
            for run in plans.runs
            if (run.seed, run.data.normal_class) == (first.seed, first.data.normal_class)
        ]
        _say(
            console,
            f"nothing fits into {brief(hours * 3600)}: class {first.data.class_name!r} of seed "
            f"{first.seed} alone takes {brief(plans.need(smallest).hours * 3600)}",
        )
        return
    options = [*(f"--set {s}" for s in settings), *(f"--only {o}" for o in only)]
    for number, choice in enumerate(choices):
        command = " ".join(("fcdd run", spec, *options, choice.only))
        _say(
            console,
            f"{'then' if number else 'fits'}: {choice.num_runs} runs, "
            f"{brief(choice.hours * 3600)}: {command}",
        )


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:,.0f} MB"


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
