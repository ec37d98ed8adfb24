"""A setting that would not be used, or cannot be, is refused by name."""

import pytest

from fcdd.config import Data, Net, Run, Supervision, Watermark, change
from jobs.select import load_spec


def spec_run(name: str) -> Run:
    return load_spec(name).runs[0]


REFUSED = [
    ("quickstart", {"objective.name": "hsc"}, "does not serve objective.name 'hsc'; its nets: CNN"),
    ("quickstart", {"net.name": "FCDD_CNN224"}, "does not take images of (1, 28, 28)"),
    ("textures", {"net.name": "FCDD_CNN28"}, "does not take images of (3, 64, 64)"),
    ("quickstart", {"supervision.mode": "unsupervised"}, "needs outliers.source='none'"),
    ("textures", {"outliers.limit": 3}, "outliers.limit 3 has nothing to limit"),
    ("textures", {"supervision.noise": None}, "supervision.noise None does not fit"),
    ("quickstart", {"supervision.noise": "blob"}, "supervision.noise 'blob' does not fit"),
    ("textures", {"supervision.mode": "noise"}, "would show black images"),
    ("textures", {"supervision.maps_per_defect": 1}, "maps_per_defect 1 does not fit"),
    ("quickstart", {"supervision.reserved_maps": 1}, "needs data with defect types"),
    (
        "textures_few_maps",
        {"supervision.maps_per_defect": 5},
        "exceeds supervision.reserved_maps 4",
    ),
    ("textures", {"supervision.labelled_share": 0.2}, "labelled_share 0.2 would not be used"),
    ("quickstart", {"objective.maps": True}, "objective.maps is for 'fcdd' on data with maps"),
    ("textures", {"objective.maps": False}, "makes maps that only the pixel-level loss uses"),
    ("textures", {"heatmaps.blur": "gaussian"}, "FCDD heatmaps are upsampled"),
    ("quickstart", {"watermark.fraction": 0.5}, "would not be stamped"),
    ("textures", {"watermark.kind": "square"}, "watermark.side_px None must be given"),
    ("textures", {"watermark.kind": "cross", "watermark.side_px": 40}, "at most half"),
    ("textures", {"watermark.kind": "text", "watermark.side_px": 16}, "too small for kind 'text'"),
    ("textures", {"data.contrast_stretch": "published"}, "data.contrast_stretch = 'published'"),
    ("textures", {"objective.one_label_batches": "published"}, "would not be used by this run"),
    ("textures", {"outliers.exclusions": "published"}, "outliers.exclusions = 'published' would"),
    ("mvtec", {"heatmaps.upsampling": "mended"}, "but heatmaps.upsampling is mended"),
    ("quickstart", {"data.size": [32, 32]}, "data.size (32, 32) cannot be set"),
    ("quickstart", {"data.maps": True}, "data.maps is a choice of 'custom' only"),
    ("quickstart", {"data.inverted": True}, "data.inverted is for 'pascal_voc' only"),
    ("quickstart", {"data.classes": ["a"]}, "data.classes ('a',) does not fit"),
    ("quickstart", {"net.trunk": "resnet18"}, "do not fit net.name 'FCDD_CNN28'"),
    ("quickstart", {"net.pretrained": True}, "net.pretrained is a choice of 'FCDD_TRUNK'"),
    ("mvtec", {"net.bias": False}, "net.bias false is not defined"),
]


@pytest.mark.parametrize(("spec", "changes", "message"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_would_not_act_or_cannot_is_refused(
    spec: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        change(spec_run(spec), changes)
    assert message in str(caught.value)


def test_an_autoencoder_is_refused_anomalies() -> None:
    ae = next(run for run in load_spec("fmnist").runs if run.objective.name == "ae")
    with pytest.raises(ValueError, match="reconstruct whatever it sees"):
        change(ae, {"supervision.mode": "outlier_exposure", "outliers.source": "mnist"})


def test_published_scores_are_not_blurred() -> None:
    ae = next(run for run in load_spec("mvtec").runs if run.objective.name == "ae")
    with pytest.raises(ValueError, match="not published for the pixel scores of 'ae'"):
        change(ae, {"heatmaps.blur": "gaussian"})


def test_own_classes_are_named_and_counted() -> None:
    data = Data(
        name="custom",
        normal_class=1,
        preprocessing="aug1",
        classes=("bolts", "nuts"),
        layout="one_vs_rest",
    )
    assert (data.class_name, data.shape, data.raw_size) == ("nuts", (3, 224, 224), (248, 248))
    with pytest.raises(ValueError, match="names a class twice"):
        Data(name="mvtec_layout", normal_class=0, preprocessing="none", classes=("nut", "nut"))


def test_stored_size_follows_the_network_input_in_proportion() -> None:
    run = change(spec_run("mvtec"), {"data.size": [112, 224], "protocol": "mended"})
    assert (run.data.shape, run.data.raw_size) == ((3, 112, 224), (120, 240))


def test_whole_parts_can_be_replaced() -> None:
    run = change(
        spec_run("textures"),
        {
            "net": Net(name="FCDD_TRUNK", trunk="resnet18", trunk_layer="layer1"),
            "supervision": Supervision(mode="unsupervised"),
            "watermark": Watermark(kind="square", side_px=8),
        },
    )
    assert (run.net.trunk, run.supervision.noise, run.watermark.side_px) == ("resnet18", None, 8)
