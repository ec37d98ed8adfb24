"""Five materials, drawn: float64 RGB [SIDE, SIDE, 3], about 0 to 1. Each call is another piece."""

import numpy as np

from fcdd.data.texture_fields import COLUMNS, ROWS, SIDE, blend, clouds, edge, turned


def _near(rng: np.random.Generator, red: float, green: float, blue: float) -> np.ndarray:
    """A colour near the given one: lighter or darker, and a little of another hue."""
    return np.array([red, green, blue]) * rng.uniform(0.94, 1.06) + rng.uniform(-0.012, 0.012, 3)


def checker(rng: np.random.Generator) -> np.ndarray:
    """A floor of clay-red and cream tiles with joints, marbled, a little turned."""
    side = rng.uniform(15, 17)
    down, across = turned(rng.uniform(-5, 5))
    down, across = down / side + rng.uniform(20, 22), across / side + rng.uniform(20, 22)
    row, column = np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)
    odd = (row + column) % 2
    marble = 0.05 * clouds(rng, (14, 14)) + 0.04 * clouds(rng, (40, 40))
    tones = rng.uniform(-0.035, 0.035, (64, 64))[row, column]
    dark, light = _near(rng, 0.62, 0.36, 0.27), _near(rng, 0.84, 0.77, 0.65)
    image = np.where(odd[..., None], light, dark) + (marble + tones)[..., None]
    border = np.minimum.reduce([down - row, row + 1 - down, across - column, column + 1 - across])
    joint = 1 - edge(border * side - 0.9, width=1.2)
    return blend(image, np.array([0.42, 0.40, 0.38]), 0.8 * joint)


def stripes(rng: np.random.Generator) -> np.ndarray:
    """A striped cloth: bands of four colours, gently waved, with a fine rib."""
    down, across = turned(rng.uniform(-8, 8))
    across = across + 2.2 * clouds(rng, (3, 3)) + 0.5 * clouds(rng, (20, 20))
    place = np.mod(across / rng.uniform(30, 34) + rng.random(), 1)
    white, red = _near(rng, 0.86, 0.84, 0.78), _near(rng, 0.72, 0.45, 0.33)
    colours = (white, _near(rng, 0.28, 0.38, 0.56), white, red)
    starts = np.array([0.0, 0.34, 0.56, 0.84]) + rng.uniform(-0.015, 0.015, 4)
    image = np.broadcast_to(red, (SIDE, SIDE, 3))
    for start, colour in zip(starts, colours, strict=True):
        image = blend(image, colour, edge((place - start) * 32, width=1.4))
    image = blend(image, red, 1 - edge((place - starts[0]) * 32, width=1.4))
    rib = np.sin(2 * np.pi * (down / 2.9 + 0.3 * clouds(rng, (6, 30))))
    shade = 0.03 * rib + 0.035 * clouds(rng, (4, 4)) + 0.03 * clouds(rng, (50, 50))
    return image * (1 + shade)[..., None]


def grain(rng: np.random.Generator) -> np.ndarray:
    """A planed board: year rings cut lengthwise, fibres and short dark pores."""
    down, _ = turned(rng.uniform(-4, 4))
    bend = 9 * clouds(rng, (2, 1.2)) + 1.6 * clouds(rng, (9, 3))
    ring = np.mod((down + bend) / rng.uniform(15, 19) + rng.random(), 1)
    ring = ring**2.2 * (1 - edge((ring - 0.93) * 16, width=1.6))  # slow rise, quick fall
    fibre = 0.5 * clouds(rng, (60, 3)) + 0.5 * clouds(rng, (100, 9))
    pores = edge(clouds(rng, (70, 12)) - 0.72, width=0.25)
    light, dark = _near(rng, 0.78, 0.59, 0.40), _near(rng, 0.53, 0.34, 0.20)
    image = blend(np.broadcast_to(light, (SIDE, SIDE, 3)), dark, 0.75 * ring)
    image = image * (1 + 0.09 * fibre + 0.04 * clouds(rng, (3, 3)))[..., None]
    return image * (1 - 0.28 * pores)[..., None]


def weave(rng: np.random.Generator) -> np.ndarray:
    """A plain weave of flat threads, over and under, each thread with a tone of its own."""
    down, across = turned(rng.uniform(-4, 4))
    pitch = rng.uniform(7.2, 8.2)
    down = (down + 0.9 * clouds(rng, (4, 4))) / pitch + rng.uniform(30, 31)
    across = (across + 0.9 * clouds(rng, (4, 4))) / pitch + rng.uniform(30, 31)
    row, column = np.floor(down).astype(np.int64), np.floor(across).astype(np.int64)
    over = (row + column) % 2 == 0  # here the thread across lies on top
    around = np.where(over, down - row, across - column) - 0.5  # over the width of the upper thread
    length = np.where(over, across - column, down - row) - 0.5
    profile = np.sqrt(np.clip(1 - (1.9 * around) ** 2, 0, 1)) * (0.72 + 0.28 * np.cos(3 * length))
    rows, columns = rng.uniform(-0.07, 0.07, (2, 128))
    tone = np.where(over, rows[row], columns[column])
    fluff = 0.05 * clouds(rng, (48, 48))
    warp, weft = _near(rng, 0.72, 0.69, 0.60), _near(rng, 0.62, 0.62, 0.60)
    threads = np.where(over[..., None], warp, weft) * (1 + tone + fluff)[..., None]
    return threads * (0.35 + 0.65 * profile)[..., None]


def pebbles(rng: np.random.Generator) -> np.ndarray:
    """Rounded stones of several tones, close together, over dark gaps: a Voronoi diagram of points
    in a grid of cells, each somewhere in its cell."""
    pitch = 13.5
    count = int(SIDE / pitch) + 4  # stones per row and column, two beyond each border
    tops, lefts = np.mgrid[0:count, 0:count] + rng.uniform(0.12, 0.88, (2, count, count))
    tops, lefts = tops.ravel(), lefts.ravel()
    down = (ROWS + 1.2 * clouds(rng, (10, 10))) / pitch + 1.5
    across = (COLUMNS + 1.2 * clouds(rng, (10, 10))) / pitch + 1.5
    own = np.floor(down).astype(np.int64) * count + np.floor(across).astype(np.int64)
    first, second = np.full((2, SIDE, SIDE), np.inf)  # squared distance of the two nearest points
    owner = own
    for step in (i * count + j for i in (-1, 0, 1) for j in (-1, 0, 1)):
        stone = own + step
        square = (down - tops[stone]) ** 2 + (across - lefts[stone]) ** 2
        owner = np.where(square < first, stone, owner)
        second = np.minimum(second, np.maximum(first, square))
        first = np.minimum(first, square)
    depth = (np.sqrt(second) - np.sqrt(first)) * pitch / 2  # from the border of the stone, in px
    tones = np.array([0.60, 0.57, 0.52]) * rng.uniform(0.88, 1.12, (count * count, 1))
    tones = tones + rng.uniform(-0.025, 0.025, (count * count, 1)) * np.array([1, 0.4, -1])
    dome = 0.66 + 0.34 * np.clip(depth / 4.5, 0, 1) ** 0.6
    light = 1 + 0.16 * np.clip(tops[owner] - down + lefts[owner] - across, -1, 1)
    grit = 1 + 0.06 * clouds(rng, (60, 60)) + 0.05 * clouds(rng, (25, 25))
    image = tones[owner] * (dome * light * grit)[..., None]
    return blend(image, np.array([0.26, 0.25, 0.24]), 0.7 * (1 - edge(depth - 0.9, width=1.2)))
