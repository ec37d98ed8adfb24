import io
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fcdd.config import change, flatten
from jobs.outcome import tell_throughput
from jobs.select import apply, load_spec, spec_names
from pipeline import results
from pipeline.benchmark import Benchmark

ROOT = Path(__file__).parents[2]
CLASS = "data.normal_class"


def fcdd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "jobs", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("FCDD_")} | environment,
    )


# Spec: runs, FCDD's net and epochs, objectives (docs/experiments.md).
SPECS = {
    "cifar10": (150, "FCDD_CNN32_LW3K", 600, {"fcdd", "hsc", "ae"}),
    "fmnist": (150, "FCDD_CNN28_W", 400, {"fcdd", "hsc", "ae"}),
    "fmnist_emnist": (150, "FCDD_CNN28_W", 400, {"fcdd", "hsc", "ae"}),
    "fmnist_small": (10, "FCDD_CNN28", 20, {"fcdd"}),
    "gauss_std": (675, "FCDD_CNN224_VGG_F", 200, {"fcdd", "hsc", "ae"}),
    "imagenet30": (450, "FCDD_CNN224_VGG_NOPT", 600, {"fcdd", "hsc", "ae"}),
    "mvtec": (225, "FCDD_CNN224_VGG_F", 200, {"fcdd", "hsc", "ae"}),
    "mvtec_few_maps": (675, "FCDD_CNN224_VGG_F", 200, {"fcdd", "hsc", "ae"}),
    "mvtec_semi_supervised": (75, "FCDD_CNN224_VGG_F", 200, {"fcdd"}),
    "oe_size": (650, "FCDD_CNN32_LW3K", 600, {"fcdd", "hsc", "ae"}),
    "pascal_voc": (15, "FCDD_CNN224_VGG_NOPT", 600, {"fcdd", "hsc", "ae"}),
    "quickstart": (30, "FCDD_CNN28", 60, {"fcdd"}),
    "receptive_field": (1100, None, None, {"fcdd", "hsc", "ae"}),
    "screw_small": (1, "FCDD_CNN224", None, {"fcdd"}),
    "textures": (15, None, None, {"fcdd"}),
    "textures_few_maps": (60, None, None, {"fcdd"}),
}


def test_every_spec_is_listed_here() -> None:
    assert sorted(SPECS) == spec_names()


@pytest.mark.parametrize("name", SPECS)
def test_spec_is_the_experiment_it_names(name: str) -> None:
    benchmark = load_spec(name)
    runs, net, epochs, objectives = SPECS[name]
    assert (benchmark.name, len(benchmark.runs)) == (name, runs)
    assert len({run.model_dump_json() for run in benchmark.runs}) == runs
    assert {run.objective.name for run in benchmark.runs} == objectives
    fcdd = [run for run in benchmark.runs if run.objective.name == "fcdd"]
    assert net is None or {run.net.name for run in fcdd} == {net}
    assert epochs is None or {run.training.epochs for run in fcdd} == {epochs}


def test_baselines_share_data_and_seeds_with_fcdd() -> None:
    for name, (_, _, _, objectives) in SPECS.items():
        seen: dict[str, set] = {}
        for run in load_spec(name).runs:
            what = (run.data.model_dump_json(), run.seed, run.supervision.reserved_maps)
            seen.setdefault(run.objective.name, set()).add(what)
        for objective in objectives - {"fcdd"}:
            assert seen[objective] <= seen["fcdd"] or name == "receptive_field"


def test_runs_beside_published_numbers_follow_the_published_protocol() -> None:
    for name in ("mvtec", "mvtec_semi_supervised", "gauss_std"):
        assert {run.protocol for run in load_spec(name).runs} == {"published"}


def test_few_map_runs_reserve_the_same_images_at_every_k() -> None:
    for name in ("mvtec_few_maps", "textures_few_maps"):
        runs = load_spec(name).runs
        assert {run.supervision.reserved_maps for run in runs} == {4}
        fcdd = [run for run in runs if run.objective.name == "fcdd"]
        assert {run.supervision.maps_per_defect for run in fcdd} == {0, 1, 2, 4}


def test_set_and_only_select_runs() -> None:
    chosen = apply(
        load_spec("quickstart"),
        settings=["training.lr=3e-4", "net.name=FCDD_CNN28_W"],
        only=["seed=0,2", "data.normal_class=4"],
    )
    assert [run.seed for run in chosen.runs] == [0, 2]
    assert {flatten(run)["training.lr"] for run in chosen.runs} == {3e-4}
    assert {run.net.name for run in chosen.runs} == {"FCDD_CNN28_W"}


def test_only_takes_a_class_by_name_or_number() -> None:
    numbers = []
    for choice in ("weave", "3", "checker,weave", "pebbles,0"):
        chosen = apply(load_spec("textures"), settings=[], only=[f"{CLASS}={choice}"])
        numbers.append({run.data.normal_class for run in chosen.runs})
    assert numbers == [{3}, {3}, {0, 3}, {0, 4}]


def test_only_reads_a_number_before_a_name() -> None:
    own = {"data.name": "mvtec_layout", "data.classes": ["1", "0"]}
    whole = load_spec("textures").runs[0]
    runs = [change(whole, own | {CLASS: number}) for number in (0, 1)]
    chosen = apply(Benchmark("own", tuple(runs)), settings=[], only=[f"{CLASS}=1"])
    assert [run.data.class_name for run in chosen.runs] == ["0"]


