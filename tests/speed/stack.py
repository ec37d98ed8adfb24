"""Runs trained as one stack against the same runs one after the other, on the CPU.

    python tests/speed/stack.py SPEC RUNS IMAGES      such as fmnist_small 4 512

Images/s of all runs together, of one epoch, in processor time of one thread.
"""

import sys
from collections.abc import Callable

import torch
from figures import per_second, seconds

from fcdd.config import change
from fcdd.stacked import fit_stacked
from fcdd.training import fit
from jobs.select import load_spec
from pipeline.probe import random_task


def main(spec: str, num_runs: int, num_images: int) -> None:
    """Prints one line."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    base = load_spec(spec).runs[0]
    changes = {
        "training.epochs": 1,
        "training.batch_size": min(base.training.batch_size, num_images),
        "training.schedule": "exponential",
        "training.lr_milestones": [],
    }
    runs = [change(base, changes | {"seed": seed}) for seed in range(num_runs)]
    tasks = [random_task(run, num_images, cpu) for run in runs]

    def singly() -> None:
        for run, task in zip(runs, tasks, strict=True):
            fit(run, task, device=cpu)

    def together() -> None:
        fit_stacked(runs, tasks, device=cpu)

    ways: dict[str, Callable[[], None]] = {"singly": singly, "one stack": together}
    total = num_runs * num_images
    found = [f"{name} {per_second(total, seconds(w, cpu, n=3))}" for name, w in ways.items()]
    print(f"{spec}, {num_runs} runs, images/s: {'; '.join(found)}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
