"""ImageNet-30, one-vs-rest, with ImageNet-22k as outlier exposure, as in the paper.

Paper: Liznerski et al. 2021, Table 1: mean AUROC 0.94. Needs `<data root>/imagenet` and
`<data root>/imagenet22k`. Cost: not measured; a GPU is needed.
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
    data=Data(name="imagenet30", normal_class=0, preprocessing="aug1"),
    # Published: only the 30 classes themselves are taken out of ImageNet-22k.
    outliers=Outliers(source="imagenet22k", exclusions="published"),
    supervision=Supervision(mode="outlier_exposure"),
    net=Net(name="FCDD_CNN224_VGG_NOPT"),
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
    heatmaps=Heatmaps(gauss_std=8.0),
    seed=0,
)
# The baselines, on the same data: `--only objective.name=fcdd` leaves them out.
hsc = change(
    base,
    {"objective.name": "hsc", "net.name": "CNN224_VGG_NOPT", "heatmaps.blur": "gaussian"},
)
ae = change(
    base,
    {
        "objective.name": "ae",
        "net.name": "AE224_VGG_NOPT",
        "heatmaps.blur": "gaussian",
        "supervision.mode": "unsupervised",
        "outliers.source": "none",
        "outliers.exclusions": "mended",  # nothing to exclude from
    },
)
over = {"data.normal_class": range(30), "seed": range(5)}
benchmark = Benchmark("imagenet30", expand(base, over) + expand(hsc, over) + expand(ae, over))
