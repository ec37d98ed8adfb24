"""Synthetic textures with defects: the whole of FCDD with maps on a laptop, no download.

Paper table: none (ours; the twin of `mvtec`). Confetti on nominal images only; heatmaps are tested
against exact masks. Expected figures and cost: README, "Measured".
"""

from fcdd.config import (
    Data,
    Heatmaps,
    Net,
    Objective,
    Outliers,
    Run,
    Supervision,
    Training,
)
from pipeline.benchmark import Benchmark, expand

base = Run(
    data=Data(name="textures", normal_class=0, preprocessing="lcnaug1"),
    outliers=Outliers(source="none"),
    supervision=Supervision(mode="malformed_nominal_maps", noise="confetti"),
    net=Net(name="FCDD_CNN32_S"),  # fully convolutional: 64 x 64 pixels give 16 x 16 cells
    objective=Objective(name="fcdd", maps=True),
    training=Training(
        epochs=40,
        batch_size=32,
        optimizer="adam",
        lr=3e-3,
        weight_decay=1e-2,  # chosen on another draw of the textures: less overfits to confetti
        schedule="exponential",
        lr_factor=0.95,
        passes=2,
    ),
    heatmaps=Heatmaps(gauss_std=3.0),
    seed=0,
)
benchmark = Benchmark("textures", expand(base, {"data.normal_class": range(5), "seed": range(3)}))
