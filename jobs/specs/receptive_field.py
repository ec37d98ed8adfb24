"""Ever larger kernels: AUROC against the receptive field, on CIFAR-10 and MVTec-AD.

Paper: Liznerski et al. 2021, App. A: CIFAR-10 from AUROC 0.933 (field of 18 pixels) to 0.924 (32);
MVTec-AD from pixel AUROC 0.88 (53) to 0.75 (243). Cost: eight times the FCDD part of `cifar10` and
six times that of `mvtec`. `--only data.name=cifar10` takes the first half.
"""

from fcdd.config import Net, change
from jobs.specs import cifar10, mvtec
from pipeline.benchmark import Benchmark, expand

# These nets start from scratch, so nothing of them is frozen.
large = change(mvtec.base, {"net": Net(name="FCDD_CNN224_W")})
cifar10_over = {"data.normal_class": range(10), "seed": range(5)}
mvtec_over = {"data.normal_class": range(15), "seed": range(5)}
kernels_32 = {"net.name": tuple(f"FCDD_CNN32_{k}K" for k in (3, 5, 7, 9, 11, 13, 15, 17))}
kernels_224 = {"net.name": tuple(f"FCDD_CNN224_{k}K" for k in (3, 5, 7, 9, 11, 13))}
benchmark = Benchmark(
    "receptive_field",
    expand(cifar10.base, kernels_32 | cifar10_over)
    + expand(cifar10.hsc, cifar10_over)
    + expand(cifar10.ae, cifar10_over)
    + expand(large, kernels_224 | mvtec_over)
    + expand(mvtec.hsc, mvtec_over)
    + expand(mvtec.ae, mvtec_over),
)
