"""CIFAR-10, one-vs-rest, with CIFAR-100 as outlier exposure, as in the paper.

Paper: Liznerski et al. 2021, Table 1 and per class in Table 7 (FCDD, CIFAR-100 exposure): mean
AUROC 0.95. Cost: about 370 h on 2 cores (computed from measured images/s).
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
    change,
)
from pipeline.benchmark import Benchmark, expand

base = Run(
    data=Data(name="cifar10", normal_class=0, preprocessing="aug1"),
    outliers=Outliers(source="cifar100"),
    supervision=Supervision(mode="outlier_exposure"),
    net=Net(name="FCDD_CNN32_LW3K"),
    objective=Objective(name="fcdd"),
    training=Training(  # Liznerski et al. 2021, App. D
        epochs=600,
        batch_size=200,  # published as 10 accumulated batches of 20, joined before the one step
        optimizer="adam",
        lr=1e-3,
        weight_decay=1e-6,
        schedule="milestones",
        lr_factor=0.1,
        lr_milestones=(400, 500),
    ),
    heatmaps=Heatmaps(gauss_std=1.2),
    seed=0,
)
# The baselines, on the same data: `--only objective.name=fcdd` leaves them out.
hsc = change(
    base,
    {"objective.name": "hsc", "net.name": "CNN32_LW3K", "heatmaps.blur": "gaussian"},
)
ae = change(
    base,
    {
        "objective.name": "ae",
        "net.name": "AE32_LW3K",
        "heatmaps.blur": "gaussian",
        "supervision.mode": "unsupervised",
        "outliers.source": "none",
    },
)
over = {"data.normal_class": range(10), "seed": range(5)}
benchmark = Benchmark("cifar10", expand(base, over) + expand(hsc, over) + expand(ae, over))
