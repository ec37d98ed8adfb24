from typing import Literal

import pytest
import torch
from torch import Tensor

from fcdd.data.randomness import generator
from fcdd.data.watermark import Mark, carriers, mark_region, marked, pattern, stamp
from fcdd.parts import Watermark

Kind = Literal["square", "cross", "text"]
Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]


def mark(kind: Kind = "square", side: int = 17, corner: Corner = "bottom_left") -> Watermark:
    return Watermark(kind=kind, side_px=side, corner=corner)


def drawn(white: Tensor) -> list[str]:
    return ["".join("#" if pixel else "." for pixel in row) for row in white.tolist()]


def test_square_is_white_in_a_black_frame() -> None:
    assert drawn(pattern(mark(side=5))) == [".....", ".###.", ".###.", ".###.", "....."]


def test_cross_is_diagonal() -> None:
    assert drawn(pattern(mark("cross", 5))) == ["#...#", ".#.#.", "..#..", ".#.#.", "#...#"]


def test_text_reads_fcdd() -> None:
    white = pattern(mark("text", 17))
    # 17 columns of the 13 that are drawn: each drawn column is there, four of them twice.
    columns = [(2 * i + 1) * 13 // 34 for i in range(17)]
    lines = drawn(white[:, [columns.index(i) for i in range(13)]])
    assert [line[1:6] for line in lines[1:8]] == [
        *("#####", "#....", "#....", "####.", "#....", "#....", "#....")
    ]
    assert [line[7:12] for line in lines[1:8]] == [
        *(".###.", "#...#", "#....", "#....", "#....", "#...#", ".###.")
    ]
    for first in (1, 7):
        assert [line[first : first + 5] for line in lines[9:16]] == [
            *("####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####.")
        ]
    assert lines[0] == lines[8] == lines[16] == "." * 13


@pytest.mark.parametrize("kind", ["square", "cross", "text"])
def test_marks_have_white_and_black_at_every_side(kind: Kind) -> None:
    for side in (17, 18, 32, 56):
        share = pattern(mark(kind, side)).double().mean().item()
        assert 0.1 < share < 0.9


def test_marks_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(ValueError, match="side_px 16 is too small for text; use at least 17"):
        pattern(mark("text", 16))
    with pytest.raises(ValueError, match="watermark.kind is 'none'"):
        pattern(Watermark(side_px=5))
    with pytest.raises(ValueError, match="side_px is not given"):
        pattern(Watermark(kind="square"))
    with pytest.raises(ValueError, match="side_px 30 does not fit into images of 28x28"):
        mark_region(mark(side=30), (28, 28))


@pytest.mark.parametrize("corner", ["top_left", "top_right", "bottom_left", "bottom_right"])
def test_stamp_changes_the_region_of_chosen_images_and_nothing_else(corner: Corner) -> None:
    watermark = mark(side=8, corner=corner)
    images = torch.randint(
        1, 255, (4, 3, 32, 64), generator=generator(0, "images"), dtype=torch.uint8
    )
    before = images.clone()
    chosen = torch.tensor([True, False, True, False])
    out = stamp(images, watermark, chosen=chosen)
    region = mark_region(watermark, (32, 64))
    assert torch.equal(images, before)
    assert torch.equal(out[~chosen], images[~chosen])
    assert torch.equal(out[:, :, ~region], images[:, :, ~region])
    assert set(out[chosen][:, :, region].unique().tolist()) == {0, 255}
    expected = torch.where(pattern(watermark), 255, 0).to(torch.uint8)
    assert torch.equal(out[0, 1][region].view(8, 8), expected)
    rows, columns = region.any(1).nonzero()[:, 0].tolist(), region.any(0).nonzero()[:, 0].tolist()
    assert rows == list(range(1, 9) if corner.startswith("top") else range(23, 31))
    assert columns == list(range(2, 10) if corner.endswith("left") else range(54, 62))


def test_images_of_floats_are_stamped_between_0_and_1() -> None:
    images = torch.full((1, 1, 20, 20), 0.5)
    out = stamp(images, mark(side=5), chosen=torch.tensor([True]))
    assert set(out.unique().tolist()) == {0.0, 0.5, 1.0}
    assert marked(images, None) is images
    assert torch.equal(marked(images, Mark(mark(side=5), torch.tensor([True]))), out)


def test_no_mark_covers_nothing() -> None:
    assert not bool(mark_region(Watermark(), (10, 10)).any())


def test_carriers_are_a_share_chosen_by_the_generator() -> None:
    chosen = carriers(200, 0.1, stream=generator(0, "watermark"))
    assert int(chosen.sum()) == 20
    assert torch.equal(chosen, carriers(200, 0.1, stream=generator(0, "watermark")))
    assert not torch.equal(chosen, carriers(200, 0.1, stream=generator(1, "watermark")))
    assert int(carriers(200, 0.0001, stream=generator(0, "w")).sum()) == 1
    assert bool(carriers(200, 1.0, stream=generator(0, "w")).all())
    more = carriers(200, 0.3, stream=generator(0, "watermark"))
    assert bool(more[chosen].all())  # a larger share holds the smaller
