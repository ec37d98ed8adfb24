"""Decoding of image files and masks, on files made here."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from fcdd.data import pictures
from fcdd.data.pictures import centre, cover, decode, decode_mask, is_image, nearest, resize

NOISE = np.random.default_rng(0).integers(0, 256, (12, 17, 3), np.uint8)


def encoded(array: np.ndarray, kind: str = "PNG", *, mode: str | None = None, **options) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(stream, kind, **options)
    return stream.getvalue()


def deep_png(array: np.ndarray) -> bytes:
    """A PNG of 16 bits per RGB channel, which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    h, w, _ = array.shape
    header = struct.pack(">IIBBBBB", w, h, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_back_every_value(kind):
    np.testing.assert_array_equal(decode(encoded(NOISE, kind), mode="RGB"), NOISE)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_are_read(kind):
    plain = np.full((16, 16, 3), 90, np.uint8)
    assert np.abs(np.asarray(decode(encoded(plain, kind), mode="RGB")).astype(int) - 90).max() <= 3


def test_gray_becomes_three_equal_channels_and_colour_becomes_luma():
    np.testing.assert_array_equal(
        decode(encoded(NOISE[..., 0]), mode="RGB"), np.repeat(NOISE[..., :1], 3, axis=2)
    )
    luma = NOISE.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(np.asarray(decode(encoded(NOISE), mode="L")) - luma).max() <= 1


def test_palette_cmyk_and_transparency_become_the_colours_they_show():
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[:2] = (255, 0, 0)
    palette = encoded(colours, mode="P")
    assert Image.open(io.BytesIO(palette)).mode == "P"
    np.testing.assert_array_equal(decode(palette, mode="RGB"), colours)
    plain = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    cmyk = decode(encoded(plain, "JPEG", mode="CMYK", quality=95), mode="RGB")
    assert np.abs(np.asarray(cmyk).astype(int) - [200, 100, 50]).max() <= 4
    clear = np.dstack([NOISE, np.zeros((12, 17), np.uint8)])
    np.testing.assert_array_equal(decode(encoded(clear), mode="RGB"), NOISE)


DEEP = np.full((8, 8), 60000, np.uint16)


@pytest.mark.parametrize(
    "content",
    [
        encoded(DEEP),
        encoded(DEEP, "TIFF"),
        encoded(np.full((8, 8), 0.5, np.float32), "TIFF"),
        encoded(np.full((8, 8), 70000, np.int32), "TIFF"),
        deep_png(np.full((3, 4, 3), 60000)),
        b"P6 2 1 65535\n" + bytes(12),
        b"P5 2 1 65535\n" + bytes(4),
    ],
)
def test_more_than_8_bits_are_refused(content):
    with pytest.raises(ValueError, match=r"^a\.png cannot .* of more than 8 bits .*convert it"):
        decode(content, mode="RGB", name="a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM"])
