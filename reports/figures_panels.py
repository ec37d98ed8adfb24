"""Figures of heatmaps: the same images for every method and seed, lowest to highest score."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.results import Place
from reports import panels, plots
from reports.evidence import all_or_none, read_shown
from reports.figures_groups import DataSet
from reports.figures_tiles import Frames, Line
from reports.files import file_name
from reports.panels import QUANTILE, Normalisation, Shown
from reports.plots import Book, Drawn

_WORDS = {
    "local": "each normalised by itself",
    "semi_global": "normalised over the images shown",
    "global": "normalised over the test set",
}
SEEDS = 3  # lines per method in the figure of seeds


@dataclass(frozen=True)
class Kept:
    """What the runs of one class kept: per method label its runs by seed, all cut to the same
    images, nominal and then anomalous, each from the lowest to the highest score of `order`."""

    runs: Mapping[str, Mapping[int, Shown]]
    num_nominal: int
    order: str

    def has_references(self, quantile: float) -> bool:
        """Whether every run can be normalised over its test set at that quantile."""
        return all(
            run.reference is not None and run.reference.at(quantile) is not None
            for seeds in self.runs.values()
            for run in seeds.values()
        )


def read(
    data: DataSet, number: int, places: Mapping[str, Place], *, per_label: int
) -> tuple[Kept | None, dict[str, dict[int, Shown]]]:
    """The common images of class `number` over all methods and seeds, ready to draw (None when no
    run has heatmaps or no image is common to all), and everything that was read, by method and
    seed."""
    everything: dict[str, dict[int, Shown]] = {}
    for method in data.methods:
        rows = method.of_class(number)
        if rows and all_or_none(rows, places, "heatmaps"):
            everything[method.label] = {
                row["seed"]: read_shown(places[row["key"]], row["key"]) for row in rows
            }
    return choose(everything, per_label=per_label), everything


def choose(everything: Mapping[str, Mapping[int, Shown]], *, per_label: int) -> Kept | None:
    """The runs cut to common images, `per_label` of each label where there are as many, in the
    order of the scores of the first method's lowest seed."""
    runs = [run for seeds in everything.values() for run in seeds.values()]
    ids = panels.common_ids(runs) if runs else np.empty(0, np.int64)
    if len(ids) == 0:
        return None
    label, seeds = next(iter(everything.items()))
    seed = min(seeds)
    leading = panels.select(seeds[seed], ids)
    scores = dict(zip(leading.ids.tolist(), (leading.scores).tolist(), strict=True))
    chosen = panels.lowest_to_highest(leading, scores, per_label=per_label)
    cut = {
        name: {one: panels.select(run, chosen) for one, run in sorted(by_seed.items())}
        for name, by_seed in everything.items()
    }
    num_nominal = int((cut[label][seed].labels == 0).sum())
    return Kept(cut, num_nominal, f"{label}, seed {seed}")


@dataclass(frozen=True)
class Look:
    """How heatmaps are shown: the quantile at which they are cut, and matplotlib's colour map."""

    quantile: float = QUANTILE
    colour_map: str = plots.HEATMAP


LOOK = Look()


@contextmanager
def books(data: DataSet, out: Path) -> Iterator[Callable[[str], Book]]:
    """Gives the PDF of each kind of figure, a page per class, and closes all at the end."""
    opened: dict[str, Book] = {}

    def book(kind: str) -> Book:
        if kind not in opened:
            opened[kind] = Book(out / f"{data.name}_{kind}.pdf")
        return opened[kind]

    try:
        yield book
    finally:
        for one in opened.values():
            one.close()


