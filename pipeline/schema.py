"""The columns of a row and of the files beside it. Imports pyarrow only.

SCHEMA is written out, so that a report needs nothing of the method; a test compares it with the
fields of `Run`. A column added later carries the value that older rows stand for, so they stay
readable.
"""

import json
from typing import Any

import pyarrow as pa

SCHEMA_VERSION = 1
_NO_DEFAULT = object()


def _column(
    name: str,
    kind: pa.DataType,
    *,
    measured: bool = False,
    null: bool = False,
    default: Any = _NO_DEFAULT,
) -> pa.Field:
    """`measured`: differs between two executions of the same Run. `default`: added later; what
    rows without the column stand for."""
    metadata = {"measured": "true"} if measured else {}
    if default is not _NO_DEFAULT:
        metadata["default"] = json.dumps(default)
    return pa.field(name, kind, nullable=null, metadata=metadata or None)


SCHEMA = pa.schema(
    [
        _column("schema_version", pa.int64()),
        _column("key", pa.string()),
        # The Run.
        _column("data.name", pa.string()),
        _column("data.normal_class", pa.int64()),
        _column("data.preprocessing", pa.string()),
        _column("data.classes", pa.list_(pa.string()), null=True, default=None),
        _column("data.layout", pa.string(), null=True, default=None),
        _column("data.maps", pa.bool_(), default=False),
        _column("data.size", pa.list_(pa.int64()), null=True, default=None),
        _column("data.inverted", pa.bool_(), default=False),
        _column("data.resizing", pa.string(), default="mended"),
        _column("data.contrast_stretch", pa.string(), default="mended"),
        _column("outliers.source", pa.string()),
        _column("outliers.limit", pa.int64(), null=True),
        _column("outliers.exclusions", pa.string(), default="mended"),
        _column("supervision.mode", pa.string()),
        _column("supervision.replacement_probability", pa.float64()),
        _column("supervision.noise", pa.string(), null=True, default=None),
        _column("supervision.noise_colours", pa.string(), default="mended"),
        _column("supervision.maps_per_defect", pa.int64(), null=True, default=None),
        _column("supervision.reserved_maps", pa.int64(), default=0),
        _column("supervision.labelled_share", pa.float64(), default=0.5),
        _column("supervision.labelled_in_test", pa.string(), default="mended"),
        _column("net.name", pa.string()),
        _column("net.bias", pa.bool_()),
        _column("net.frozen_batch_norm", pa.string(), default="mended"),
        _column("net.trunk", pa.string(), null=True, default=None),
        _column("net.trunk_layer", pa.string(), null=True, default=None),
        _column("net.pretrained", pa.bool_(), default=False),
        _column("objective.name", pa.string()),
        _column("objective.one_label_batches", pa.string()),
        _column("objective.maps", pa.bool_(), default=False),
        _column("training.epochs", pa.int64()),
        _column("training.batch_size", pa.int64()),
        _column("training.optimizer", pa.string()),
        _column("training.lr", pa.float64()),
        _column("training.weight_decay", pa.float64()),
        _column("training.schedule", pa.string()),
        _column("training.lr_factor", pa.float64()),
        _column("training.lr_milestones", pa.list_(pa.int64())),
        _column("training.passes", pa.int64(), default=1),
        _column("training.precision", pa.string(), default="float32"),
        _column("heatmaps.gauss_std", pa.float64(), null=True),
        _column("heatmaps.upsampling", pa.string()),
        _column("heatmaps.blur", pa.string(), default="none"),
        _column("evaluation.test_every", pa.int64()),
        _column("evaluation.pixels", pa.string(), default="histogram"),
        _column("watermark.kind", pa.string(), default="none"),
        _column("watermark.target", pa.string(), default="nominal"),
        _column("watermark.fraction", pa.float64(), default=1.0),
        _column("watermark.corner", pa.string(), default="bottom_left"),
        _column("watermark.side_px", pa.int64(), null=True, default=None),
        _column("seed", pa.int64()),
        _column("threads", pa.int64()),
        _column("protocol", pa.string()),
        # The data.
        _column("class_name", pa.string()),
        _column("data_fingerprint", pa.string()),
        _column("outliers_fingerprint", pa.string()),
        _column("num_train", pa.int64()),
        _column("num_outliers", pa.int64()),
        _column("num_outliers_unreadable", pa.int64()),
        _column("outliers_chosen", pa.list_(pa.int64()), null=True, default=None),
        _column("labelled_files", pa.list_(pa.string()), null=True, default=None),
        _column("num_reserved", pa.int64(), default=0),
        _column("num_test", pa.int64()),
        _column("num_test_anomalous", pa.int64()),
        # The outcome, of the last epoch.
        _column("image_auroc", pa.float64()),
        _column("image_ap", pa.float64()),
        _column("pixel_auroc", pa.float64(), null=True),
        _column("pixel_ap", pa.float64(), null=True),
        _column("pixel_pro", pa.float64(), null=True),
        _column("pixel_auroc_bound", pa.float64(), null=True, default=None),
        _column("pixel_ap_bound", pa.float64(), null=True, default=None),
        _column("pixel_pro_bound", pa.float64(), null=True, default=None),
        _column("train_loss", pa.float64()),
        # The circumstances.
        _column("determinism", pa.string()),
        _column("version.fcdd", pa.string()),
        _column("version.python", pa.string()),
        _column("version.torch", pa.string()),
        _column("version.numpy", pa.string()),
        _column("commit", pa.string(), measured=True),
        _column("dirty", pa.bool_(), measured=True, null=True),
        _column("host", pa.string(), measured=True),
        _column("cpu", pa.string(), measured=True),
        _column("device", pa.string(), measured=True),
        _column("started_at", pa.string(), measured=True),
        _column("train_seconds", pa.float64(), measured=True),
        _column("evaluate_seconds", pa.float64(), measured=True),
        _column("total_seconds", pa.float64(), measured=True),
        _column("train_images_per_second", pa.float64(), measured=True),
        _column("peak_memory_bytes", pa.int64(), measured=True),
        _column("peak_gpu_bytes", pa.int64(), measured=True, null=True),
        # How many runs were trained together, what a probe said of that, how steps were executed.
        _column("stack", pa.int64(), measured=True, default=1),
        _column("stack_probe", pa.string(), measured=True, null=True, default=None),
        _column("execution", pa.string(), measured=True, default="eager"),
    ]
)
MEASURED = frozenset(f.name for f in SCHEMA if f.metadata and b"measured" in f.metadata)
DEFAULTS: dict[str, Any] = {
    f.name: json.loads(f.metadata[b"default"])
    for f in SCHEMA
    if f.metadata and b"default" in f.metadata
}

SCORES = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("class", pa.int64(), nullable=False),
        pa.field("label", pa.uint8(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
CURVES = pa.schema(
    [
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("train_loss", pa.float64(), nullable=False),
        pa.field("lr", pa.float64(), nullable=False),
        pa.field("test_auroc", pa.float64()),
    ]
)
# Histograms of heatmap values over all test pixels, from which pixel AUROC, AP and PRO follow. Bins
# without a pixel are left out. `overlap`: the sum over defect regions of the share of the region's
# pixels in this bin; it sums to the number of regions.
PIXELS = pa.schema(
    [
        pa.field("lower", pa.float32(), nullable=False),
        pa.field("nominal", pa.int64(), nullable=False),
        pa.field("anomalous", pa.int64(), nullable=False),
        pa.field("overlap", pa.float64(), nullable=False),
    ]
)
# plan.parquet: entries of plan.json that `fcdd compact` moved; `run` is the nested fields as JSON.
PLAN = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("benchmarks", pa.list_(pa.string()), nullable=False),
        pa.field("run", pa.string(), nullable=False),
    ]
)
