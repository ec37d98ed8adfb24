"""Ten handwritten digits, one-vs-rest: the whole pipeline on data that come with scikit-learn.

Paper table: none (ours, to see everything work). Data: scikit-learn's digits, outlier exposure from
crops of its two photographs. Expected:
mean AUROC 0.886 +- 0.023 over three seeds (README, "Measured").
Cost: about 1 minute on 2 cores (measured).
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
    data=Data(name="digits", normal_class=0, preprocessing="lcn"),
    outliers=Outliers(source="photographs"),
    supervision=Supervision(mode="outlier_exposure"),
    net=Net(name="FCDD_CNN28"),
    objective=Objective(name="fcdd"),
    training=Training(
        epochs=60,  # about 120 images per class: 60 epochs are 7,200 images
        batch_size=16,
        optimizer="adam",
        lr=1e-3,
        weight_decay=1e-6,
        schedule="exponential",
        lr_factor=0.97,
    ),
    heatmaps=Heatmaps(gauss_std=1.2),  # Liznerski et al. 2021, App. D, as Fashion-MNIST
    seed=0,
)
benchmark = Benchmark(
    "quickstart", expand(base, {"data.normal_class": range(10), "seed": range(3)})
)
