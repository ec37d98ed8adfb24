"""What decides a result: the `Run`, its checks and its key. Imports no torch.

A `Run` is the only configuration there is. What a spec chooses has no default; every switch between
published and mended behaviour defaults to mended. A field added later must default to the behaviour
before it existed, so that old rows keep their keys (a test with golden keys holds this).
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import ValidationError, model_validator

from fcdd import consistency
from fcdd.catalog import Protocol
from fcdd.parts import Count as Count
from fcdd.parts import Data as Data
from fcdd.parts import EvaluationSettings as EvaluationSettings
from fcdd.parts import Heatmaps as Heatmaps
from fcdd.parts import Natural, Part
from fcdd.parts import Net as Net
from fcdd.parts import Objective as Objective
from fcdd.parts import Outliers as Outliers
from fcdd.parts import Supervision as Supervision
from fcdd.parts import Training as Training
from fcdd.parts import Watermark as Watermark


class Run(Part):
    """Everything that decides a result. One `Run` = one row = one MLflow run."""

    data: Data
    outliers: Outliers
    supervision: Supervision
    net: Net
    objective: Objective
    training: Training
    heatmaps: Heatmaps
    evaluation: EvaluationSettings = EvaluationSettings()
    watermark: Watermark = Watermark()
    seed: Natural
    threads: Count = 1
    protocol: Protocol = "mended"

    @model_validator(mode="after")
    def _check(self) -> Self:
        consistency.check(
            data=self.data,
            outliers=self.outliers,
            supervision=self.supervision,
            net=self.net,
            objective=self.objective,
            training=self.training,
            heatmaps=self.heatmaps,
            watermark=self.watermark,
            protocol=self.protocol,
        )
        return self


def flatten(run: Run) -> dict[str, Any]:
    """All fields of `run` under dotted names ("training.lr"), in the order of their definition."""
    flat: dict[str, Any] = {}
    for name, value in run.model_dump().items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": v for inner, v in value.items()})
        else:
            flat[name] = value
    return flat


def change(run: Run, changes: Mapping[str, object]) -> Run:
    """`run` with the dotted fields of `changes` replaced, or whole parts ("net": Net(...)), and
    validated anew. Parts that stay as they are are shared with `run`: a benchmark may hold
    thousands of runs. Raises ValueError."""
    known = flatten(run)
    nested = json.loads(run.model_dump_json())
    for path, value in changes.items():
        if isinstance(value, Part):
            nested[path] = json.loads(value.model_dump_json())
            continue
        if path not in known:
            raise ValueError(no_field(path, known))
        part, _, field = path.rpartition(".")
        (nested[part] if part else nested)[field] = value
    changed = {path.partition(".")[0] for path in changes}
    same = {name: part for name, part in run if isinstance(part, Part) and name not in changed}
    return parse(nested).model_copy(update=same)


def no_field(name: str, known: Iterable[str]) -> str:
    """What to say of a dotted field `name` that is none of `known`: the nearest first, then all."""
    known, last = list(known), name.rpartition(".")[2]
    near = [field for field in known if field.rpartition(".")[2] == last]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    nearest = f"nearest: {', '.join(near)}; " if near else ""
    return f"no field {name!r}; {nearest}known: {', '.join(known)}"


def parse(nested: Mapping[str, object]) -> Run:
    """The `Run` that plain JSON data describe. Raises ValueError in one line per fault."""
    try:
        return Run.model_validate_json(json.dumps(nested))
    except ValidationError as error:
        raise ValueError(explain(error)) from None


def explain(error: ValidationError) -> str:
    """The faults of a refused model: dotted path, value and rule, one line each."""
    lines = []
    for fault in error.errors():
        path = ".".join(str(step) for step in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        own_words = fault["type"] == "value_error"
        lines.append(message if own_words else f"{path} = {fault['input']!r}: {message}")
    return "\n".join(lines)


def key(run: Run, *, data_fingerprint: str, outliers_fingerprint: str) -> str:
    """16 hex digits that name `run` on this content: SHA-256 over canonical JSON of the fields that
    differ from their default, and of the content fingerprints ("" without a pool)."""
    content = {
        "run": json.loads(run.model_dump_json(exclude_defaults=True)),
        "data": data_fingerprint,
        "outliers": outliers_fingerprint,
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
