"""Whether the parts of a `Run` fit together. A setting that would not be used is refused."""

from typing import get_args

from fcdd.catalog import (
    FROZEN_NETS,
    GRAY_NETS,
    NET_SHAPES,
    WITH_DEFECTS,
    AENetName,
    FCDDNetName,
    HSCNetName,
    Protocol,
)
from fcdd.parts import (
    Data,
    Heatmaps,
    Net,
    Objective,
    Outliers,
    Supervision,
    Training,
    Watermark,
)

_NETS: dict[str, tuple[str, ...]] = {
    "fcdd": get_args(FCDDNetName),
    "hsc": get_args(HSCNetName),
    "ae": get_args(AENetName),
}
_TEXT_PX = 17  # as fcdd.data.watermark draws it: two lines of letters, and gaps
_NOISY = ("noise", "malformed_nominal", "malformed_nominal_maps")


def check(
    *,
    data: Data,
    outliers: Outliers,
    supervision: Supervision,
    net: Net,
    objective: Objective,
    training: Training,
    heatmaps: Heatmaps,
    watermark: Watermark,
    protocol: Protocol,
) -> None:
    """Raises ValueError naming the fields that do not fit, and what would."""
    _check_net(data, net, objective)
    _check_outliers(outliers, supervision)
    _check_noise(data, supervision)
    _check_few_maps(data, supervision)
    _check_objective(data, objective, supervision, heatmaps)
    _check_watermark(data, watermark, supervision)
    _check_published_blur(data, objective, heatmaps, protocol)
    if protocol == "published" and training.precision != "float32":
        raise ValueError(
            f"training.precision {training.precision!r} is not that of protocol 'published', which "
            "trained in float32; leave it out or set protocol to 'mended'"
        )
    switches = _switches(data, outliers, supervision, net, objective, heatmaps)
    _check_switches(switches, protocol)


def _check_net(data: Data, net: Net, objective: Objective) -> None:
    if net.name not in _NETS[objective.name]:
        raise ValueError(
            f"net.name {net.name!r} does not serve objective.name {objective.name!r}; "
            f"its nets: {', '.join(_NETS[objective.name])}"
        )
    if not _takes(net.name, data.shape):
        fitting = [name for name in _NETS[objective.name] if _takes(name, data.shape)]
        raise ValueError(
            f"net.name {net.name!r} does not take images of {data.shape}, which {data.name!r} has; "
            f"fitting: {', '.join(fitting) or 'none for this objective'}"
        )


def _takes(name: str, shape: tuple[int, int, int]) -> bool:
    if name in NET_SHAPES:
        return NET_SHAPES[name] == shape
    return (name in GRAY_NETS) == (shape[0] == 1)


def _check_outliers(outliers: Outliers, supervision: Supervision) -> None:
    exposed = supervision.mode == "outlier_exposure"
    if exposed != (outliers.source != "none"):
        raise ValueError(
            f"outliers.source {outliers.source!r} does not fit supervision.mode "
            f"{supervision.mode!r}: 'outlier_exposure' needs a pool, every other mode "
            "needs outliers.source='none'"
        )
    if outliers.limit is not None and supervision.mode not in (
        "outlier_exposure",
        "true_anomalies",
    ):
        raise ValueError(
            f"outliers.limit {outliers.limit} has nothing to limit in supervision.mode "
            f"{supervision.mode!r}; it is for 'outlier_exposure' and 'true_anomalies'; "
            "leave the limit out"
        )


def _check_noise(data: Data, supervision: Supervision) -> None:
    needed = supervision.mode in _NOISY
    allowed = needed or supervision.mode == "few_maps"
    if (needed and supervision.noise is None) or (supervision.noise is not None and not allowed):
        raise ValueError(
            f"supervision.noise {supervision.noise!r} does not fit supervision.mode "
            f"{supervision.mode!r}: {', '.join(_NOISY)} need a noise, 'few_maps' may have one, "
            "others take none"
        )
    if supervision.noise == "confetti" and data.shape[0] != 3:
        raise ValueError(
            f"supervision.noise 'confetti' is coloured, but {data.name!r} has "
            f"{data.shape[0]} channel; use 'gaussian', 'uniform', 'solid' or 'blob'"
        )

    if supervision.mode == "noise" and supervision.noise == "confetti":
        raise ValueError(
            "supervision.noise 'confetti' darkens what it is put on, so mode 'noise' would show "
            "black images; use mode 'malformed_nominal', or another noise"
        )


def _check_few_maps(data: Data, supervision: Supervision) -> None:
    few = supervision.mode == "few_maps"
    if few != (supervision.maps_per_defect is not None):
        raise ValueError(
            f"supervision.maps_per_defect {supervision.maps_per_defect} does not fit "
            f"supervision.mode {supervision.mode!r}: 'few_maps' needs a number, others take none"
        )
    if data.name not in WITH_DEFECTS and (few or supervision.reserved_maps):
        raise ValueError(
            f"supervision.mode {supervision.mode!r} with reserved_maps "
            f"{supervision.reserved_maps} needs data with defect types: {', '.join(WITH_DEFECTS)}"
        )
    maps = supervision.maps_per_defect or 0
    if maps > supervision.reserved_maps and supervision.labelled_in_test == "mended":
        raise ValueError(
            f"supervision.maps_per_defect {maps} exceeds supervision.reserved_maps "
            f"{supervision.reserved_maps}: labelled images must not be tested; reserve the largest "
            "number of maps of the benchmark"
        )
    if supervision.reserved_maps and supervision.labelled_in_test == "published":
        raise ValueError(
            f"supervision.reserved_maps {supervision.reserved_maps} would not be used: "
            "supervision.labelled_in_test is 'published'; set one of the two"
        )
    if supervision.labelled_share != 0.5 and not (few and supervision.noise):
        raise ValueError(
            f"supervision.labelled_share {supervision.labelled_share} would not be used: it mixes "
            "'few_maps' with a supervision.noise"
        )


