"""What decides a result: the `Run`, its checks and its key. Imports no torch.

A `Run` is the only configuration there is. What a spec chooses has no default; every switch between
published and mended behaviour defaults to mended. A field added later must default to the behaviour
before it existed, so that old rows keep their keys (a test with golden keys holds this).
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

DataName = Literal["digits", "fmnist", "cifar10"]
Preprocessing = Literal["none", "lcn", "aug1", "lcnaug1"]
PoolName = Literal["none", "photographs", "cifar100", "emnist", "mnist", "folder"]
NetName = Literal["FCDD_CNN28", "FCDD_CNN28_W", "FCDD_CNN32", "FCDD_CNN32_S", "FCDD_CNN32_LW3K"]
Protocol = Literal["mended", "published"]

# (channels, height, width) of every data set's images and every net's input (docs/method.md).
DATA_SHAPES: dict[DataName, tuple[int, int, int]] = {
    "digits": (1, 28, 28),
    "fmnist": (1, 28, 28),
    "cifar10": (3, 32, 32),
}
NET_SHAPES: dict[NetName, tuple[int, int, int]] = {
    "FCDD_CNN28": (1, 28, 28),
    "FCDD_CNN28_W": (1, 28, 28),
    "FCDD_CNN32": (3, 32, 32),
    "FCDD_CNN32_S": (3, 32, 32),
    "FCDD_CNN32_LW3K": (3, 32, 32),
}
CLASS_NAMES: dict[DataName, tuple[str, ...]] = {
    "digits": tuple("0123456789"),
    "fmnist": (
        *("t-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}
PREPROCESSINGS: dict[DataName, tuple[Preprocessing, ...]] = {
    "digits": ("none", "lcn", "aug1", "lcnaug1"),
    "fmnist": ("none", "lcn", "aug1", "lcnaug1"),  # docs/method.md section 4
    "cifar10": ("none", "lcn", "aug1"),
}

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """A frozen, strict piece of a `Run`: unknown fields, wrong types, inf and nan are refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Data(Part):
    """Which images, which class is nominal and how images become network input (section 4)."""

    name: DataName
    normal_class: Annotated[int, Field(ge=0)]
    preprocessing: Preprocessing

    @property
    def class_name(self) -> str:
        """The name of the nominal class."""
        return CLASS_NAMES[self.name][self.normal_class]

    @model_validator(mode="after")
    def _check(self) -> Self:
        classes = CLASS_NAMES[self.name]
        if self.normal_class >= len(classes):
            raise ValueError(
                f"data.normal_class {self.normal_class} does not exist in {self.name!r}; "
                f"known: 0 to {len(classes) - 1} ({', '.join(classes)})"
            )
        if self.preprocessing not in PREPROCESSINGS[self.name]:
            raise ValueError(
                f"data.preprocessing {self.preprocessing!r} is not defined for {self.name!r}; "
                f"known: {', '.join(PREPROCESSINGS[self.name])}"
            )
        return self


class Outliers(Part):
    """The pool of outlier-exposure images and how many of them are used (None = all)."""

    source: PoolName
    limit: Count | None = None


class Supervision(Part):
    """What training sees besides nominal images (docs/method.md section 5)."""

    mode: Literal["unsupervised", "outlier_exposure"]
    # Liznerski et al. 2021, App. D: every drawn nominal image is replaced with probability 1/2.
    replacement_probability: Annotated[float, Field(gt=0, le=1)] = 0.5


class Net(Part):
    """The network; `bias` switches convolution biases and BatchNorm affine parameters together."""

    name: NetName
    bias: bool = True


class Objective(Part):
    """The training loss. `one_label_batches="published"` minimises A in a batch of one label,
    whatever that label is (docs/method.md section 1); "mended" always goes by the label."""

    name: Literal["fcdd"]
    one_label_batches: Protocol = "mended"


class Training(Part):
    """Optimiser and schedule. `exponential`: lr * factor^epoch; `milestones`: times it at each."""

    epochs: Count
    batch_size: Count
    optimizer: Literal["sgd", "adam"]
    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["exponential", "milestones"]
    lr_factor: Annotated[float, Field(gt=0, le=1)]
    lr_milestones: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.schedule == "milestones") != bool(self.lr_milestones):
            raise ValueError(
                f"training.lr_milestones {list(self.lr_milestones)} does not fit "
                f"training.schedule {self.schedule!r}: 'milestones' needs at least one epoch, "
                "'exponential' takes none"
            )
        if list(self.lr_milestones) != sorted(set(self.lr_milestones)):
            raise ValueError(
                f"training.lr_milestones {list(self.lr_milestones)} must rise; "
                "set it to epochs in ascending order, such as [400, 500]"
            )
        return self


class Heatmaps(Part):
    """Gaussian upsampling to heatmaps. "published" neither normalises the kernel nor mends the
    dimmed borders. `gauss_std` in pixels; None follows the receptive field (docs/method.md section
    3)."""

    gauss_std: Positive | None
    upsampling: Protocol = "mended"


class EvaluationSettings(Part):
    """`test_every` n > 0 records the test AUROC every n epochs; it is never used to choose."""

    test_every: Annotated[int, Field(ge=0)] = 0


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
    seed: Annotated[int, Field(ge=0)]
    threads: Count = 1
    protocol: Protocol = "mended"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if NET_SHAPES[self.net.name] != DATA_SHAPES[self.data.name]:
            fitting = [n for n, s in NET_SHAPES.items() if s == DATA_SHAPES[self.data.name]]
            raise ValueError(
                f"net.name {self.net.name!r} takes images of {NET_SHAPES[self.net.name]}, but "
                f"{self.data.name!r} has {DATA_SHAPES[self.data.name]}; "
                f"fitting: {', '.join(fitting)}"
            )
        exposed = self.supervision.mode == "outlier_exposure"
        if exposed != (self.outliers.source != "none"):
            raise ValueError(
                f"outliers.source {self.outliers.source!r} does not fit supervision.mode "
                f"{self.supervision.mode!r}: 'outlier_exposure' needs a pool, 'unsupervised' "
                "needs outliers.source='none'"
            )
        if self.outliers.source == "none" and self.outliers.limit is not None:
            raise ValueError(
                f"outliers.limit {self.outliers.limit} has nothing to limit: outliers.source is "
                "'none'; name a pool or leave the limit out"
            )
        if self.protocol == "published":
            switches = {
                "objective.one_label_batches": self.objective.one_label_batches,
                "heatmaps.upsampling": self.heatmaps.upsampling,
            }
            mended = [name for name, value in switches.items() if value == "mended"]
            if mended:
                raise ValueError(
                    f"protocol 'published' needs every switch published, but {', '.join(mended)} "
                    "is mended; set each to 'published' or leave protocol 'mended'"
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
    """`run` with the dotted fields of `changes` replaced, validated anew. Raises ValueError."""
    known = flatten(run)
    nested = json.loads(run.model_dump_json())
    for path, value in changes.items():
        if path not in known:
            raise ValueError(f"no field {path!r}; known: {', '.join(known)}")
        part, _, field = path.rpartition(".")
        (nested[part] if part else nested)[field] = value
    return parse(nested)


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
