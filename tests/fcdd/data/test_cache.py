"""The cache of decoded arrays: damaged, stale, unwritable, and shared by processes."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from fcdd.data import cache
from fcdd.data.cache import Arrays, cached, checksum


def arrays(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (5, 3, 4, 6), np.uint8),
        "sizes": rng.integers(0, 99, (5, 2)),
        "bits": np.empty(0, np.uint8),
    }


def never() -> Arrays:
    pytest.fail("made again")


def assert_equal(found: Arrays, expected: Arrays) -> None:
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def the_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_kept_arrays_are_read_and_not_made_again(tmp_path, caplog):
    assert_equal(cached(arrays, folder=tmp_path / "c", name="a", source="1"), arrays())
    assert_equal(cached(never, folder=tmp_path / "c", name="a", source="1"), arrays())
    assert the_file(tmp_path / "c").name == "a.safetensors"  # no draft is left
    assert caplog.text == ""


def test_without_a_folder_nothing_is_kept():
    assert_equal(cached(arrays, folder=None, name="a", source="1"), arrays())
    assert_equal(cached(lambda: arrays(1), folder=None, name="a", source="1"), arrays(1))


def test_names_of_classes_become_names_of_files(tmp_path):
    for name in ("t-shirt/top", "../up", "a:b*"):
        cached(arrays, folder=tmp_path / "c", name=name, source="1")
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == [
        *("..%2Fup.safetensors", "a%3Ab%2A.safetensors", "t-shirt%2Ftop.safetensors")
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"no tensors at all",
        lambda content: content + b"more",
    ],
)
def test_damaged_file_is_made_again_with_a_warning(tmp_path, caplog, damage):
    cached(arrays, folder=tmp_path, name="a", source="1")
    path = the_file(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert_equal(cached(arrays, folder=tmp_path, name="a", source="1"), arrays())
    assert caplog.text.count(f"cache file {path} is made again: ") == 1
    assert_equal(cached(never, folder=tmp_path, name="a", source="1"), arrays())


def test_file_of_another_source_is_made_again_with_a_warning(tmp_path, caplog):
    cached(arrays, folder=tmp_path, name="a", source="1")
    assert_equal(cached(lambda: arrays(1), folder=tmp_path, name="a", source="2"), arrays(1))
    assert "is made again: it is of other files, or made by another version" in caplog.text
    assert_equal(cached(never, folder=tmp_path, name="a", source="2"), arrays(1))


def test_file_of_another_version_of_the_decoder_is_made_again(tmp_path, monkeypatch, caplog):
    cached(arrays, folder=tmp_path, name="a", source="1")
    monkeypatch.setattr(cache, "_MAKER", "2 pillow 99")
    assert_equal(cached(lambda: arrays(1), folder=tmp_path, name="a", source="1"), arrays(1))
    assert "made by another version" in caplog.text


@pytest.mark.parametrize("note", ["[]", "{}", "null", "not json", '{"sha256": 1}'])
def test_file_with_foreign_notes_is_made_again(tmp_path, caplog, note):
    save_file(arrays(1), tmp_path / "a.safetensors", metadata={"fcdd": note})
    assert_equal(cached(arrays, folder=tmp_path, name="a", source="1"), arrays())
    assert "is made again" in caplog.text


def test_checksum_in_the_file_is_that_of_its_arrays(tmp_path):
    cached(arrays, folder=tmp_path, name="a", source="1")
    with safe_open(the_file(tmp_path), framework="numpy") as file:
        note = json.loads(file.metadata()["fcdd"])
    assert note["sha256"] == checksum(arrays())
    assert note["source"] == "1"


def test_checksum_follows_names_types_shapes_and_values():
    one = {"a": np.arange(6, dtype=np.uint8)}
    others = [
        {"b": one["a"]},
        {"a": one["a"].view(np.int8)},
        {"a": one["a"].reshape(2, 3)},
        {"a": one["a"] + 1},
        one | {"b": np.empty(0)},
    ]
    assert len({checksum(each) for each in [one, *others]}) == 6
    assert checksum({"a": np.arange(12, dtype=np.uint8)[::2] // 2}) == checksum(one)


def test_unwritable_folder_is_said_and_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    found = cached(arrays, folder=tmp_path / "file", name="a", source="1")
    assert_equal(found, arrays())
    assert "is not kept" in caplog.text


def test_interrupted_writing_leaves_no_file(tmp_path, monkeypatch):
    def interrupted(*args, **options):
        Path(args[1]).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached(arrays, folder=tmp_path, name="a", source="1")
    assert list(tmp_path.iterdir()) == []


WORK = """
import sys
import numpy as np
from pathlib import Path
from fcdd.data.cache import cached

folder, first = Path(sys.argv[1]), int(sys.argv[2])
for value in range(first, first + 40):
    made = np.full(20_000, value, np.uint8)
    found = cached(lambda: {"a": made}, folder=folder, name="a", source=str(value))
    assert (found["a"] == made).all()
"""


def test_processes_at_once_read_whole_files_only(tmp_path):
    # Three processes write and read one name in turn: a torn file would not pass its checksum, and
    # a wrong one would not hold the value.
    processes = [
        subprocess.Popen([sys.executable, "-c", WORK, str(tmp_path), str(first)], stderr=PIPE)
        for first in range(3)
    ]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
        assert b"damaged" not in errors and b"Error" not in errors
    assert the_file(tmp_path).name == "a.safetensors"
