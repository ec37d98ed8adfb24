"""Fields over a square image that materials and defects are made of: noise, edges, distances.

Arrays are float64 [SIDE, SIDE]. Everything here is a fixed sequence of elementary operations in
double precision, so that rounding to 8 bits gives the same pixels on every machine.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np

SIDE = 128
ROWS, COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)


def clouds(rng: np.random.Generator, cells: tuple[float, float]) -> np.ndarray:
    """Smooth noise between -1 and 1: random values at `cells` (down, across) lattice cells over the
    image, at a random place of the lattice, joined smoothly."""
    (above, down), (left, across) = (_joints(cell, int(rng.integers(8))) for cell in cells)
    lattice = rng.random((above[-1] + 2, left[-1] + 2)) * 2 - 1
    rows = lattice[above] + (lattice[above + 1] - lattice[above]) * down[:, None]
    return rows[:, left] + (rows[:, left + 1] - rows[:, left]) * across


@lru_cache(maxsize=256)
def _joints(cells: float, eighth: int) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel along an axis the lattice point before it, and the weight of the next one;
    `eighth` shifts the lattice by eighths of a cell."""
    place = np.arange(SIDE) * (cells / SIDE) + eighth / 8
    before = np.floor(place).astype(np.int64)
    part = place - before
    return before, part * part * (3 - 2 * part)


def turned(degrees: float, *, centre: tuple[float, float] = (0.0, 0.0)) -> tuple[np.ndarray, ...]:
    """Coordinates (down, across) in pixels in axes turned by `degrees` about `centre`."""
    angle = np.deg2rad(degrees)
    down, across = ROWS - centre[0], COLUMNS - centre[1]
    return (
        down * np.cos(angle) - across * np.sin(angle),
        down * np.sin(angle) + across * np.cos(angle),
    )


def edge(distance: np.ndarray, *, width: float = 1.0) -> np.ndarray:
    """0 where `distance` is below -width / 2, 1 above width / 2, smooth between."""
    part = np.clip(distance / width + 0.5, 0, 1)
    return part * part * (3 - 2 * part)


def blend(image: np.ndarray, colour: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`image` [h, w, 3] with a share [h, w] of `colour` ([3] or [h, w, 3])."""
    return image + (colour - image) * share[..., None]


def along(points: np.ndarray) -> np.ndarray:
    """Distance of each pixel from the line through `points` [k, 2] (row, column), in pixels."""
    nearest = np.full((SIDE, SIDE), np.inf)
    for (row, column), (next_row, next_column) in pairwise(points):
        down, across = next_row - row, next_column - column
        length = down * down + across * across
        part = ((ROWS - row) * down + (COLUMNS - column) * across) / length
        part = np.clip(part, 0, 1)
        square = (ROWS - row - part * down) ** 2 + (COLUMNS - column - part * across) ** 2
        nearest = np.minimum(nearest, square)
    return np.sqrt(nearest)
