"""Whether runs in bfloat16 are as good as in float32: `quickstart` in both, on the CPU.

    python tests/speed/precision.py 2         classes 0 to 9 of so many seeds

Prints the image AUROC of each pair, then the mean difference beside that of two seeds.
"""

import statistics
import sys

import torch

from fcdd.config import change
from fcdd.data.load import load
from fcdd.data.outliers import load_pool
from fcdd.data.task import make_task
from fcdd.evaluation import evaluate
from fcdd.training import fit
from jobs.select import load_spec


def main(num_seeds: int) -> None:
    """Prints a line per pair and a summary."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    runs = [run for run in load_spec("quickstart").runs if run.seed < num_seeds]
    images = load(runs[0].data, None)
    pool = load_pool("photographs", (1, 28, 28), root=None, pool=None)
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for run in sorted(runs, key=lambda run: (run.seed, run.data.normal_class)):
        pair = []
        for precision in ("float32", "bfloat16"):
            one = change(run, {"training.precision": precision})
            task = make_task(one, images, pool, device=cpu)
            pair.append(evaluate(one, fit(one, task, device=cpu).net, task).image_auroc)
        found[run.seed, run.data.normal_class] = (pair[0], pair[1])
        print(run.data.normal_class, run.seed, *(f"{value:.4f}" for value in pair), flush=True)
    between = [half - full for full, half in found.values()]
    seeds = [found[s, c][0] - found[s - 1, c][0] for s, c in found if s > 0]
    print(
        f"{len(between)} pairs: bfloat16 - float32 {statistics.mean(between):+.4f}, standard "
        f"deviation {statistics.stdev(between):.4f}, mean size "
        f"{statistics.mean(map(abs, between)):.4f}"
    )
    if seeds:
        print(f"two seeds in float32: mean size {statistics.mean(map(abs, seeds)):.4f}")


if __name__ == "__main__":
    main(int(sys.argv[1]))
