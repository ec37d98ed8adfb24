"""The parts of a `Run`: frozen, strict pieces, each checked by itself. Imports no torch."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fcdd.catalog import (
    CLASS_NAMES,
    FIXED_SHAPES,
    OWN_CLASSES,
    PREPROCESSINGS,
    SIDES,
    DataName,
    NetName,
    NoiseName,
    ObjectiveName,
    PoolName,
    Preprocessing,
    Protocol,
    SupervisionMode,
)

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]


class Part(BaseModel):
    """A frozen, strict piece of a `Run`: unknown fields, wrong types, inf and nan are refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Data(Part):
    """Which images, which class is nominal and how images become network input (section 4).

    `classes` names the class folders of data that the user brings, in the order that
    `normal_class` counts. `size` (height, width) is the network input of data sets of files; None
    is the published one. `inverted`: the nominal class gets label 1, all else label 0 (the
    published Pascal VOC experiment). `resizing` and `contrast_stretch`: section 9.
    """

    name: DataName
    normal_class: Natural
    preprocessing: Preprocessing
    classes: tuple[str, ...] | None = None
    layout: Literal["one_vs_rest", "nominal_anomalous"] | None = None
    maps: bool = False
    size: tuple[Count, Count] | None = None
    inverted: bool = False
    resizing: Protocol = "mended"
    contrast_stretch: Protocol = "mended"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of all classes."""
        return self.classes if self.classes is not None else CLASS_NAMES[self.name]

    @property
    def class_name(self) -> str:
        """The name of the nominal class."""
        return self.class_names[self.normal_class]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the network input."""
        if self.name in FIXED_SHAPES:
            return FIXED_SHAPES[self.name]
        side = SIDES[self.name][0]
        return (3, *(self.size or (side, side)))

    @property
    def raw_size(self) -> tuple[int, int]:
        """(height, width) that images are kept at, before the crop to `shape`."""
        _, h, w = self.shape
        if self.name in FIXED_SHAPES:
            return h, w
        side, raw = SIDES[self.name]
        return round(h * raw / side), round(w * raw / side)

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if (self.name in OWN_CLASSES) != (self.classes is not None):
            raise ValueError(
                f"data.classes {self.classes} does not fit data.name {self.name!r}: "
                f"{', '.join(OWN_CLASSES)} need the names of their class folders, others have "
                "their own"
            )
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            raise ValueError(f"data.classes {self.classes} names a class twice; name each once")
        if self.normal_class >= len(self.class_names):
            raise ValueError(
                f"data.normal_class {self.normal_class} does not exist in {self.name!r}; known: "
                f"0 to {len(self.class_names) - 1} ({', '.join(self.class_names)})"
            )
        return self

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.preprocessing not in PREPROCESSINGS[self.name]:
            raise ValueError(
                f"data.preprocessing {self.preprocessing!r} is not defined for {self.name!r}; "
                f"known: {', '.join(PREPROCESSINGS[self.name])}"
            )
        if (self.name == "custom") != (self.layout is not None):
            raise ValueError(
                f"data.layout {self.layout!r} does not fit data.name {self.name!r}: 'custom' needs "
                "'one_vs_rest' or 'nominal_anomalous', others take none"
            )
        if self.maps and self.name != "custom":
            raise ValueError(
                f"data.maps is a choice of 'custom' only; {self.name!r} has maps or has none"
            )
        if self.size is not None and self.name in FIXED_SHAPES:
            raise ValueError(
                f"data.size {self.size} cannot be set: images of {self.name!r} have "
                f"{FIXED_SHAPES[self.name]}; leave it out"
            )
        if self.inverted and self.name != "pascal_voc":
            raise ValueError(
                f"data.inverted is for 'pascal_voc' only, not {self.name!r}; leave it out"
            )
        return self


class Outliers(Part):
    """The pool of outlier-exposure images and how many of them are used (None = all).

    `exclusions`: which classes of an ImageNet pool are left out (section 9).
    """

    source: PoolName
    limit: Count | None = None
    exclusions: Protocol = "mended"


