"""Which of our settings stands beside which published column, and what they must have in common.

Written out, so that nothing is compared by accident: a run of another pool, resolution, split or
schedule gets the reasons instead of a verdict. Sources: Liznerski et al. 2021, App. D; the authors'
code (docs/method.md sections 4 to 6).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.methods import value_words

Fields = Mapping[str, Any]


UNSTATED = "no source states the published setting"


@dataclass(frozen=True)
class Counterpart:
    """A published column (dataset, setting, method) and the fields of a Run that make it so.

    `unstated`: no source tells the published setting, so that no verdict is possible.
    """

    dataset: str
    setting: str
    method: str
    fields: Fields
    num_test: int | None = None
    unstated: bool = False


_SGD: Fields = {
    "training.optimizer": "sgd",
    "training.schedule": "exponential",
    "training.lr_milestones": (),
}
_ADAM: Fields = {
    "training.optimizer": "adam",
    "training.lr": 1e-3,
    "training.weight_decay": 1e-6,
    "training.schedule": "milestones",
    "training.lr_factor": 0.1,
    "training.lr_milestones": (400, 500),
    "training.epochs": 600,
    "training.batch_size": 200,
    "training.passes": 1,
}
_PLAIN: Fields = {
    "data.size": None,
    "outliers.limit": None,
    "supervision.reserved_maps": 0,
    "net.bias": True,
    "objective.maps": False,
    "watermark.kind": "none",
}
_EXPOSED: Fields = {
    "supervision.mode": "outlier_exposure",
    "supervision.replacement_probability": 0.5,
}

# Of the switches, one-label batches, kernel and borders do not change the image scores of batches
# of 128 and 200 images, so they are free for Fashion-MNIST, CIFAR-10 and ImageNet-30.
_FMNIST: Fields = {
    **_PLAIN,
    **_SGD,
    "data.preprocessing": "lcnaug1",
    "training.lr": 1e-2,
    "training.weight_decay": 1e-6,
    "training.lr_factor": 0.98,
    "training.epochs": 400,
    "training.batch_size": 128,
    "training.passes": 1,
}
_CIFAR10: Fields = {**_PLAIN, **_ADAM, "data.preprocessing": "aug1"}
_IMAGENET30: Fields = {
    **_PLAIN,
    **_ADAM,
    "data.preprocessing": "aug1",
    "outliers.exclusions": "published",
}
# On MVTec-AD pixels are scored, and every switch acts.
_MVTEC: Fields = {
    **_PLAIN,
    **_SGD,
    "data.preprocessing": "lcnaug1",
    "data.resizing": "published",
    "objective.maps": True,
    "net.name": "FCDD_CNN224_VGG_F",
    "net.frozen_batch_norm": "published",
    "heatmaps.gauss_std": 12.0,
    "heatmaps.upsampling": "published",
    "supervision.replacement_probability": 0.5,
    "training.lr": 1e-3,
    "training.weight_decay": 1e-4,
    "training.lr_factor": 0.985,
    "training.epochs": 200,
    "training.batch_size": 128,
    "training.passes": 10,
}
_FEW: Fields = {
    "supervision.mode": "few_maps",
    "supervision.noise": None,
    "supervision.maps_per_defect": 1,
    "supervision.labelled_in_test": "published",
}
_CONFETTI: Fields = {
    "supervision.mode": "malformed_nominal",
    "supervision.noise": "confetti",
    "supervision.noise_colours": "published",
}


def counterpart(run: Fields) -> Counterpart | None:
    """The published column that the setting `run` belongs beside; None where there is none."""
    match run["data.name"], run["objective.name"]:
        case "fmnist", "fcdd" if run["outliers.source"] == "emnist":
            return _fmnist("OE=EMNIST", "FCDD", _pooled("emnist", "FCDD_CNN28_W"))
        case "fmnist", "fcdd":
            return _fmnist("OE=CIFAR-100(gray)", "FCDD", _pooled("cifar100", "FCDD_CNN28_W"))
        case "fmnist" | "cifar10" | "imagenet30", "ae":  # which net, no source tells
            return Counterpart(run["data.name"], "unsup", "AE", {}, unstated=True)
        case "cifar10", "fcdd":
            fields = {**_CIFAR10, **_pooled("cifar100", "FCDD_CNN32_LW3K")}
            return Counterpart("cifar10", "OE=CIFAR-100", "FCDD", fields, num_test=10_000)
        case "cifar10" | "imagenet30", "hsc":
            name = run["data.name"]
            return Counterpart(name, "OE-details-not-stated", "HSC", {}, unstated=True)
        case "imagenet30", "fcdd":
            fields = {**_IMAGENET30, **_pooled("imagenet22k", "FCDD_CNN224_VGG_NOPT")}
            return Counterpart("imagenet30", "OE=ImageNet22k", "FCDD", fields, num_test=1500)
        case "mvtec", "fcdd" if run["supervision.mode"] in ("few_maps", "true_anomalies"):
            return Counterpart("mvtec", "semi-supervised", "FCDD", {**_MVTEC, **_FEW})
        case "mvtec", "fcdd":
            return Counterpart("mvtec", "unsupervised", "FCDD", {**_MVTEC, **_CONFETTI})
        case _:
            return None


def _pooled(source: str, net: str) -> dict[str, Any]:
    return {**_EXPOSED, "outliers.source": source, "net.name": net}


def _fmnist(setting: str, method: str, more: Fields) -> Counterpart:
    return Counterpart("fmnist", setting, method, {**_FMNIST, **more}, num_test=10_000)


_WORDS = {
    "outliers.source": "pool",
    "outliers.limit": "size of the pool",
    "outliers.exclusions": "pool (excluded classes)",
    "data.size": "resolution",
    "data.resizing": "protocol (resizing)",
    "supervision.mode": "supervision",
    "supervision.reserved_maps": "split (reserved images)",
    "supervision.labelled_in_test": "split (labelled images in the test set)",
    "supervision.noise_colours": "protocol (noise colours)",
    "net.name": "net",
    "net.frozen_batch_norm": "protocol (BatchNorm)",
    "heatmaps.upsampling": "protocol (kernel)",
    "data.preprocessing": "preprocessing",
}


def reasons(run: Fields, published: Counterpart) -> list[str]:
    """Why the setting `run` is not the published one, in words; empty if it is."""
    if published.unstated:
        return [UNSTATED]
    found = []
    for name, value in published.fields.items():
        side = (224, 224)  # what no size stands for
        if run[name] != value and not (name == "data.size" and run[name] == side):
            what = _WORDS.get(name, name.rpartition(".")[2].replace("_", " "))
            ours, theirs = run[name], value
            if name == "data.size":
                ours, theirs = (f"{h} x {w} pixels" for h, w in (ours or side, theirs or side))
            found.append(f"{what}: {value_words(ours)}, not {value_words(theirs)}")
    return found
