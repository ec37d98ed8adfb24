"""Fashion-MNIST for a laptop: the small net, 20 epochs, one seed, any folder of images as pool.

Paper table: none; the paper's setting is `fmnist`. Expected:
mean AUROC 0.893 with gray CIFAR-10 as pool (README, "Measured").
Cost: about 2 minutes on 2 cores (measured).
"""

from fcdd.config import Data, Heatmaps, Net, Objective, Outliers, Run, Supervision, Training
from pipeline.benchmark import Benchmark, expand

base = Run(
    data=Data(name="fmnist", normal_class=0, preprocessing="lcn"),
    outliers=Outliers(source="folder"),
    supervision=Supervision(mode="outlier_exposure"),
    net=Net(name="FCDD_CNN28"),
    objective=Objective(name="fcdd"),
    training=Training(
        epochs=20,
        batch_size=128,
        optimizer="sgd",
        lr=1e-2,
        weight_decay=1e-6,
        schedule="exponential",
        lr_factor=0.8,  # ends at 1 % of lr after 20 epochs
    ),
    heatmaps=Heatmaps(gauss_std=1.2),
    seed=0,
)
benchmark = Benchmark("fmnist_small", expand(base, {"data.normal_class": range(10)}))
