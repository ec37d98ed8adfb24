"""Textures with k labelled maps per defect type, never tested on: AUROC against k.

Paper table: none (ours; the twin of `mvtec_few_maps`). At every k, 0 included, the same four images
per defect type are kept out of the test set, so the differences between k are paired; k = 0 is
confetti alone. Expected figures and cost: README, "Measured".
"""

from fcdd.config import Supervision, change
from jobs.specs import textures
from pipeline.benchmark import Benchmark, expand

base = change(
    textures.base,
    {
        "supervision": Supervision(
            mode="few_maps", noise="confetti", maps_per_defect=0, reserved_maps=4
        ),
        "training.epochs": 20,  # half as long as textures, for four times as many runs
        "training.lr_factor": 0.9,
        "training.weight_decay": 1e-4,  # as when its figures were measured
    },
)
benchmark = Benchmark(
    "textures_few_maps",
    expand(
        base,
        {
            "supervision.maps_per_defect": (0, 1, 2, 4),
            "data.normal_class": range(5),
            "seed": range(3),
        },
    ),
)
