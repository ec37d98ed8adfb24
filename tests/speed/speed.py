"""Measures on this machine what docs/performance.md is about, prints it and writes it as Markdown.

python tests/speed/speed.py                 about 5 minutes on an idle machine
python tests/speed/speed.py --quick         fewer repetitions and shorter sweeps
python tests/speed/speed.py --only nets     parts: machine, nets, small, stream,
                                                overhead, parallel, gpu
python tests/speed/speed.py --all           every net of every spec
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import phases
import streams
import sweeps
import torch
from figures import Figure, short, table

from jobs.cli import SWITCHES
from pipeline.environment import machine

PARTS = ("machine", "nets", "small", "stream", "overhead", "parallel", "gpu")


def main() -> None:
    """Reads the options and runs the parts one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--all", action="store_true", help="every net")
    parser.add_argument("--out", type=Path, default=Path("results/speed.md"))
    options = parser.parse_args()
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    torch.set_num_threads(1)
    parts: dict[str, Callable[[], str]] = {
        "machine": _machine,
        "nets": lambda: _nets(options),
        "small": lambda: _small(options),
        "stream": lambda: _stream(options),
        "overhead": lambda: _overhead(options),
        "parallel": lambda: _parallel(options),
        "gpu": lambda: _gpu(options),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("", encoding="utf-8")
    for name in options.only or PARTS:
        text = parts[name]()
        print(text + "\n", flush=True)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(text + "\n\n")
    print(f"written to {options.out}")


def _repetitions(options: argparse.Namespace) -> int:
    return 3 if options.quick else 7


def _load() -> str:
    return f"load before it {os.getloadavg()[0]:.1f}"


def _machine() -> str:
    facts = machine("cpu")
    now = datetime.now(UTC).date().isoformat()
    gpu = (
        f"GPU {torch.cuda.get_device_name()}"
        if torch.cuda.is_available()
        else "no GPU here: every figure is of the CPU"
    )
    return (
        f"`make speed`, {now}: {os.cpu_count()} cores of {facts['cpu']} ({platform.machine()}), "
        f"Python {facts['version.python']}, torch {facts['version.torch']}; {gpu}. "
        "Median (smallest to largest, n). Phases on the CPU by the processor time of one thread, "
        "which other programs disturb less than the clock; all else by the clock."
    )


def _nets(options: argparse.Namespace) -> str:
    n, texts = _repetitions(options), []
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in map(torch.device, devices):
        before, most = _load(), phases.ceiling(device, n=n)
        measured = [
            phases.measure(run, device=device, n=n) for run in phases.runs(every_net=options.all)
        ]
        texts.append(
            f"Nets on {device.type}, one thread, float32, images/s; matrix products reach "
            f"{short(most.median / 1e9)} GFLOP/s ({before}):\n\n"
            f"{phases.nets_table(measured, most)}"
        )
    return "\n\n".join(texts)


def _small(options: argparse.Namespace) -> str:
    n, before = _repetitions(options), _load()
    rows = [*phases.loading(n=n), *phases.pixels_and_confetti(n=n)]
    return f"Without a net, one thread ({before}):\n\n{table(['what', 'measured'], rows)}"


def _stream(options: argparse.Namespace) -> str:
    before = _load()
    found = streams.streaming(num=400 if options.quick else 1000, n=1 if options.quick else 3)
    return (
        f"A pool on disk (JPEG, 500 x 375, to 256 pixels), 2 decoding processes ({before}): "
        f"{found} images/s."
    )


def _overhead(options: argparse.Namespace) -> str:
    before, num, n = _load(), 40 if options.quick else 120, 1 if options.quick else 3
    walls, beyonds = zip(*(sweeps.overhead(num) for _ in range(n)), strict=True)
    return (
        f"`fcdd run` of {num} trivial runs, rows, scores and MLflow on ({before}): {Figure(walls)} "
        f"ms of wall time per run in its second half, {Figure(beyonds)} ms of it beyond training "
        f"and evaluation on {os.cpu_count()} cores."
    )


def _parallel(options: argparse.Namespace) -> str:
    n, before = (1 if options.quick else 3), _load()
    rows = []
    for what, unit in {
        "product": "matrix product in the cache, GFLOP/s",
        "copy": "copy beyond the cache, GB/s",
        "fmnist_small": "`fmnist_small`, images/s",
        "fmnist": "`fmnist`, images/s",
        "cifar10": "`cifar10`, images/s",
    }.items():
        figures = sweeps.side_by_side(what, n=n, each_seconds=2.0 if options.quick else 4.0)
        rows.append([unit, *map(str, figures)])
    header = ["what", "one process", "two together", "two : one", "one process of two threads"]
    return f"Two processes of one thread against one ({before}):\n\n{table(header, rows)}"


def _gpu(options: argparse.Namespace) -> str:
    """What tests/speed/gpu.py says of the GPU, or that there is none."""
    command = [sys.executable, str(Path(__file__).with_name("gpu.py"))]
    command += ["--quick"] if options.quick else []
    with tempfile.TemporaryDirectory(prefix="fcdd-speed-") as folder:
        out = Path(folder) / "gpu.md"
        done = subprocess.run(
            [*command, "--out", str(out)],
            cwd=sweeps.ROOT,
            env=os.environ | {"PYTHONPATH": str(sweeps.ROOT)},
            capture_output=True,
            text=True,
        )
        failed = [line for line in done.stderr.splitlines() if line.startswith("FAILED ")]
        if done.returncode and not failed:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        return "\n\n".join([done.stdout.strip(), *failed])


if __name__ == "__main__":
    main()
