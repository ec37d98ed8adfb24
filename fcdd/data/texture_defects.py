"""Five kinds of defects, drawn onto a material: what they change, and where.

Each takes a piece of material, float64 RGB [SIDE, SIDE, 3], and a strength between 0 (subtle) and 1
(clear), and returns the changed image and how much each pixel belongs to the defect, [SIDE, SIDE]
between 0 and 1. Where that is 0, nothing is changed.
"""

import numpy as np

from fcdd.data.texture_fields import SIDE, along, blend, clouds, edge, turned

Defect = tuple[np.ndarray, np.ndarray]

_DYES = np.array(  # blue, red, green, violet, yellow
    [
        [0.16, 0.20, 0.55],
        [0.55, 0.14, 0.20],
        [0.12, 0.42, 0.24],
        [0.45, 0.16, 0.48],
        [0.62, 0.48, 0.08],
    ]
)


def scratch(image: np.ndarray, strength: float, rng: np.random.Generator) -> Defect:
    """A thin bent line: more often bright, where fresh material shows, than dark."""
    steps = np.linspace(-1, 1, 9)
    headings = rng.uniform(0, 2 * np.pi) + rng.uniform(-0.5, 0.5) * steps
    length = rng.uniform(34, 58) + 24 * strength
    points = np.cumsum(np.stack([np.sin(headings), np.cos(headings)], axis=1), axis=0) * length / 9
    points = points - points.mean(axis=0) + _place(rng, margin=26)
    width = rng.uniform(1.8, 2.4) + 1.6 * strength
    near = 1 - edge(along(points) - width / 2, width=1.2)
    tint = 0.95 if rng.random() < 0.7 else 0.12
    share = (0.35 + 0.45 * strength) * near * (0.85 + 0.15 * clouds(rng, (30, 30)))
    return blend(image, np.full(3, tint), share), near


def stain(image: np.ndarray, strength: float, rng: np.random.Generator) -> Defect:
    """A dried puddle: darkened inside, darkest along its ragged rim."""
    inside = _blob(rng, radius=rng.uniform(8, 15), ragged=0.28)
    share = edge(inside, width=2.5)
    rim = share * (1 - edge(inside - 2.5, width=3))
    tint = np.array([0.42, 0.36, 0.28]) + rng.uniform(-0.06, 0.06, 3)
    darkness = (0.26 + 0.42 * strength) * share + (0.10 + 0.15 * strength) * rim
    return image * (1 - darkness[..., None] * (1 - tint)), share


def hole(image: np.ndarray, strength: float, rng: np.random.Generator) -> Defect:
    """A small hole into the dark, with a paler, frayed rim."""
    inside = _blob(rng, radius=rng.uniform(3.2, 4.6) + 3 * strength, ragged=0.22)
    rim = edge(inside + 1.6, width=1.6)
    pale = image + (0.10 + 0.12 * strength) * rim[..., None]
    depth = (0.55 + 0.35 * strength) * edge(inside, width=1.4)
    return blend(pale, np.array([0.08, 0.07, 0.07]), depth), rim


def cut(image: np.ndarray, strength: float, rng: np.random.Generator) -> Defect:
    """A piece that was cut out and put back displaced and turned over: paler, with a dark seam."""
    down, across = turned(rng.uniform(0, 180), centre=_place(rng, margin=24))
    height, width = rng.uniform(9, 14, 2) + np.array([0, rng.uniform(0, 8)])  # halves
    inside = np.minimum(height - np.abs(down), width - np.abs(across))
    share = edge(inside, width=1.2)
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(4, 6) + 4 * strength
    steps = np.array([round(shift * np.sin(angle)), round(shift * np.cos(angle))])
    source = np.arange(SIDE) + steps[:, None]  # [2, SIDE]: rows and columns it is taken from
    source = np.clip(source, 0, SIDE - 1)
    pale = 0.5 * image.mean(axis=(0, 1)) + 0.48
    back = image[source[0]][:, source[1]] * (0.80 - 0.35 * strength)
    moved = blend(image, back + pale * (0.20 + 0.35 * strength), share)
    seam = share * (1 - edge(inside - 1.6, width=1.4))
    return blend(moved, np.array([0.12, 0.11, 0.10]), (0.15 + 0.35 * strength) * seam), share


def bleed(image: np.ndarray, strength: float, rng: np.random.Generator) -> Defect:
    """Dye that has run: a cloudy streak of another hue, as bright as what it covers."""
    stretch = rng.uniform(1.3, 2.0)
    inside = _blob(rng, radius=rng.uniform(8, 13), ragged=0.35, stretch=stretch)
    share = edge(inside, width=4)
    dye = _DYES[rng.integers(len(_DYES))]
    bright = image.mean(axis=2, keepdims=True) * (0.45 + 0.55 * dye / dye.mean())
    amount = (0.35 + 0.45 * strength) * share * (0.85 + 0.15 * clouds(rng, (16, 16)))
    return blend(image, 0.9 * bright, amount), share


def _place(rng: np.random.Generator, *, margin: float) -> tuple[float, float]:
    down, across = rng.uniform(margin, SIDE - margin, 2)
    return float(down), float(across)


def _blob(
    rng: np.random.Generator, *, radius: float, ragged: float, stretch: float = 1.0
) -> np.ndarray:
    """About the distance of each pixel inwards from the border of an uneven disc, in pixels.

    Its radius varies around `radius` by about a share of `ragged`; its length is `stretch`^2 times
    its width."""
    centre = _place(rng, margin=radius * stretch + 6)
    down, across = turned(rng.uniform(0, 180), centre=centre)
    down, across = down / stretch, across * stretch
    direction = np.arctan2(down, across)
    uneven = np.zeros((SIDE, SIDE))
    for waves in (1, 2, 3, 4, 5, 7):
        uneven += np.cos(waves * direction + rng.uniform(0, 2 * np.pi)) * rng.uniform(0.2, 0.6)
    return radius * (1 + ragged * uneven / 2) - np.sqrt(down**2 + across**2)
