"""Pascal VOC 2007 horses: does the heatmap fall on the horse, or on the photographer's watermark?

Paper: Liznerski et al. 2021, section 4.3 (the Clever Hans effect). Horses are the class that the
net pushes away (`data.inverted`), so a heatmap shows what makes a horse. Outlier exposure with
ImageNet-1k less what its classes share with VOC. The same question for any data set: `fcdd audit`.
Cost: not measured; a GPU is needed.
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
    data=Data(
        name="pascal_voc",
        normal_class=0,
        preprocessing="aug1",
        inverted=True,
        contrast_stretch="published",
    ),
    outliers=Outliers(source="imagenet1k"),
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
    },
)
over = {"seed": range(5)}
benchmark = Benchmark("pascal_voc", expand(base, over) + expand(hsc, over) + expand(ae, over))
