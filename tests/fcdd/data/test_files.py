"""Readers of idx files and CIFAR batches, on files made here in the true layouts."""

import gzip
import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fcdd.data.files import (
    cifar_batches,
    fingerprint,
    idx,
    idx_files,
    images_and_classes,
)

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx_bytes(array: np.ndarray, *, kind: int = 0x08) -> bytes:
    header = bytes([0, 0, kind, array.ndim])
    return header + b"".join(s.to_bytes(4, "big") for s in array.shape) + array.tobytes()


def write_batches(root: Path, contents: dict[str, bytes], *, archived: bool) -> dict[str, str]:
    """The members' MD5s, after writing them below `root` as a folder or as a .tar.gz."""
    if archived:
        with tarfile.open(root / "batches.tar.gz", "w:gz") as archive:
            for name, content in contents.items():
                member = tarfile.TarInfo(f"batches/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        (root / "batches").mkdir()
        for name, content in contents.items():
            (root / "batches" / name).write_bytes(content)
    return {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}


def read_batches(root: Path | None, members: dict[str, str]):
    return cifar_batches(
        root, name="cifar10", archive="batches.tar.gz", folder="batches", members=members
    )


class Malicious:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_plain_and_gzipped_idx_give_equal_arrays(tmp_path):
    (tmp_path / "plain").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx_bytes(IMAGES)))
    for name in ("plain", "packed"):
        np.testing.assert_array_equal(idx(tmp_path / name), IMAGES)
        assert idx(tmp_path / name).dtype == np.uint8


def test_plain_idx_is_preferred_to_the_gzipped_one(tmp_path):
    (tmp_path / "a").write_bytes(idx_bytes(IMAGES))
    (tmp_path / "a.gz").write_bytes(b"never opened")
    np.testing.assert_array_equal(idx(tmp_path / "a"), IMAGES)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (idx_bytes(IMAGES)[:-1], "holds 23 values, its header promises 24"),
        (idx_bytes(IMAGES) + b"\0", "holds 25 values, its header promises 24"),
        (idx_bytes(IMAGES)[:9], "is cut short inside its header"),
        (b"\x89PNG", "is not an idx file: it begins '89504e47'"),
        (b"", "is not an idx file: it begins ''"),
        (idx_bytes(IMAGES, kind=0x0D), "has idx element type 0x0d, only 0x08 (uint8) is read"),
    ],
)
def test_damaged_idx_is_refused_with_the_file_and_the_remedy(tmp_path, content, text):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError) as caught:
        idx(tmp_path / "a")
    remedy = "delete it and fetch it again with `fcdd run ... --download`"
    assert str(caught.value) == f"{tmp_path / 'a'} {text}; {remedy}"


