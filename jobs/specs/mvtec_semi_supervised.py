"""MVTec-AD with one labelled map per defect type, as published: it is tested on them too.

Paper: Liznerski et al. 2021, Table 2 (FCDD, semi-supervised): mean pixel AUROC 0.96. The published
code trains on images that it tests on; the runs say so (protocol "published"). Without that leak:
`mvtec_few_maps`. Cost: not measured; a GPU is needed.
"""

from fcdd.config import Supervision, change
from jobs.specs import mvtec
from pipeline.benchmark import Benchmark, expand

base = change(
    mvtec.base,
    {"supervision": Supervision(mode="few_maps", maps_per_defect=1, labelled_in_test="published")},
)
benchmark = Benchmark(
    "mvtec_semi_supervised", expand(base, {"data.normal_class": range(15), "seed": range(5)})
)
