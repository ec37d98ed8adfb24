"""`textures`: a synthetic data set in the layout of MVTec-AD, drawn by this program.

Five materials, each with defects of four out of five kinds from subtle to clear, and exact masks.
It needs no download, is the same on every machine, and small enough to learn from on a laptop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from fcdd.catalog import TEXTURE_NAMES
from fcdd.config import Data
from fcdd.data import texture_defects, texture_materials
from fcdd.data.layout import NOMINAL, layout_images
from fcdd.data.masks import Masks
from fcdd.data.pictures import resize
from fcdd.data.task import Images
from fcdd.data.texture_fields import COLUMNS, ROWS, SIDE

NUM_TRAIN = 160
NUM_TEST_NOMINAL = 40
NUM_TEST_PER_DEFECT = 20
_MATERIALS = {
    "checker": texture_materials.checker,
    "stripes": texture_materials.stripes,
    "grain": texture_materials.grain,
    "weave": texture_materials.weave,
    "pebbles": texture_materials.pebbles,
}
_DEFECTS = {
    "bleed": texture_defects.bleed,
    "cut": texture_defects.cut,
    "hole": texture_defects.hole,
    "scratch": texture_defects.scratch,
    "stain": texture_defects.stain,
}
# Of each material the kinds that can be seen on it.
DEFECTS_OF = {
    "checker": ("bleed", "cut", "scratch", "stain"),
    "stripes": ("cut", "hole", "scratch", "stain"),
    "grain": ("bleed", "hole", "scratch", "stain"),
    "weave": ("bleed", "cut", "hole", "stain"),
    "pebbles": ("bleed", "cut", "hole", "scratch"),
}


_PARTS = ("train", NOMINAL, *_DEFECTS)
_SEED = 20210504  # ours: the first day of ICLR 2021; another number is another data set


@dataclass(frozen=True)
class Drawn:
    """A class: uint8 RGB images [n, SIDE, SIDE, 3], and of the test images, in order, the bool
    masks [n, SIDE, SIDE], the defects ("good" for nominal ones) and the names of their files."""

    train: np.ndarray
    test: np.ndarray
    masks: np.ndarray
    defects: tuple[str, ...]
    names: tuple[str, ...]


def load(data: Data) -> Images:
    """The class `data.class_name` at `data.raw_size`, resized as MVTec-AD is; native masks.

    The same images, in the same order, as `write` writes.
    """
    drawn = draw(data.class_name)
    how = "bilinear" if data.resizing == "mended" else "nearest"
    train, test = (
        np.stack([resize(Image.fromarray(image), data.raw_size, how) for image in images])
        for images in (drawn.train, drawn.test)
    )
    return layout_images(
        train,
        test,
        masks=Masks.pack(drawn.masks, [(SIDE, SIDE)] * len(test)),
        defects=drawn.defects,
        names=[f"{data.class_name}/{name}" for name in drawn.names],
        normal_class=data.normal_class,
    )


def write(root: Path, *, names: Sequence[str] = TEXTURE_NAMES) -> None:
    """Writes the classes `names` below `root` as PNG files in the layout of MVTec-AD."""
    for name in names:
        drawn = draw(name)
        for index, image in enumerate(drawn.train):
            _save(image, root / name / f"train/{NOMINAL}/{index:03}.png")
        for image, mask, file in zip(drawn.test, drawn.masks, drawn.names, strict=True):
            _save(image, root / name / file)
            if mask.any():
                truth = file.replace("test/", "ground_truth/").replace(".png", "_mask.png")
                _save(mask.astype(np.uint8) * 255, root / name / truth)


def _save(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@lru_cache(maxsize=len(TEXTURE_NAMES))
def draw(name: str) -> Drawn:
    """The class `name` at its native size, always the same; read-only arrays."""
    train = np.stack([draw_image(name, "train", index)[0] for index in range(NUM_TRAIN)])
    numbers = {NOMINAL: NUM_TEST_NOMINAL} | dict.fromkeys(DEFECTS_OF[name], NUM_TEST_PER_DEFECT)
    places = [(part, index) for part in sorted(numbers) for index in range(numbers[part])]
    pairs = [draw_image(name, part, index) for part, index in places]
    test, masks = np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])
    for array in (train, test, masks):
        array.setflags(write=False)
    return Drawn(
        train,
        test,
        masks,
        defects=tuple(part for part, _ in places),
        names=tuple(f"test/{part}/{index:03}.png" for part, index in places),
    )


def draw_image(name: str, part: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image `index` of class `name`: uint8 RGB [SIDE, SIDE, 3] and bool mask [SIDE, SIDE].

    `part`: "train", "good" or a kind of defect, whose strength depends on `index`. The mask is True
    where the defect has touched the material.
    """
    place = [_SEED, TEXTURE_NAMES.index(name), _PARTS.index(part), index]
    material, damage, camera = (np.random.default_rng([*place, use]) for use in range(3))
    image = _MATERIALS[name](material)
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    if part in _DEFECTS:
        strength = (7 * index % NUM_TEST_PER_DEFECT) / (NUM_TEST_PER_DEFECT - 1)
        image, share = _DEFECTS[part](image, strength, damage)
        mask = share > 0
    return _photograph(image, camera), mask


def _photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`image` under uneven light of a little varying brightness, with sensor noise, in 8 bits."""
    right, down = rng.uniform(-0.06, 0.06, 2)
    light = rng.uniform(0.95, 1.05) + right * (COLUMNS / SIDE - 0.5) + down * (ROWS / SIDE - 0.5)
    noise = rng.normal(0, 0.012, (SIDE, SIDE, 1))
    return np.floor(np.clip(image * light[..., None] + noise, 0, 1) * 255 + 0.5).astype(np.uint8)
