"""CIFAR-10 with ever more images of outlier exposure: AUROC against the size of the pool.

Paper: Liznerski et al. 2021, section 4 (number of outlier-exposure images). The images are nested:
the choice of 8 contains the choice of 1, per seed. Cost: six times that of `cifar10`.
"""

from jobs.specs import cifar10
from pipeline.benchmark import Benchmark, expand

over = {
    "outliers.limit": (1, 8, 64, 512, 4096, None),  # None: all 50,000 of CIFAR-100
    "data.normal_class": range(10),
    "seed": range(5),
}
# The autoencoder sees no outliers: one point serves for all sizes.
one = {"data.normal_class": range(10), "seed": range(5)}
benchmark = Benchmark(
    "oe_size",
    expand(cifar10.base, over) + expand(cifar10.hsc, over) + expand(cifar10.ae, one),
)
