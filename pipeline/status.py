"""How far the runs of an output folder are, from its files alone."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline import results, running
from pipeline.lock import read_driver
from pipeline.places import Place, each

STALE_SECONDS = 60.0  # four heartbeats of a worker
STATES = ("done", "running", "stale", "failed", "missing")
_WINDOW = timedelta(hours=1)  # over which throughput is measured
_COLUMNS = [
    *("key", "started_at", "total_seconds", "train_seconds", "evaluate_seconds"),
    *("train_images_per_second", "training.epochs", "stack"),
]


@dataclass(frozen=True)
class One:
    """A run that is not done: what it is, its state, and where and how far its worker is."""

    key: str
    name: str
    state: str
    host: str = ""
    pid: int = 0
    epoch: int = 0
    epochs: int = 0
    age_seconds: float = 0.0  # of the heartbeat
    reason: str = ""  # of a failure


@dataclass(frozen=True)
class Status:
    """`groups` counts runs by state for each (data set, method); `driver` is that of
    `pipeline.lock` with the age of its heartbeat; without live workers there is no `eta_seconds`,
    and throughput is that of the hour before the last row; without rows there is none."""

    groups: Mapping[tuple[str, str], Counter[str]]
    running: list[One]
    failed: list[One]
    driver: Mapping[str, Any] | None
    runs_per_hour: float | None
    images_per_second: float | None
    eta_seconds: float | None

    def count(self, state: str) -> int:
        """How many runs are in `state`."""
        return sum(group[state] for group in self.groups.values())

    @property
    def num_runs(self) -> int:
        """How many runs are planned."""
        return sum(group.total() for group in self.groups.values())


def status(out: Place, *, now: datetime | None = None) -> Status:
    """The state of every planned run of `out` at `now`. Raises ValueError where no plan stands."""
    now = now or datetime.now(UTC)
    plan = results.read_plan(out)
    if not plan:
        raise ValueError(f"{str(out)!r} holds no plan; known: the DIR of `fcdd run --out DIR`")
    beats, failures = running.read(out), results.failed_keys(out)
    rows = {row["key"]: row for row in results.read_table(out, _COLUMNS).to_pylist()}
    ones: dict[str, One] = {}
    groups: dict[tuple[str, str], Counter[str]] = {}
    for key, entry in plan.items():
        run = entry["run"]
        one = ones[key] = _one(key, run, rows, beats.get(key), failed=key in failures, now=now)
        groups.setdefault(_group(run), Counter())[one.state] += 1
    live = [one for one in ones.values() if one.state in ("running", "stale")]
    at_work = any(one.state == "running" for one in live)
    runs_per_hour, images_per_second = _throughput(list(rows.values()), now if at_work else None)
    return Status(
        groups=dict(sorted(groups.items())),
        running=sorted(live, key=lambda one: (one.state, one.name)),
        failed=_explained(
            [
                one
                for one in sorted(ones.values(), key=lambda one: one.name)
                if one.state == "failed"
            ],
            out,
        ),
        driver=_driver(out, now),
        runs_per_hour=runs_per_hour,
        images_per_second=images_per_second,
        eta_seconds=_eta(plan, ones, rows, beats),
    )


def _group(run: Mapping[str, Any]) -> tuple[str, str]:
    method = (run["objective"]["name"], run["net"]["name"], run["supervision"]["mode"])
    return run["data"]["name"], " ".join(method)


def _one(
    key: str,
    run: Mapping[str, Any],
    rows: Mapping[str, Any],
    beat: Mapping[str, Any] | None,
    *,
    failed: bool,
    now: datetime,
) -> One:
    name = f"{run['data']['name']} class {run['data']['normal_class']} seed {run['seed']}"
    epochs = run["training"]["epochs"]
    if key in rows:
        return One(key, name, "done", epoch=epochs, epochs=epochs)
    if failed or beat is None:
        return One(key, name, "failed" if failed else "missing", epochs=epochs)
    age = (now - datetime.fromisoformat(beat["beat_at"])).total_seconds()
    return One(
        key,
        name,
        "stale" if age > STALE_SECONDS else "running",
        host=beat["host"],
        pid=beat["pid"],
        epoch=beat["epoch"],
        epochs=epochs,
        age_seconds=max(age, 0.0),
    )


def _explained(ones: list[One], out: Place) -> list[One]:
    """`ones` with the last line of what each failed of."""
    reasons = each(_last_line, [results.failure_path(out, one.key) for one in ones])
    return [replace(one, reason=reason) for one, reason in zip(ones, reasons, strict=True)]


def _last_line(path: Place) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["?"])[-1]


def _driver(out: Place, now: datetime) -> dict[str, Any] | None:
    driver = read_driver(out)
    if driver is None:
        return None
    age = (now - datetime.fromisoformat(driver["beat_at"])).total_seconds()
    return driver | {"age_seconds": max(age, 0.0)}


def _throughput(
    rows: list[dict[str, Any]], until: datetime | None
) -> tuple[float | None, float | None]:
    """Runs per hour and training images per second over the hour before `until`, which is the end
    of the last run where nothing runs any more."""
    starts = [datetime.fromisoformat(row["started_at"]) for row in rows]
    ends = [
        start + timedelta(seconds=row["total_seconds"])
        for start, row in zip(starts, rows, strict=True)
    ]
    until = until or max(ends, default=datetime.now(UTC))
    taken = zip(starts, ends, rows, strict=True)
    recent = [(start, row) for start, end, row in taken if end > until - _WINDOW]
    if not recent:
        return None, None
    since = max(until - _WINDOW, min(start for start, _ in recent))
    seconds = max((until - since).total_seconds(), 1.0)
    images = sum(row["train_images_per_second"] * row["train_seconds"] for _, row in recent)
    return 3600 * len(recent) / seconds, images / seconds


def _eta(
    plan: Mapping[str, Any],
    ones: Mapping[str, One],
    rows: Mapping[str, Any],
    beats: Mapping[str, Any],
) -> float | None:
    """Seconds until the last run is done: epochs left times the seconds of an epoch of their group,
    over the workers that are alive."""
    workers = sum(one.state == "running" for one in ones.values())
    if not workers:
        return None
    epochs, left = Counter(), Counter()
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for key, entry in plan.items():
        group, one = _group(entry["run"]), ones[key]
        if key in rows:
            epochs[group] += rows[key]["training.epochs"]
            row = rows[key]  # of a stack it counts its share, but a live run counts as one worker
            seconds[group] += row["train_seconds"] * row["stack"] + row["evaluate_seconds"]
        elif one.state == "running":
            epochs[group] += one.epoch
            seconds[group] += _elapsed(beats[key])
        if one.state in ("running", "stale", "missing"):
            left[group] += one.epochs - one.epoch
    if not epochs.total():
        return None
    usual = sum(seconds.values()) / epochs.total()
    each = {g: seconds[g] / epochs[g] if epochs[g] else usual for g in left}
    return sum(left[group] * each[group] for group in left) / workers


def _elapsed(beat: Mapping[str, Any]) -> float:
    begun, seen = (datetime.fromisoformat(beat[name]) for name in ("started_at", "beat_at"))
    return (seen - begun).total_seconds()
