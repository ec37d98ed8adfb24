from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reports import plots
from reports.figures_tiles import Frames, Line, compose


def tiles(*shades: int, side: int = 32) -> np.ndarray:
    return np.stack([np.full((side, side, 3), shade, np.uint8) for shade in shades])


def test_lines_are_composed_with_gaps_between_tiles_and_groups() -> None:
    lines = [Line("a", tiles(10, 20, 30)), Line("b", tiles(40, 50, 60, side=16))]
    composed = compose(lines, sizes=(2, 1))
    assert composed.pixels.shape == (32 + 1 + 32, 32 + 1 + 32 + 5 + 32, 3)
    first, second = composed.pixels[0, :, 0], composed.pixels[-1, :, 0]
    assert first[[0, 31, 32, 33, 64, 65, 69, 70, 101]].tolist() == [
        *(10, 10, 255, 20, 20, 255, 255, 30, 30)
    ]
    assert second[[0, 33, 70]].tolist() == [40, 50, 60]
    assert composed.centres == pytest.approx((16 / 65, 49 / 65))
    assert composed.spans == (pytest.approx((0, 65 / 102)), pytest.approx((70 / 102, 1)))


def test_panels_that_share_letters_show_their_own_pictures(tmp_path: Path) -> None:
    groups = [("nominal", 1), ("anomalous", 1)]
    with plots.style():
        frames = Frames()
        for name, shade in (("one", 50), ("two", 200)):
            lines = [Line("input", tiles(shade, shade + 1))]
            frames.save(lines, tmp_path / name, groups=groups, caption="")
        Frames().save(lines, tmp_path / "again", groups=groups, caption="")
    one, two, again = (
        np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("one", "two", "again")
    )
    assert one[-1, -1].tolist() == [51, 51, 51]
    assert two[-1, -1].tolist() == [201, 201, 201]
    assert np.array_equal(two, again)
    differs = (one != two).any(-1)
    assert not differs[: round(0.15 * plots.PNG_DPI)].any()  # the names of the groups
    assert not differs[:, : round(0.8 * plots.PNG_DPI)].any()  # the names of the lines
    assert (one[:, : round(0.8 * plots.PNG_DPI)] < 100).any()  # which are there
    assert (tmp_path / "two.pdf").read_bytes() == (tmp_path / "again.pdf").read_bytes()


def test_png_says_at_what_size_it_is_printed(tmp_path: Path) -> None:
    with plots.style():
        Frames().save([Line("a", tiles(1))], tmp_path / "x", groups=[("g", 1)], caption="")
    with Image.open(tmp_path / "x.png") as image:
        assert image.size[0] == round(plots.TEXT_WIDTH * plots.PNG_DPI)
        assert image.info["dpi"] == pytest.approx((plots.PNG_DPI, plots.PNG_DPI), abs=0.1)