def test_truncated_image_is_refused_not_filled_up(kind):
    large = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    content = encoded(large, kind)
    with pytest.raises(ValueError, match=r"^x/a\.png cannot be read as an image: "):
        decode(content[: len(content) * 2 // 3], mode="RGB", name="x/a.png")


def test_empty_foreign_and_unknown_content_is_refused():
    with pytest.raises(ValueError, match=r"^a\.png is an empty file; fetch it again$"):
        decode(b"", mode="RGB", name="a.png")
    for content in (b"no image", encoded(NOISE, "GIF"), b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        with pytest.raises(ValueError, match=r"^a\.png cannot be read as an image: "):
            decode(content, mode="RGB", name="a.png")


def test_enormous_image_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 12 * 17 - 1)
    with pytest.raises(ValueError, match="17 x 12 pixels are more than 203; scale it down"):
        decode(encoded(NOISE), mode="RGB")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 12 * 17)
    assert decode(encoded(NOISE), mode="RGB").size == (17, 12)


@pytest.mark.parametrize("pixels", [150, 90])  # Pillow refuses twice its limit and warns at once
def test_decompression_bomb_of_pillow_is_a_value_error(monkeypatch, pixels):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    with pytest.raises(ValueError, match="decompression bomb.*; scale it down"):
        decode(encoded(NOISE), mode="RGB")


def test_draft_decodes_a_much_larger_jpeg_small_and_nothing_else():
    large = encoded(np.full((400, 600, 3), 90, np.uint8), "JPEG")
    assert decode(large, mode="RGB", draft=(40, 40)).size == (150, 100)
    assert decode(large, mode="RGB", draft=(150, 150)).size == (600, 400)
    png = encoded(np.full((400, 600, 3), 90, np.uint8))
    assert decode(png, mode="RGB", draft=(40, 40)).size == (600, 400)


@pytest.mark.parametrize("name", ["a.PNG", "x/b.jpeg", "c.tif", "d.ppm"])
def test_known_suffixes_in_any_case_are_images(name):
    assert is_image(name)
    assert not is_image(name + ".txt")


@pytest.mark.parametrize("size", [(7, 9), (30, 40), (12, 17), (5, 34)])
def test_nearest_resize_picks_the_pixels_of_torchs_interpolate(size):
    tensor = torch.from_numpy(NOISE).permute(2, 0, 1)[None].float()
    expected = F.interpolate(tensor, size=size)[0].to(torch.uint8).numpy()
    np.testing.assert_array_equal(resize(Image.fromarray(NOISE), size, "nearest"), expected)


def test_nearest_takes_the_first_of_each_block():
    assert nearest(8, 4).tolist() == [0, 2, 4, 6]
    assert nearest(2, 6).tolist() == [0, 0, 0, 1, 1, 1]


def test_bilinear_resize_averages_blocks():
    blocks = np.zeros((8, 8), np.uint8)
    blocks[::2, ::2] = 200  # every block of 2 x 2 has mean 50
    # Pillow's triangle filter reaches 2 pixels: away from the border every weighted mean is 50.
    inside = resize(Image.fromarray(blocks), (4, 4), "bilinear")[0, 1:-1, 1:-1]
    assert inside.shape == (2, 2)
    assert (inside == 50).all()


def test_resize_squashes_and_puts_channels_first():
    assert resize(Image.fromarray(NOISE), (5, 6), "bilinear").shape == (3, 5, 6)
    assert resize(Image.fromarray(NOISE[..., 0]), (5, 6), "nearest").shape == (1, 5, 6)


@pytest.mark.parametrize(
    ("native", "size", "expected"),
    [
        ((375, 500), (248, 248), (248, 330)),  # int(248 * 500 / 375), as torchvision
        ((500, 375), (248, 248), (330, 248)),
        ((248, 248), (248, 248), (248, 248)),
        ((100, 300), (50, 50), (50, 150)),
        ((100, 300), (20, 80), (26, 80)),
    ],
)
def test_cover_keeps_the_proportions_and_just_covers(native, size, expected):
    picture = Image.fromarray(np.zeros((*native, 3), np.uint8))
    assert cover(picture, size).shape == (3, *expected)


def test_centre_is_cut_as_torchvision_cuts_it():
    image = np.arange(2 * 7 * 8).reshape(2, 7, 8)
    assert centre(image, (4, 4)).shape == (2, 4, 4)
    assert centre(image, (4, 4))[0, 0, 0] == image[0, 2, 2]  # round(1.5) = 2, round(2) = 2
    np.testing.assert_array_equal(centre(image, (7, 8)), image)


@pytest.mark.parametrize("value", [1, 128, 255])
def test_mask_of_zero_and_one_other_value_is_two_valued(value):
    expected = np.zeros((5, 7), bool)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(
        decode_mask(encoded((expected * value).astype(np.uint8))), expected
    )
    assert not decode_mask(encoded(np.zeros((5, 7), np.uint8))).any()
    assert decode_mask(encoded(np.full((5, 7), value, np.uint8))).all()


def test_bilevel_palette_and_coloured_masks_are_read():
    expected = np.zeros((5, 7), bool)
    expected[1:3, 2:5] = True
    red = np.where(expected[..., None], np.array([255, 0, 0]), 0).astype(np.uint8)
    for content in (
        encoded(expected),
        encoded(red),
        encoded(red, mode="P"),
    ):
        np.testing.assert_array_equal(decode_mask(content), expected)


def test_mask_of_more_values_is_refused_and_named():
    smooth = np.zeros((5, 7), np.uint8)
    smooth[2, 2:5] = (100, 255, 100)
    with pytest.raises(ValueError) as caught:
        decode_mask(encoded(smooth), name="ground_truth/cut/0_mask.png")
    assert str(caught.value) == (
        "ground_truth/cut/0_mask.png is a mask of 3 values, but only 0 (nominal) and one other "
        "(anomalous) are possible; save it with two values, in a lossless format"
    )


def test_two_colours_of_one_brightness_are_two_values():
    # Both colours have luma 76, so a gray mask would not tell them apart.
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0], colours[1] = (255, 0, 0), (0, 130, 0)
    assert len(np.unique(np.asarray(Image.fromarray(colours).convert("L")))) == 2
    with pytest.raises(ValueError, match="is a mask of 3 values"):
        decode_mask(encoded(colours))
