"""Fashion-MNIST, one-vs-rest, with EMNIST letters as outlier exposure.

Paper: Liznerski et al. 2021, section 4 (Fashion-MNIST with EMNIST); the reproduction (Bertoldo and
Decenciere, arXiv 2206.02598) reports it per class. Cost: that of `fmnist`, whose HSC and AE runs
serve here too (the autoencoder sees no outliers).
"""

from fcdd.config import change
from jobs.specs import fmnist
from pipeline.benchmark import Benchmark, expand

base = change(fmnist.base, {"outliers.source": "emnist"})
hsc = change(fmnist.hsc, {"outliers.source": "emnist"})
over = {"data.normal_class": range(10), "seed": range(5)}
benchmark = Benchmark(
    "fmnist_emnist", expand(base, over) + expand(hsc, over) + expand(fmnist.ae, over)
)