def test_only_comes_before_set_whatever_their_order() -> None:
    """The net is one of FCDD's: set in the baselines too, it would be refused."""
    chosen = apply(
        load_spec("mvtec"),
        settings=["net.name=FCDD_CNN224_VGG_NOPT", "net.frozen_batch_norm=mended"],
        only=["objective.name=fcdd", "seed=0"],
    )
    assert {(run.objective.name, run.net.name) for run in chosen.runs} == {
        ("fcdd", "FCDD_CNN224_VGG_NOPT")
    }
    assert len(chosen.runs) == 15


def test_runs_that_become_equal_are_kept_once() -> None:
    assert len(apply(load_spec("quickstart"), settings=["seed=0"], only=[]).runs) == 10


def test_dry_run_lists_and_starts_nothing(tmp_path: Path) -> None:
    done = fcdd("run", "quickstart", "--dry-run", "--out", str(tmp_path / "out"))
    assert done.returncode == 0
    assert "quickstart: 30 runs; nothing was started" in done.stdout
    assert not (tmp_path / "out").exists()


BAD = [
    (("run", "nope"), "no spec 'nope'; known: cifar10, fmnist, fmnist_emnist, fmnist_small"),
    (("run", "nope.py"), "no spec file 'nope.py'"),
    (("run", "quickstart", "--set", "training.speed=1"), "no field 'training.speed'; known: "),
    (("run", "quickstart", "--set", "training.lr"), "is not of the form field=value"),
    (("run", "quickstart", "--set", "training.lr=-1"), "training.lr = -1: Input should be greater"),
    (("run", "quickstart", "--only", "seed=9"), "no run has 9; the spec has 0, 1, 2"),
    (
        ("run", "textures", "--only", "data.normal_class=weaves"),
        "no run has weaves; the spec has 0 (checker), 1 (stripes), 2 (grain), 3 (weave), 4",
    ),
    (("run", "quickstart", "--address", "ray://h:10001"), "use auto or host:port"),
    (("run", "quickstart", "--runs-per-gpu=0"), "--runs-per-gpu: runs_per_gpu 0 is neither 'auto'"),
    (("run", "quickstart", "--runs-per-gpu=-1"), "nor a whole number of at least 1"),
    (("run", "quickstart", "--runs-per-gpu=most"), "runs_per_gpu 'most' is neither 'auto' nor"),
    (("run", "quickstart", "--gpus-per-run=0"), "--gpus-per-run: gpus_per_run 0 is not a whole"),
    (
        ("run", "quickstart", "--gpus-per-run=4", "--runs-per-gpu=2"),
        "runs_per_gpu 2 and gpus_per_run 4 exclude each other",
    ),
    (
        ("run", "quickstart", "--device", "cpu", "--gpus-per-run=2"),
        "--gpus-per-run would not be used: it is for GPUs, and the runs go to 'cpu'",
    ),
    (
        ("run", "quickstart", "--device", "cpu", "--runs-per-gpu=2"),
        "--runs-per-gpu would not be used: it is for GPUs, and the runs go to 'cpu'",
    ),
    (("run", "quickstart", "--device", "cpu", "--compile"), "--compile would not be used"),
    (("run", "fmnist"), "data root"),
    (("run", "fmnist_small", "--data-root", "/nowhere"), "FashionMNIST"),
    (("run", "quickstart", "--out", "/proc/here"), "output folder '/proc/here' cannot be written"),
    (("report", "/nowhere", "--out", "/tmp/x"), "is no output folder"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input_gets_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    if arguments[0] == "run" and "--out" not in arguments:
        arguments = (*arguments, "--out", str(tmp_path / "out"))
    done = fcdd(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback() -> None:
    done = fcdd("--debug", "run", "nope")
    assert "Traceback" in done.stderr


def test_silent_tracking_server_is_refused_before_the_first_run(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    done = fcdd("run", "quickstart", "--out", str(tmp_path), "--tracking-uri", uri)
    assert done.returncode == 2
    assert "does not answer" in done.stderr
    assert "--no-tracking" in done.stderr
    assert list((tmp_path / "rows").iterdir()) == []


def test_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    )
    done = fcdd("run", "quickstart", "--out", str(tmp_path / "out"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "pip install 'fcdd[run]'" in done.stderr


def test_help_names_the_specs() -> None:
    done = fcdd("run", "--help")
    assert done.returncode == 0
    for name in spec_names():
        assert name in done.stdout


@pytest.mark.parametrize("opened", [True, False])
def test_process_that_opened_a_store_leaves_without_taking_python_apart(opened: bool) -> None:
    """pyarrow's threads outlive that now and then, which aborts a command that has succeeded."""
    program = f"""
import atexit, os, sys
from jobs import __main__
from pipeline import stores

class Kept:
    def __del__(self, write=os.write):
        write(1, b"taken apart\\n")

sys.kept = Kept()
atexit.register(print, "said goodbye", flush=True)
__main__.app = lambda: sys.exit(3)
if {opened}:
    stores.opened.add("s3://bucket")
__main__.main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout == "said goodbye\n" + ("" if opened else "taken apart\n")


def test_throughput_of_an_even_number_of_runs_is_told_by_their_median(
    tmp_path: Path, make_row: Callable[..., dict[str, Any]]
) -> None:
    results.prepare(tmp_path)
    speeds = {"a" * 16: 300.0, "b" * 16: 100.0}
    for key, speed in speeds.items():
        row = make_row(key=key, train_images_per_second=speed, train_seconds=1.0)
        results.write_row(tmp_path, row)
    said = io.StringIO()
    tell_throughput(tmp_path, speeds, time.perf_counter() - 2, Console(file=said, width=300))
    told = "2 runs in 2 s; training one run: 200 images/s (median of 2, 100 to 300)"
    assert told in said.getvalue()
