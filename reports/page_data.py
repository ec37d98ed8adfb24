"""What the page's script draws from: runs with their curves, and the heatmaps they kept."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline import results
from pipeline.results import Place
from reports import figures_panels, page_images
from reports.evidence import Epochs, Evidence, Scores
from reports.figures_groups import DataSet, Row
from reports.methods import RUN
from reports.panels import QUANTILE

_EPOCHS = 80  # points of a training curve, at most
_METRICS = ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "pixel_pro")


def details(evidence: Evidence, *, quantile: float = QUANTILE) -> dict[str, Any]:
    """Everything behind the cells, as JSON data: `runs` in the order of their keys, `classes` of
    the data sets with their shared images, and what is common to all."""
    rows = {row["key"]: row for data in evidence.data for row in data.rows}
    classes, heats = _pictures(evidence, quantile, num_runs=len(rows))
    edges = _Edges()
    runs = {}
    for place, data in enumerate(evidence.data):
        for method in data.methods:
            for row in method.rows:
                key = row["key"]
                runs[key] = {
                    **_told(row, data, method.label),
                    "class": f"{place}/{row['data.normal_class']}",
                    **_scores(evidence.scores.get(key), edges),
                    **_epochs(evidence.epochs.get(key)),
                }
                if key in heats:
                    runs[key]["heat"] = heats[key]
    benchmarks = _benchmarks(evidence.places, rows)
    for key, entry in benchmarks.items():
        runs[key] |= entry
    return {
        "runs": [runs[key] for key in sorted(runs)],
        "classes": classes,
        "edges": edges.all,
        "palette": page_images.palette(),
        "quantile": quantile,
    }


def _told(row: Row, data: DataSet, method: str) -> dict[str, Any]:
    """What the list of runs says of a run."""
    metrics = {name: round(row[name], 6) for name in _METRICS if row[name] is not None}
    return {
        "key": row["key"],
        "data": data.title,
        "className": row["class_name"],
        "method": method,
        "seed": row["seed"],
        "metrics": metrics,
        "loss": float(f"{row['train_loss']:.4g}"),
        "seconds": float(f"{row['train_seconds']:.3g}"),
        "commit": f"{row['commit'][:10]}{' + changes' if row['dirty'] else ''}",
        "device": row["device"],
        "determinism": row["determinism"],
        "anomalous": round(row["num_test_anomalous"] / row["num_test"], 4),
    }


class _Edges:
    """Bin edges, each list once: the runs of a method share theirs."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self._places: dict[tuple[float, ...], int] = {}

    def place(self, scores: Scores) -> int:
        """Where the edges of `scores` stand in `all`."""
        edges = tuple(float(f"{edge:.4g}") for edge in scores.edges)
        if edges not in self._places:
            self._places[edges] = len(self.all)
            self.all.append({"edges": list(edges), "logarithmic": scores.logarithmic})
        return self._places[edges]


def _scores(scores: Scores | None, edges: _Edges) -> dict[str, Any]:
    if scores is None:
        return {}
    return {
        "roc": _thousandths(scores.roc),
        "precision": _thousandths(scores.precision),
        "edges": edges.place(scores),
        "nominal": _thousandths(scores.nominal),
        "anomalousShares": _thousandths(scores.anomalous),
    }


def _thousandths(values: np.ndarray) -> list[int]:
    return np.rint(1000 * values).astype(int).tolist()


def _epochs(epochs: Epochs | None) -> dict[str, Any]:
    if epochs is None or len(epochs.epoch) == 0:
        return {}
    count = len(epochs.epoch)
    kept = np.unique(np.linspace(0, count - 1, min(count, _EPOCHS)).round().astype(int))
    found: dict[str, Any] = {
        "epochs": epochs.epoch[kept].tolist(),
        "losses": [float(f"{value:.4g}") for value in epochs.loss[kept]],
    }
    recorded = np.flatnonzero(np.isfinite(epochs.auroc))
    if len(recorded):
        thinned = recorded[
            np.unique(np.linspace(0, len(recorded) - 1, _EPOCHS).round().astype(int))
        ]
        found["aurocEpochs"] = epochs.epoch[thinned].tolist()
        found["aurocs"] = _thousandths(epochs.auroc[thinned])
    return found


def _pictures(
    evidence: Evidence, quantile: float, *, num_runs: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The shared images by class ("place of the data set/number"), and the heatmaps by run key,
    until the page's budget is used up."""
    classes: dict[str, Any] = {}
    heats: dict[str, Any] = {}
    used = 0
    per_label = page_images.per_label(num_runs)
    for place, data in enumerate(evidence.data):
        for number, name in data.classes:
            shared: dict[str, Any] = {"data": data.title, "name": name}
            classes[f"{place}/{number}"] = shared
            if used >= page_images.MAX_BYTES:
                shared["left_out"] = True
                continue
            kept, _ = figures_panels.read(data, number, evidence.places, per_label=per_label)
            if kept is None:
                continue
            shared |= page_images.inputs(kept)
            for method in data.methods:
                runs = kept.runs.get(method.label, {})
                for row in method.of_class(number) if runs else ():
                    heats[row["key"]] = page_images.heat(runs[row["seed"]], quantile=quantile)
                    used += len(heats[row["key"]]["tiles"])
    return classes, heats


def _benchmarks(places: Mapping[str, Place], rows: Mapping[str, Row]) -> dict[str, dict[str, Any]]:
    """By run key its benchmark, its folder, and the fields that tell the benchmark's runs apart, as
    `--only` takes them."""
    found: dict[str, dict[str, Any]] = {}
    for folder in sorted({places[key] for key in rows}, key=str):
        plan = results.read_plan(folder)
        by_name: dict[str, list[str]] = {}
        for key in sorted(set(plan) & set(rows)):
            by_name.setdefault(plan[key]["benchmarks"][0], []).append(key)
        for name, keys in by_name.items():
            fields = _telling([rows[key] for key in keys])
            for key in keys:
                chosen = [[field, str(rows[key][field])] for field in fields]
                found[key] = {"benchmark": name, "folder": folder.name, "fields": chosen}
    return found


def _telling(rows: Sequence[Row]) -> list[str]:
    """The fields that differ among `rows` and that `--only field=value` can tell apart, the most
    readable first."""
    first = ("objective.name", "data.normal_class", "seed")
    order: Iterable[str] = dict.fromkeys((*first, *RUN))
    varied = [name for name in order if len({str(row[name]) for row in rows}) > 1]
    return [n for n in varied if not any("," in str(row[n]) for row in rows)]


def as_json(data: Mapping[str, Any]) -> str:
    """`data` as JSON that is safe inside a <script> element of any kind."""
    text = json.dumps(
        data, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
