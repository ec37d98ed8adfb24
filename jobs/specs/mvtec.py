"""MVTec-AD, unsupervised: confetti on nominal images, pixel AUROC of the heatmaps, as in the paper.

Paper: Liznerski et al. 2021, Table 2 (FCDD, unsupervised): mean pixel AUROC 0.92. Protocol
"published": kernel, resizing and BatchNorm as in the authors' code. Needs the VGG-11-BN weights of
torchvision (`--weights vgg11_bn-6002323d.pth`). The published run took 73 minutes and 38 GB on a
TITAN X (Bertoldo and Decenciere, arXiv 2206.02598). Cost here: not measured; a GPU is needed.
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
    data=Data(name="mvtec", normal_class=0, preprocessing="lcnaug1", resizing="published"),
    outliers=Outliers(source="none"),
    supervision=Supervision(mode="malformed_nominal", noise="confetti", noise_colours="published"),
    net=Net(name="FCDD_CNN224_VGG_F", frozen_batch_norm="published"),
    objective=Objective(name="fcdd", maps=True),  # the published code's branch for MVTec-AD
    training=Training(  # Liznerski et al. 2021, App. D
        epochs=200,
        passes=10,  # the published set holds every image ten times
        batch_size=128,  # published as 8 accumulated batches of 16, joined before the one step
        optimizer="sgd",
        lr=1e-3,
        weight_decay=1e-4,
        schedule="exponential",
        lr_factor=0.985,
    ),
    heatmaps=Heatmaps(gauss_std=12.0, upsampling="published"),
    seed=0,
    protocol="published",
)
# The baselines, on the same data: `--only objective.name=fcdd` leaves them out.
hsc = change(
    base,
    {
        "objective.name": "hsc",
        "objective.maps": False,
        "net.name": "CNN224_VGG_F",
        "heatmaps.upsampling": "mended",  # nothing to upsample
    },
)
ae = change(
    base,
    {
        "objective.name": "ae",
        "objective.maps": False,
        "net.name": "AE224_VGG_F",
        "heatmaps.upsampling": "mended",  # nothing to upsample
        "supervision": Supervision(mode="unsupervised"),
    },
)
over = {"data.normal_class": range(15), "seed": range(5)}
benchmark = Benchmark("mvtec", expand(base, over) + expand(hsc, over) + expand(ae, over))
