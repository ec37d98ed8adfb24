"""How every figure looks: sizes, fonts, colours, and files with the same bytes each time.

Figures are drawn with matplotlib's object interface (no global figure), at the width of a page, in
a serif face that comes with matplotlib. Methods differ in colour *and* in dashes and markers, so
they stay apart in gray and for the colour-blind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT_WIDTH = 5.5  # inches: the text block of ICLR and NeurIPS
PNG_DPI = 160
# Okabe & Ito 2008 (Color Universal Design), in an order whose neighbours differ in lightness too.
PALETTE = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#D55E00")
DASHES = ("-", (0, (5, 1.2)), (0, (1.2, 1)), (0, (5, 1, 1.2, 1)), (0, (8, 1.5)), (0, (3, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
# The two labels, in colour and hatching.
NOMINAL, ANOMALOUS = "#56B4E9", "#D55E00"
LEGEND_COLUMNS = 3
HEATMAP = "inferno"  # lightness rises with the value, also in gray; the paper's own is "jet"

# Same figures, same bytes.
_NO_DATES = {"CreationDate": None, "Producer": None, "Creator": None}
_RC: Any = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "mathtext.fontset": "stix",
    "text.parse_math": False,  # a class may be called "$a$"
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "pdf.fonttype": 42,  # text stays text, as journals ask
    "svg.hashsalt": "fcdd",
    "image.interpolation": "nearest",
}


@dataclass(frozen=True)
class Drawn:
    """A figure on disk, and what it shows, as a caption in plain text."""

    name: str
    caption: str
    pdf: Path
    png: Path
    page: int = 1

    @property
    def paths(self) -> list[Path]:
        """The files it stands in; a PDF of several pages holds other figures too."""
        return [self.pdf, self.png]


@contextmanager
def style() -> Iterator[None]:
    """Inside, figures have the project's look; outside, matplotlib's settings are as before."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        yield


def blank(width: float, height: float) -> "Figure":
    """An empty figure of that many inches, on no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of the method at that place, for a line. Repeats after 6 x 6 places."""
    turn = number + number // len(PALETTE)
    return {"color": PALETTE[number % len(PALETTE)], "linestyle": DASHES[turn % len(DASHES)]}


def marker(number: int) -> str:
    """The marker of the method at that place."""
    return MARKERS[number % len(MARKERS)]


def panels(
    count: int,
    *,
    columns: int,
    width: float = TEXT_WIDTH,
    panel_height: float = 1.0,
    left: float = 0.45,
    bottom: float = 0.42,
    top: float = 0.2,
    gaps: tuple[float, float] = (0.12, 0.26),
    sharex: bool = True,
    sharey: bool = True,
) -> tuple["Figure", list["Axes"]]:
    """A figure with `count` panels in rows of `columns` and all margins in inches, so that nothing
    depends on a solver. Shared axes carry their numbers at the rim only."""
    columns = min(columns, count)
    rows = -(-count // columns)
    across, down = gaps
    height = top + rows * panel_height + (rows - 1) * down + bottom
    panel_width = (width - left - 0.08 - (columns - 1) * across) / columns
    figure = blank(width, height)
    axes: list[Axes] = []
    for place in range(count):
        row, column = divmod(place, columns)
        box = (
            (left + column * (panel_width + across)) / width,
            (height - top - row * (panel_height + down) - panel_height) / height,
            panel_width / width,
            panel_height / height,
        )
        first = axes[0] if axes else None
        ax = figure.add_axes(
            box, sharex=first if sharex else None, sharey=first if sharey else None
        )
        last = place + columns >= count  # nothing below
        ax.tick_params(labelbottom=last or not sharex, labelleft=column == 0 or not sharey)
        axes.append(ax)
    return figure, axes


def logarithmic(ax: "Axes", axis: str) -> None:
    """Makes an axis ("x" or "y") logarithmic, its numbers written out: 0.01, 0.1, 1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    getattr(ax, f"set_{axis}scale")("log")
    chosen = getattr(ax, f"{axis}axis")
    low, high = sorted(getattr(ax, f"get_{axis}lim")())
    chosen.set_major_locator(LogLocator(numticks=4, subs=(1.0,) if high / low > 20 else (1, 2, 5)))
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    chosen.set_minor_formatter(NullFormatter())


def shortened(text: str, length: int = 18) -> str:
    """`text` cut to `length` characters, the last then an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def counted(count: int | str, noun: str) -> str:
    """ "1 seed", "3 seeds", "1 to 2 seeds"."""
    return f"{count} {noun}" + ("" if str(count) == "1" else "s")


def margin(names: Sequence[str]) -> float:
    """Inches that the longest of the names takes beside an axis."""
    return 0.22 + 0.055 * max(len(shortened(name)) for name in names)


def top(entries: int, *, title: bool) -> float:
    """Inches above the panels for a legend of that many entries, and a title."""
    return 0.06 + 0.14 * -(-entries // LEGEND_COLUMNS) + (0.2 if title else 0.06)


def axis_names(figure: "Figure", x: str, y: str) -> None:
    """One label per axis for the whole figure."""
    height = figure.get_figheight()
    figure.text(0.53, 0.05 / height, x, ha="center", va="bottom")
    figure.text(0.05 / figure.get_figwidth(), 0.5, y, rotation=90, ha="left", va="center")


def legend(figure: "Figure", entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """The legend along the upper rim."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=label, **look) for label, look in entries]
    height = figure.get_figheight()
    figure.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.02 / height),
        ncols=min(LEGEND_COLUMNS, len(entries)),
        borderpad=0.1,
        labelspacing=0.25,
        columnspacing=1.4,
    )


class Book:
    """A PDF of several pages: fonts are embedded once, which is most of a small page's time."""

    def __init__(self, path: Path) -> None:
        from matplotlib.backends.backend_pdf import PdfPages

        self.path = path
        self._pages = PdfPages(path, metadata=_NO_DATES)

    def add(self, figure: "Figure") -> int:
        """Appends `figure` and returns the number of its page, from 1."""
        self._pages.savefig(figure)
        return self._pages.get_pagecount()

    def close(self) -> None:
        """Writes the file's end; without it the PDF cannot be read."""
        self._pages.close()


def save(figure: "Figure", stem: Path, *, caption: str, book: Book | None = None) -> Drawn:
    """Writes STEM.png, and STEM.pdf or a page of `book`, without dates and program versions."""
    png = stem.with_name(f"{stem.name}.png")
    save_pixels(pixels(figure), png)
    return save_pdf(figure, stem, png, caption=caption, book=book)


def pixels(figure: "Figure") -> np.ndarray:
    """`figure` as it is printed in a PNG, uint8 [h, w, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    before = figure.dpi
    figure.set_dpi(PNG_DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    figure.set_dpi(before)
    return drawn


def save_pixels(drawn: np.ndarray, path: Path) -> None:
    """Writes uint8 [h, w, 3] as a PNG that says at what size it is printed."""
    from PIL import Image

    # Level 1 of 9: a tenth larger and three times as fast.
    Image.fromarray(drawn).save(path, format="PNG", dpi=(PNG_DPI, PNG_DPI), compress_level=1)


def save_pdf(figure: "Figure", stem: Path, png: Path, *, caption: str, book: Book | None) -> Drawn:
    """Writes STEM.pdf or a page of `book` beside the `png` that is there already."""
    if book is not None:
        return Drawn(stem.name, caption, book.path, png, page=book.add(figure))
    pdf = stem.with_name(f"{stem.name}.pdf")
    figure.savefig(pdf, metadata=_NO_DATES)
    return Drawn(stem.name, caption, pdf, png)