@pytest.mark.parametrize("content", [gzip.compress(idx_bytes(IMAGES))[:-9], b"no gzip", b""])
def test_damaged_gzip_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"a\.gz is (damaged|not an idx file).*--download"
    ) as caught:
        idx(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_missing_idx_files_are_all_named_with_the_command_that_fetches_them(tmp_path):
    with pytest.raises(ValueError) as caught:
        idx_files(tmp_path, "fmnist", ["raw/a", "raw/b"])
    assert str(caught.value) == (
        f"'fmnist' is not under the data root {tmp_path}: expected raw/a[.gz], raw/b[.gz]; "
        "fetch it with `fcdd run ... --download`, or point --data-root or FCDD_DATA to its folder"
    )


def test_absent_data_root_names_the_option_and_the_variable():
    text = "'fmnist' is read from a data root: give --data-root or set FCDD_DATA"
    with pytest.raises(ValueError, match=text):
        idx_files(None, "fmnist", ["a"])


def test_images_without_their_labels_are_refused():
    with pytest.raises(ValueError, match=r"fmnist: images of shape \(2, 1, 3, 4\) and labels"):
        images_and_classes(IMAGES, np.zeros(3, np.uint8), source="fmnist")


def test_fingerprint_depends_on_values_shape_and_dtype_only():
    assert fingerprint(IMAGES) == fingerprint(IMAGES.copy(order="F"))
    others = [IMAGES + 1, IMAGES.reshape(2, 4, 3), IMAGES.view(np.int8)]
    assert len({fingerprint(a) for a in [IMAGES, *others]}) == 4
    assert len(fingerprint(IMAGES)) == 16


@pytest.mark.parametrize("archived", [False, True])
def test_batches_are_read_from_the_folder_or_the_archive_in_order(tmp_path, archived):
    batches = {n: {"data": IMAGES + i, "labels": [i]} for i, n in enumerate(("one", "two"))}
    contents = {name: pickle.dumps(batch, protocol=2) for name, batch in batches.items()}
    members = write_batches(tmp_path, contents, archived=archived)
    two, one = read_batches(tmp_path, dict(reversed(members.items())))
    np.testing.assert_array_equal(one["data"], IMAGES)
    np.testing.assert_array_equal(two["data"], IMAGES + 1)
    assert two["labels"] == [1]
    assert len(list(tmp_path.iterdir())) == 1  # nothing was unpacked


def test_python_2_pickle_with_numpys_old_module_name_is_read(tmp_path):
    content = pickle.dumps({"data": IMAGES}, protocol=2).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in content
    (batch,) = read_batches(tmp_path, write_batches(tmp_path, {"one": content}, archived=False))
    np.testing.assert_array_equal(batch["data"], IMAGES)


@pytest.mark.parametrize("archived", [False, True])
def test_wrong_md5_is_refused_before_unpickling(tmp_path, archived, monkeypatch):
    members = write_batches(tmp_path, {"one": b"anything"}, archived=archived)
    monkeypatch.setattr("fcdd.data.files._unpickle", lambda *_: pytest.fail("unpickled"))
    with pytest.raises(ValueError, match=rf"has MD5 {members['one']}, expected 0+: damaged"):
        read_batches(tmp_path, {"one": "0" * 32})


def test_malicious_pickle_with_the_right_md5_is_refused_and_not_executed(tmp_path):
    content = pickle.dumps(Malicious(tmp_path / "executed"), protocol=2)
    members = write_batches(tmp_path, {"one": content}, archived=False)
    with pytest.raises(ValueError, match="is refused as a pickle: it asks for "):
        read_batches(tmp_path, members)
    assert not (tmp_path / "executed").exists()


def test_unfinished_pickle_and_non_batch_are_refused(tmp_path):
    contents = {"cut": pickle.dumps({"data": 1}, protocol=2)[:-2], "list": pickle.dumps([1])}
    members = write_batches(tmp_path, contents, archived=False)
    with pytest.raises(ValueError, match=r"cut of .* is refused as a pickle"):
        read_batches(tmp_path, {"cut": members["cut"]})
    with pytest.raises(ValueError, match=r"list of .* holds a list, not a batch"):
        read_batches(tmp_path, {"list": members["list"]})


def test_truncated_archive_and_lacking_member_are_refused(tmp_path):
    members = write_batches(tmp_path, {"one": np.random.bytes(5000)}, archived=True)
    with pytest.raises(ValueError, match=r"batches\.tar\.gz lacks batches/two; delete it"):
        read_batches(tmp_path, members | {"two": ""})
    archive = tmp_path / "batches.tar.gz"
    archive.write_bytes(archive.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"batches\.tar\.gz is damaged"):
        read_batches(tmp_path, members)


def test_missing_batches_are_named_with_the_command_that_fetches_them(tmp_path):
    with pytest.raises(ValueError, match=r"expected batches\.tar\.gz, or batches/one; fetch it"):
        read_batches(tmp_path, {"one": ""})
    with pytest.raises(ValueError, match="'cifar10' is read from a data root: give --data-root"):
        read_batches(None, {"one": ""})