def write(
    data: DataSet,
    kept: Kept,
    out: Path,
    *,
    number: int,
    book: Callable[[str], Book],
    frames: Frames,
    look: Look = LOOK,
) -> list[Drawn]:
    """Draws the heatmaps of class `number`: normalised per image ("local") and over many ("global"
    where every run kept its reference, else "semi_global"), laid over the images, and of several
    seeds below each other."""
    class_name = dict(data.classes)[number]
    where = f"on {data.title}, nominal class {class_name}"
    order = f"Images of each label from the lowest to the highest score of {kept.order}."
    seeds = sorted({min(by_seed) for by_seed in kept.runs.values()})
    first = f"{where}, seed {', '.join(str(seed) for seed in seeds)}"
    local = f"{_WORDS['local']}, cut at the {look.quantile:g} quantile"
    wide: Normalisation = "global" if kept.has_references(look.quantile) else "semi_global"
    kinds = {
        "heatmaps_local": (_method_lines(kept, "local", look), f"Heatmaps {first}, {local}"),
        f"heatmaps_{wide}": (
            _method_lines(kept, wide, look),
            f"Heatmaps {first}, {_WORDS[wide]}, cut at the {look.quantile:g} quantile",
        ),
        "overlays": (_overlay_lines(kept, look), f"Heatmaps laid over images {first}, {local}"),
        "seeds": (_seed_lines(kept, look), f"Heatmaps of different seeds {where}, {local}"),
    }
    if all(len(by_seed) == 1 for by_seed in kept.runs.values()):
        del kinds["seeds"]
    drawn = []
    for kind, (lines, caption) in kinds.items():
        stem = out / f"{data.name}_{number}_{file_name(class_name)}_{kind}"
        drawn.append(
            frames.save(
                [*inputs(kept), *lines],
                stem,
                groups=groups(kept),
                caption=f"{caption}. {order}",
                book=book(kind),
            )
        )
    return drawn


def _method_lines(kept: Kept, normalisation: Normalisation, look: Look) -> Iterator[Line]:
    for label, by_seed in kept.runs.items():
        shades = values(by_seed[min(by_seed)], normalisation, quantile=look.quantile)
        yield Line(label, panels.colours(shades, colour_map=look.colour_map))


def _overlay_lines(kept: Kept, look: Look) -> Iterator[Line]:
    for label, by_seed in kept.runs.items():
        run = by_seed[min(by_seed)]
        shades = values(run, "local", quantile=look.quantile)
        yield Line(label, panels.overlay(run.images, shades, colour_map=look.colour_map))


def _seed_lines(kept: Kept, look: Look) -> Iterator[Line]:
    for label, by_seed in kept.runs.items():
        for seed in sorted(by_seed)[:SEEDS]:
            shades = values(by_seed[seed], "local", quantile=look.quantile)
            name = f"{label}, seed {seed}"
            yield Line(name, panels.colours(shades, colour_map=look.colour_map))


def groups(kept: Kept) -> list[tuple[str, int]]:
    """The heading above the images of each label, and their number."""
    first = next(run for seeds in kept.runs.values() for run in seeds.values())
    counts = (kept.num_nominal, len(first.ids) - kept.num_nominal)
    names = ("nominal: score low → high", "anomalous: score low → high")
    return [(name, count) for name, count in zip(names, counts, strict=True) if count]


def inputs(kept: Kept) -> Iterator[Line]:
    """The images, and below them their masks where any of them has a pixel."""
    first = next(run for seeds in kept.runs.values() for run in seeds.values())
    yield Line("input", panels.pictures(first.images))
    if first.masks is not None and first.masks.any():
        masks = np.repeat(first.masks[..., None], 3, axis=-1)
        yield Line("mask", np.where(masks, 255, 0).astype(np.uint8))


def values(run: Shown, normalisation: Normalisation, *, quantile: float) -> np.ndarray:
    """The heatmaps of `run` in [0, 1]. Raises ValueError for "global" where the run did not keep
    the reference of its test set."""
    match normalisation:
        case "local":
            return panels.normalise(run.heatmaps, quantile=quantile)
        case "semi_global":
            return panels.normalise(
                run.heatmaps, by=panels.reference(run.heatmaps, quantile=quantile)
            )
        case "global":
            by = run.reference.at(quantile) if run.reference else None
            if by is None:
                raise ValueError(
                    f"these runs did not keep the quantile {quantile:g} of their test set, which "
                    "global normalisation needs; use semi_global, over the images shown"
                )
            return panels.normalise(run.heatmaps, by=by)
