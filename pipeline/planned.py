"""The plan of an output folder: every key with its Run, in plan.json and plan.parquet.

`fcdd run` writes plan.json, which people can read; `fcdd compact` moves the entries to
plan.parquet, so that 100,000 planned runs need not be parsed to see which are missing. Imports
pyarrow, `pipeline.files` and `pipeline.schema` only.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from pipeline.files import opened, read_table, write_text
from pipeline.places import Place
from pipeline.schema import PLAN, SCHEMA_VERSION


def read_plan(out: Place, *, besides: Collection[str] = ()) -> dict[str, dict[str, Any]]:
    """Per key {"benchmarks": [names], "run": nested fields}, without the keys in `besides`; empty
    where no plan stands."""
    plan = {}
    if (out / "plan.parquet").exists():
        table = read_table(out / "plan.parquet", PLAN)
        kept = [key not in besides for key in table["key"].to_pylist()]
        for entry in table.filter(pa.array(kept, pa.bool_())).to_pylist():
            run = json.loads(entry["run"])
            plan[entry["key"]] = {"benchmarks": entry["benchmarks"], "run": run}
    for key, entry in read_plan_json(out).items():
        if key not in besides:
            names = {*plan.get(key, {}).get("benchmarks", []), *entry["benchmarks"]}
            plan[key] = {"benchmarks": sorted(names), "run": entry["run"]}
    return plan


def planned_keys(out: Place) -> set[str]:
    """The keys of all planned runs."""
    path = out / "plan.parquet"
    compacted = opened(path, ["key"])["key"].to_pylist() if path.exists() else []
    return {*compacted, *read_plan_json(out)}


def read_plan_json(out: Place) -> dict[str, dict[str, Any]]:
    """The entries of plan.json alone."""
    path = out / "plan.json"
    if not path.exists():
        return {}
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if plan["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {plan['schema_version']}, not {SCHEMA_VERSION}")
        return plan["runs"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no plan ({error}); delete it and run the same command again"
        ) from None


def write_plan(out: Place, benchmark: str, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Adds `runs` (key: nested fields) of `benchmark` to plan.json."""
    plan = read_plan_json(out)
    for key, run in runs.items():
        names = set(plan.get(key, {}).get("benchmarks", [])) | {benchmark}
        plan[key] = {"benchmarks": sorted(names), "run": dict(run)}
    write_plan_json(out, plan)


def write_plan_json(out: Place, plan: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes plan.json with exactly these entries."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, "runs": plan}, indent=1, sort_keys=True)
    write_text(out / "plan.json", text + "\n")
