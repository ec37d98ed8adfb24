"""From a SPEC and options to the runs of a benchmark.

Imports the configuration only when asked for one: --help names the specs and needs no more.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import specs

if TYPE_CHECKING:
    from fcdd.config import Run
    from pipeline.benchmark import Benchmark


def spec_names() -> list[str]:
    """Names of the specs that come with the package."""
    return sorted(module.name for module in pkgutil.iter_modules(specs.__path__))


def load_spec(spec: str) -> Benchmark:
    """The benchmark of a spec's name, or of a Python file (which is executed).

    Raises ValueError for an unknown spec or a file without a `benchmark`.
    """
    from pipeline.benchmark import Benchmark

    if spec.endswith(".py"):
        path = Path(spec)
        if not path.is_file():
            raise ValueError(f"no spec file {spec!r}; known specs: {', '.join(spec_names())}")
        found = importlib.util.spec_from_file_location(f"fcdd_spec_{path.stem}", path)
        if found is None or found.loader is None:
            raise ValueError(f"spec file {spec!r} is not importable; it must be a Python file")
        module = importlib.util.module_from_spec(found)
        sys.modules[found.name] = module
        found.loader.exec_module(module)
    elif spec in spec_names():
        module = importlib.import_module(f"jobs.specs.{spec}")
    else:
        raise ValueError(
            f"no spec {spec!r}; known: {', '.join(spec_names())}, or the path of your own .py file"
        )
    benchmark = getattr(module, "benchmark", None)
    if not isinstance(benchmark, Benchmark):
        raise ValueError(f"spec {spec!r} defines no `benchmark = Benchmark(...)`; add it")
    return benchmark


def apply(benchmark: Benchmark, *, settings: Iterable[str], only: Iterable[str]) -> Benchmark:
    """`benchmark` cut to the field=v1,v2 of `only`, then with every field=value of `settings` set.

    So a net for FCDD can be set where the spec has baselines too. Runs that become equal are kept
    once. Raises ValueError for unknown fields, impossible values and for a selection that matches
    nothing.
    """
    from fcdd.config import change
    from pipeline.benchmark import Benchmark

    runs = list(benchmark.runs)
    for field, text in (_split(choice, "--only") for choice in only):
        runs = _only(runs, field, text.split(","))
    changes = dict(_split(setting, "--set") for setting in settings)
    values = {field: _value(text) for field, text in changes.items()}
    runs = [change(run, values) if values else run for run in runs]
    unique = {run.model_dump_json(): run for run in runs}
    return Benchmark(benchmark.name, tuple(unique.values()), benchmark.resources)


def _split(text: str, option: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not value:
        raise ValueError(
            f"{option} {text!r} is not of the form field=value, such as training.lr=3e-4"
        )
    return field.strip(), value


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None if text == "None" else text


def _only(runs: list[Run], field: str, wanted: list[str]) -> list[Run]:
    from fcdd.config import flatten, no_field

    known = flatten(runs[0])
    if field not in known:
        raise ValueError(f"--only: {no_field(field, known)}")
    values = [str(flatten(run)[field]) for run in runs]
    # A class may be called by its name, unless that is the number of another.
    classes = field == "data.normal_class"
    names = [run.data.class_name for run in runs] if classes else values
    present = {*values, *names}
    unknown = [value for value in wanted if value not in present]
    if unknown:
        pairs = dict.fromkeys(zip(values, names, strict=True))
        shown = (value if value == name else f"{value} ({name})" for value, name in pairs)
        raise ValueError(
            f"--only {field}={','.join(wanted)}: no run has {', '.join(unknown)}; "
            f"the spec has {', '.join(shown)}"
        )
    chosen = {value for value in wanted if value in values}
    called = set(wanted) - chosen
    each = zip(runs, values, names, strict=True)
    return [run for run, value, name in each if value in chosen or name in called]
