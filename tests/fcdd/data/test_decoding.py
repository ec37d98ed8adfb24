"""Decoding of many files: order, threads and what is kept of them. Files: test_mvtec.py."""

import io
import threading

import numpy as np
import pytest
from PIL import Image

from fcdd.data import decoding
from fcdd.data.archive import open_files
from fcdd.data.decoding import decode_files, in_threads
from fcdd.data.ragged import Ragged


def test_results_come_in_the_order_of_the_items_and_only_a_handful_is_taken_ahead():
    taken = []

    def items():
        for number in range(200):
            taken.append(number)
            yield number

    results = []
    for result in in_threads(lambda number: number * number, items()):
        results.append(result)
        assert len(taken) - len(results) <= 2 * decoding._THREADS + 1
    assert results == [number * number for number in range(200)]


def test_error_of_an_item_is_raised_in_its_turn_and_ends_the_threads():
    before = threading.active_count()

    def halve(number: int) -> int:
        if number == 5:
            raise ValueError("five is odd")
        return number

    seen = []
    with pytest.raises(ValueError, match="five is odd"):
        for result in in_threads(halve, range(100)):
            seen.append(result)
    assert seen == [0, 1, 2, 3, 4]
    assert threading.active_count() == before


def test_stopping_early_ends_the_threads():
    before = threading.active_count()
    results = in_threads(str, iter(range(100)))
    assert next(results) == "0"
    results.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
    assert threading.active_count() == before


def write_images(folder, sizes: dict[str, tuple[int, int]]) -> dict[str, np.ndarray]:
    arrays = {}
    for number, (name, size) in enumerate(sizes.items()):
        arrays[name] = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        stream = io.BytesIO()
        Image.fromarray(arrays[name]).save(stream, "PNG")
        (folder / name).write_bytes(stream.getvalue())
    return arrays


@pytest.mark.parametrize("cached", [False, True])
def test_covering_images_keep_their_proportions_and_order(tmp_path, cached):
    (tmp_path / "in").mkdir()
    sizes = {"c.png": (20, 10), "a.png": (8, 8), "b.png": (10, 25)}
    write_images(tmp_path / "in", sizes)
    for _ in range(1 + cached):
        decoded = decode_files(
            open_files(tmp_path / "in"),
            list(sizes),
            masks={},
            size=(8, 8),
            fit="cover",
            cache=tmp_path / "cache" if cached else None,
            label="x",
        )
        assert isinstance(decoded.images, Ragged)
        assert decoded.images.sizes.tolist() == [[16, 8], [8, 8], [8, 20]]
        assert decoded.masks.sizes == tuple(sizes.values())
        assert decoded.names == tuple(sizes)
        with pytest.raises(TypeError, match="only cover their size"):
            _ = decoded.array


def test_digests_name_the_native_picture_whatever_its_format_and_size_asked_for(tmp_path):
    arrays = write_images(tmp_path, {"a.png": (6, 8), "b.png": (8, 6)})
    Image.fromarray(arrays["a.png"]).save(tmp_path / "c.bmp")
    Image.fromarray(arrays["a.png"].reshape(8, 6, 3)).save(tmp_path / "d.png")
    names = ["a.png", "b.png", "c.bmp", "d.png"]
    small, large = (
        decode_files(
            open_files(tmp_path), names, masks={}, size=s, fit="squash", cache=None, label="x"
        ).digests
        for s in ((2, 2), (5, 7))
    )
    np.testing.assert_array_equal(small, large)
    a, b, c, d = (row.tobytes() for row in small)
    assert a == c
    assert len({a, b, d}) == 3
