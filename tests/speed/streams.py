"""Images per second of a pool that streams from disk, and the memory that it holds."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from figures import Figure
from PIL import Image

from fcdd.data.outliers import load_pool
from fcdd.data.streamed import Streamed

_SIZE = (500, 375)  # width and height of most images of ImageNet
_SHAPE = (3, 256, 256)
_BATCH = 100  # half of a batch of 200


def streaming(*, num: int, n: int, workers: int = 2) -> Figure:
    """Images/s of `num` JPEG images in the layout of ImageNet-22k, decoded and cut to 256 pixels by
    `workers` processes, gone through n times after one to start them; by the clock."""
    with tempfile.TemporaryDirectory(prefix="fcdd-speed-") as folder:
        place = Path(folder) / "imagenet22k" / "n00000001"
        place.mkdir(parents=True)
        stream = np.random.default_rng(0)
        coarse = stream.integers(0, 256, (num, 12, 16, 3), np.uint8)
        for number, pixels in enumerate(coarse):
            picture = Image.fromarray(pixels).resize(_SIZE, Image.Resampling.BICUBIC)
            picture.save(place / f"{number:05}.jpg", quality=90)
        pool = load_pool("imagenet22k", _SHAPE, root=Path(folder), pool=None, workers=workers)
        assert pool is not None and isinstance(pool.images, Streamed)
        images, times = pool.images.fresh(), []
        for _ in range(n + 1):
            picks = list(torch.arange(num).split(_BATCH))
            started = time.perf_counter()
            served = sum(len(batch) for batch in images.serve(picks))
            times.append(time.perf_counter() - started)
            assert served == num
        return Figure(tuple(num / taken for taken in times[1:]))