class Supervision(Part):
    """What training sees besides nominal images (docs/method.md section 5).

    `maps_per_defect` = k labelled images with maps per defect type, drawn from the
    `reserved_maps` that are kept out of the test set at every k. With `noise` beside few maps, a
    replaced image is a labelled one with probability `labelled_share`, else a malformed nominal
    one with its map. `labelled_in_test="published"` leaves labelled images in the test set.
    """

    mode: SupervisionMode
    # Liznerski et al. 2021, App. D: every drawn nominal image is replaced with probability 1/2.
    replacement_probability: Share = 0.5
    noise: NoiseName | None = None
    noise_colours: Protocol = "mended"
    maps_per_defect: Natural | None = None
    reserved_maps: Natural = 0
    labelled_share: Share = 0.5
    labelled_in_test: Protocol = "mended"


class Net(Part):
    """The network; `bias` switches convolution biases and BatchNorm affine parameters together.

    `frozen_batch_norm`: layers that are not trained keep their BatchNorm statistics too ("mended")
    or go on normalising by the batch ("published"). `trunk` and `trunk_layer`: for "FCDD_TRUNK",
    a torchvision classification net and its last layer, such as "resnet18" and "layer2";
    `pretrained`: with torchvision's default weights.
    """

    name: NetName
    bias: bool = True
    frozen_batch_norm: Protocol = "mended"
    trunk: str | None = None
    trunk_layer: str | None = None
    pretrained: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        own = self.name == "FCDD_TRUNK"
        if {self.trunk is not None, self.trunk_layer is not None} != {own}:
            raise ValueError(
                f"net.trunk {self.trunk!r} and net.trunk_layer {self.trunk_layer!r} do not fit "
                f"net.name {self.name!r}: 'FCDD_TRUNK' needs both, such as 'resnet18' and "
                "'layer2'; others take none"
            )
        if self.pretrained and not own:
            raise ValueError(
                f"net.pretrained is a choice of 'FCDD_TRUNK' only; {self.name!r} says it by name"
            )
        if not self.bias and ("VGG" in self.name or own):
            raise ValueError(
                f"net.bias false is not defined for {self.name!r}; its layers come with bias"
            )
        return self


class Objective(Part):
    """The training loss. `one_label_batches="published"` minimises A in a batch of one label,
    whatever that label is (docs/method.md section 1); "mended" always goes by the label.
    `maps`: the pixel-level loss on upsampled anomaly maps (FCDD on data with maps)."""

    name: ObjectiveName
    one_label_batches: Protocol = "mended"
    maps: bool = False


class Training(Part):
    """Optimiser and schedule. `exponential`: lr * factor^epoch; `milestones`: times it at each.

    `passes` over the nominal images make one epoch (the published MVTec-AD epoch has ten).
    `precision` "bfloat16" trains the net under autocast; loss, parameters, optimiser and all of
    the evaluation stay float32."""

    epochs: Count
    batch_size: Count
    optimizer: Literal["sgd", "adam"]
    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["exponential", "milestones"]
    lr_factor: Share
    lr_milestones: tuple[Count, ...] = ()
    passes: Count = 1
    precision: Literal["float32", "bfloat16"] = "float32"

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
    3). `blur`: "gaussian" smooths the heatmaps of HSC and AE by the same Gaussian."""

    gauss_std: Positive | None
    upsampling: Protocol = "mended"
    blur: Literal["none", "gaussian"] = "none"


class EvaluationSettings(Part):
    """`test_every` n > 0 records the test AUROC every n epochs; it is never used to choose.

    `pixels`: pixel metrics from histograms with a stated bound on the error, or exactly, with
    every pixel in memory."""

    test_every: Natural = 0
    pixels: Literal["histogram", "exact"] = "histogram"


class Watermark(Part):
    """A mark stamped onto a share of the training images, to see whether the net looks at it
    (docs/method.md section 10). `side_px` is its height and width at the network input."""

    kind: Literal["none", "square", "cross", "text"] = "none"
    target: Literal["nominal", "outliers"] = "nominal"
    fraction: Share = 1.0
    corner: Literal["top_left", "top_right", "bottom_left", "bottom_right"] = "bottom_left"
    side_px: Count | None = None
