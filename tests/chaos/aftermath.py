"""What a disturbed sweep left, against an undisturbed one."""

from collections import Counter
from collections.abc import Iterator

from pipeline import results, running

_FILES = (("scores", "parquet"), ("curves", "parquet"), ("heatmaps", "npz"))


def differences(out: results.Place, undisturbed: results.Place) -> Iterator[str]:
    """What the folder `out` has that `undisturbed` has not, or the other way round: rows but for
    measured columns, bytes of scores, curves and heatmaps; and what an ended sweep may not leave.
    """
    plan = results.read_plan(undisturbed)
    if set(results.read_plan(out)) != set(plan):
        yield "the plans differ"
    here, there = ({row["key"]: row for row in results.read_rows([f])} for f in (out, undisturbed))
    if set(there) != set(plan):
        yield f"undisturbed: {len(there)} of {len(plan)} rows"
    for key in sorted(here.keys() ^ there.keys()):
        yield f"run {key}: {'no row' if key in there else 'a row of no planned run'}"
    for key in sorted(here.keys() & there.keys()):
        for name in here[key]:
            if name not in results.MEASURED and here[key][name] != there[key][name]:
                yield f"run {key}: {name} is {here[key][name]!r}, not {there[key][name]!r}"
        for part, kind in _FILES:
            one, other = (f / part / f"{key}.{kind}" for f in (out, undisturbed))
            if not one.exists() or one.read_bytes() != other.read_bytes():
                yield f"run {key}: {part} differ"
    for part in ("failures", "checkpoints", "running"):
        left = sorted(path.name for path in (out / part).glob("*"))
        if left:
            yield f"{part}/ holds {', '.join(left)}"
    if running.read(out) or (out / "driver.json").exists():
        yield "a driver or a worker did not sign off"


def children(store: str, benchmark: str) -> tuple[Counter[str], int]:
    """(how many children that are not deleted have which status, how many keys the FINISHED have).

    A deleted one counts if it is still RUNNING.
    """
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(benchmark)
    if experiment is None:
        return Counter(), 0
    found = client.search_runs(
        [experiment.experiment_id],
        "tags.role = 'run'",
        run_view_type=ViewType.ALL,
        max_results=10_000,
    )
    active = [one for one in found if one.info.lifecycle_stage == "active"]
    counts = Counter(one.info.status for one in active)
    counts["RUNNING"] += sum(
        one.info.status == "RUNNING" for one in found if one.info.lifecycle_stage != "active"
    )
    keys = {one.data.tags["key"] for one in active if one.info.status == "FINISHED"}
    return +counts, len(keys)
