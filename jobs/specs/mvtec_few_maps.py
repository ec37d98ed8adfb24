"""MVTec-AD with k labelled maps per defect type, never tested on: what is a map worth?

Paper: the question of Liznerski et al. 2021, Table 2 (semi-supervised), without its leak. At every
k, 0 included, the same four images per defect type are kept out of the test set, so the differences
between k are paired; k = 0 is confetti alone. HSC learns from the same images without their maps.
Cost: not measured; a GPU is needed.
"""

from fcdd.config import Supervision, change
from jobs.specs import mvtec
from pipeline.benchmark import Benchmark, expand

few = {
    "protocol": "mended",
    "supervision": Supervision(
        mode="few_maps",
        noise="confetti",
        maps_per_defect=0,
        reserved_maps=4,  # the smallest defect type of MVTec-AD has eight images
    ),
}
base = change(mvtec.base, few)
hsc = change(mvtec.hsc, few)
ae = change(
    mvtec.ae,
    {"protocol": "mended", "supervision": Supervision(mode="unsupervised", reserved_maps=4)},
)
over = {"data.normal_class": range(15), "seed": range(5)}
maps = {"supervision.maps_per_defect": (0, 1, 2, 4)}
benchmark = Benchmark(
    "mvtec_few_maps",
    expand(base, maps | over) + expand(hsc, maps | over) + expand(ae, over),
)
