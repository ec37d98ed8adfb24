"""What runs need before they can start: images, pools, pretrained weights, and room in the data."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from fcdd.catalog import OWN_CLASSES, PRETRAINED_NETS
from fcdd.config import Run
from fcdd.data import few_maps
from fcdd.data.leaks import refuse_leaks
from fcdd.data.load import images_name, load
from fcdd.data.outliers import load_pool, pool_name
from fcdd.data.task import Images, Pool
from fcdd.nets.weights import load_weights
from pipeline.benchmark import Benchmark

_LONG_SECONDS = 1.0  # loading that takes longer is told


@dataclass(frozen=True)
class Sources:
    """Where data, pool and pretrained weights lie; none of it decides a result."""

    data_root: Path | None
    pool: Path | None
    weights: Path | None
    cache: Path | None
    download: bool


def load_all(
    benchmark: Benchmark, sources: Sources, console: Console
) -> tuple[dict[str, Images], dict[str, Pool]]:
    """The images and pools of all runs by `images_name` and `pool_name`, each loaded once.

    Raises ValueError for whatever would make a run fail that can be seen beforehand: missing or
    damaged data and weights, too few images, test images among the training images.
    """
    _check_weights(benchmark, sources)
    images: dict[str, Images] = {}
    pools: dict[str, Pool] = {}
    for run in benchmark.runs:
        if (name := images_name(run.data)) not in images:
            images[name] = _images(run, sources, console)
        if run.outliers.source != "none" and (name := pool_name(run)) not in pools:
            pools[name] = _pool(run, sources, console)
    checked: set[tuple[str, str, int]] = set()
    for run in benchmark.runs:
        mine, pool = images[images_name(run.data)], pools.get(pool_name(run))
        _check_room(run, mine, pool)
        same = (images_name(run.data), pool_name(run), run.data.normal_class)
        if same not in checked and (
            run.data.name in OWN_CLASSES or run.outliers.source == "folder"
        ):
            refuse_leaks(mine, pool, run=run)
        checked.add(same)
    return images, pools


def _check_weights(benchmark: Benchmark, sources: Sources) -> None:
    """Raises ValueError where a net cannot start from its weights; reads each file once."""
    trunks = {
        "vgg11_bn" if run.net.trunk is None else run.net.trunk: run.net.name
        for run in benchmark.runs
        if run.net.name in PRETRAINED_NETS or run.net.pretrained
    }
    for trunk, net in trunks.items():
        load_weights(trunk, file=sources.weights, net=net)
    if sources.weights is not None and not trunks:
        raise ValueError(
            f"--weights {sources.weights} would not be used: no net of {benchmark.name!r} starts "
            "from pretrained weights; leave it out"
        )


def _images(run: Run, sources: Sources, console: Console) -> Images:
    started = time.perf_counter()
    images = load(run.data, sources.data_root, download=sources.download, cache=sources.cache)
    if (seconds := time.perf_counter() - started) > _LONG_SECONDS:
        _tell(
            console,
            f"{images_name(run.data)}: {len(images.train):,} training and {len(images.test):,} "
            f"test images in {seconds:.1f} s",
        )
    return images


def _pool(run: Run, sources: Sources, console: Console) -> Pool:
    started = time.perf_counter()
    pool = load_pool(
        run.outliers.source,
        (run.data.shape[0], *run.data.raw_size),
        root=sources.data_root,
        pool=sources.pool,
        download=sources.download,
        cache=sources.cache,
        data=run.data.name,
        exclusions=run.outliers.exclusions,
        limited=run.outliers.limit is not None,
    )
    assert pool is not None  # only source "none" has none
    seconds = time.perf_counter() - started
    _tell(console, f"outlier pool {pool_name(run)}: {len(pool.images):,} images in {seconds:.1f} s")
    if pool.unreadable:
        shown = ", ".join(pool.unreadable[:5])
        more = ", ..." if len(pool.unreadable) > 5 else ""
        files = "file" if len(pool.unreadable) == 1 else "files"
        _tell(
            console,
            f"left out {len(pool.unreadable)} unreadable {files} of the pool: {shown}{more}",
        )
    return pool


def _check_room(run: Run, images: Images, pool: Pool | None) -> None:
    limit = run.outliers.limit
    if limit is not None and pool is not None and limit > len(pool.images):
        raise ValueError(
            f"outliers.limit {limit} exceeds the {len(pool.images):,} images of pool "
            f"{run.outliers.source!r}; lower it or leave it out to use all"
        )
    supervision = run.supervision
    if (supervision.maps_per_defect or supervision.reserved_maps) and images.test_defects:
        anomalous = images.test_anomalous
        assert anomalous is not None  # data with defect types say which images have one
        few_maps.choose(run, images.test_defects, anomalous=np.asarray(anomalous))


def _tell(console: Console, text: str) -> None:
    console.print(text, highlight=False, soft_wrap=True)
