"""Time and memory of the pixel metrics of 100 images of 1000 x 1000 pixels (100 million).

    python tests/speed/pixels.py native    heatmaps at the size of the masks, smooth
    python tests/speed/pixels.py random    the same with values in no order: no bin is in the cache
    python tests/speed/pixels.py small     heatmaps of 224 x 224 under the same masks

One thread. Prints wall and processor seconds, without making the data, and the memory beyond what
was there before.
"""

import resource
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from fcdd.pixels import pixel_metrics
from fcdd.regions import truth

NUM_IMAGES, SIDE = 100, 1000


def images(kind: str) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """Crops of one random field, and of one map of blobs on three of four images."""
    stream = np.random.default_rng(0)
    field = np.abs(stream.standard_normal((1200, 1200), dtype=np.float32))
    if kind != "random":
        field = np.abs(gaussian_filter(stream.standard_normal((1200, 1200)), 8)).astype(np.float32)
    blobs = gaussian_filter(stream.standard_normal((1200, 1200)), 25) > 0.018
    side = 224 if kind == "small" else SIDE
    for i in range(NUM_IMAGES):
        top, left = (i * 37) % 200, (i * 53) % 200
        mask = blobs[top : top + SIDE, left : left + SIDE] & (i % 4 > 0)
        heatmap = field[top : top + side, left : left + side] * np.float32(1 + i / 50)
        yield torch.from_numpy(heatmap), mask


def peak_mb() -> float:
    """The largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(kind: str) -> None:
    torch.set_num_threads(1)
    started = time.perf_counter(), time.process_time()
    for _ in images(kind):
        pass
    making = time.perf_counter() - started[0], time.process_time() - started[1]
    before, started = peak_mb(), (time.perf_counter(), time.process_time())
    pairs = ((h, truth(m, (h.shape[0], h.shape[1]))) for h, m in images(kind))
    found = pixel_metrics(pairs, pixels="histogram")
    wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    print(
        f"{kind}: {wall - making[0]:.2f} s ({cpu - making[1]:.2f} s of the processor), "
        f"{peak_mb() - before:.0f} MB; bounds: AUROC {found.auroc_bound:.1e}, "
        f"AP {found.ap_bound:.1e}, PRO {found.pro_bound:.1e}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
