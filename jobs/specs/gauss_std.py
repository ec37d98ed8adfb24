"""MVTec-AD with narrower and wider Gaussians: pixel AUROC against `heatmaps.gauss_std`.

Paper: Liznerski et al. 2021, App. B: mean pixel AUROC 0.857 at 4, 0.922 at 14, 0.921 at 16. The
Gaussian acts in the loss too, so every value is trained. Cost: seven times the FCDD part of
`mvtec`.
"""

from jobs.specs import mvtec
from pipeline.benchmark import Benchmark, expand

over = {
    "heatmaps.gauss_std": (4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0),
    "data.normal_class": range(15),
    "seed": range(5),
}
# Neither HSC nor the autoencoder is trained through the Gaussian: their runs of `mvtec` serve.
one = {"data.normal_class": range(15), "seed": range(5)}
benchmark = Benchmark(
    "gauss_std", expand(mvtec.base, over) + expand(mvtec.hsc, one) + expand(mvtec.ae, one)
)