def _check_objective(
    data: Data, objective: Objective, supervision: Supervision, heatmaps: Heatmaps
) -> None:
    if objective.maps and (
        objective.name != "fcdd" or not (data.name in WITH_DEFECTS or data.maps)
    ):
        raise ValueError(
            f"objective.maps is for 'fcdd' on data with maps, not {objective.name!r} on "
            f"{data.name!r}; leave it out"
        )
    if supervision.mode == "malformed_nominal_maps" and not objective.maps:
        raise ValueError(
            "supervision.mode 'malformed_nominal_maps' makes maps that only the pixel-level loss "
            "uses: set objective.maps=true, or mode 'malformed_nominal'"
        )
    if objective.name == "ae" and supervision.mode != "unsupervised":
        raise ValueError(
            f"supervision.mode {supervision.mode!r} does not fit objective 'ae', which learns to "
            "reconstruct whatever it sees; use 'unsupervised'"
        )
    if heatmaps.blur != "none" and objective.name == "fcdd":
        raise ValueError(
            f"heatmaps.blur {heatmaps.blur!r} is for 'hsc' and 'ae'; FCDD heatmaps are upsampled "
            "by a Gaussian already; leave it out"
        )


def _check_published_blur(
    data: Data, objective: Objective, heatmaps: Heatmaps, protocol: Protocol
) -> None:
    tested = data.name in WITH_DEFECTS or data.maps
    if protocol == "published" and heatmaps.blur != "none" and (tested or objective.name == "ae"):
        raise ValueError(
            f"heatmaps.blur {heatmaps.blur!r} is not published for the pixel scores of "
            f"{objective.name!r}; set it to 'none' or leave protocol 'mended'"
        )


def _check_watermark(data: Data, watermark: Watermark, supervision: Supervision) -> None:
    if watermark.kind == "none":
        if watermark != Watermark():
            raise ValueError(
                f"watermark {watermark!r} would not be stamped: watermark.kind is 'none'; "
                "name a kind or leave the rest out"
            )
        return
    side = watermark.side_px
    if side is None or side * 2 > min(data.shape[1:]):
        raise ValueError(
            f"watermark.side_px {side} must be given and at most half of the image's "
            f"{min(data.shape[1:])} pixels"
        )
    if watermark.kind == "text" and side < _TEXT_PX:
        raise ValueError(
            f"watermark.side_px {side} is too small for kind 'text', which needs {_TEXT_PX}; "
            "use 'square' or 'cross'"
        )
    if watermark.target == "outliers" and supervision.mode == "unsupervised":
        raise ValueError(
            "watermark.target 'outliers' has nothing to be stamped on in supervision.mode "
            "'unsupervised'; use 'nominal'"
        )


def _switches(
    data: Data,
    outliers: Outliers,
    supervision: Supervision,
    net: Net,
    objective: Objective,
    heatmaps: Heatmaps,
) -> dict[str, tuple[Protocol, bool]]:
    """Every switch between mended and published: its value, and whether it acts in this run."""
    fcdd = objective.name == "fcdd"
    few = supervision.mode == "few_maps"
    return {
        "objective.one_label_batches": (
            objective.one_label_batches,
            fcdd and not objective.maps,
        ),
        "heatmaps.upsampling": (heatmaps.upsampling, fcdd),
        "net.frozen_batch_norm": (net.frozen_batch_norm, net.name in FROZEN_NETS),
        "supervision.labelled_in_test": (supervision.labelled_in_test, few),
        "supervision.noise_colours": (
            supervision.noise_colours,
            supervision.noise == "confetti",
        ),
        "data.resizing": (data.resizing, data.name in WITH_DEFECTS or data.maps),
        "data.contrast_stretch": (data.contrast_stretch, data.name == "pascal_voc"),
        "outliers.exclusions": (
            outliers.exclusions,
            outliers.source in ("imagenet1k", "imagenet22k"),
        ),
    }


def _check_switches(switches: dict[str, tuple[Protocol, bool]], protocol: Protocol) -> None:
    idle = [name for name, (value, acts) in switches.items() if value == "published" and not acts]
    if idle:
        raise ValueError(
            f"{', '.join(idle)} = 'published' would not be used by this run; leave it out"
        )
    if protocol == "published":
        mended = [name for name, (value, acts) in switches.items() if acts and value == "mended"]
        if mended:
            raise ValueError(
                f"protocol 'published' needs every switch published, but {', '.join(mended)} "
                "is mended; set each to 'published' or leave protocol 'mended'"
            )
