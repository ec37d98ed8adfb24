"""Files of folders and tars by name."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from fcdd.data.archive import below, digest, folders, open_files, read

FILES = {
    "a/1.png": b"one",
    "a/b/2.jpg": b"two",
    "c.PNG": b"three" * 1000,
    "notes.txt": b"text",
    ".hidden.png": b"no",
    "a/._1.png": b"no",
    ".git/x.png": b"no",
    "__MACOSX/a/1.png": b"no",
}
SEEN = ["a/1.png", "a/b/2.jpg", "c.PNG", "notes.txt"]
MODES = {"t.tar": "w", "t.tar.gz": "w:gz", "t.tar.xz": "w:xz", "t.tar.bz2": "w:bz2", "t.any": "w"}


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, bytes], *, prefix: str = "") -> Path:
    mode = MODES[path.name]
    with tarfile.open(path, mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("kind", ["folder", *MODES])
def test_names_sizes_and_contents_are_those_of_the_visible_files(tmp_path, kind):
    write = write_folder if kind == "folder" else write_tar
    files = open_files(write(tmp_path / kind, FILES))
    assert dict(files.sizes) == {name: len(FILES[name]) for name in SEEN}
    assert files.images() == SEEN[:3]
    assert dict(read(files, ["c.PNG", "a/1.png"])) == {n: FILES[n] for n in ("c.PNG", "a/1.png")}
    assert dict(read(files, SEEN)) == {name: FILES[name] for name in SEEN}
    assert dict(read(files, [])) == {}
    assert folders(files.sizes) == ["a"]


@pytest.mark.parametrize("kind", ["folder", *MODES])
def test_part_below_a_folder_reads_its_own_names(tmp_path, kind):
    write = write_folder if kind == "folder" else write_tar
    part = below(below(open_files(write(tmp_path / kind, FILES)), "a"), "b")
    assert dict(part.sizes) == {"2.jpg": 3}
    assert dict(read(part, ["2.jpg"])) == {"2.jpg": b"two"}
    assert part.where("2.jpg") in (
        f"{tmp_path}/folder/a/b/2.jpg",
        f"a/b/2.jpg in {tmp_path}/{kind}",
    )


def test_of_a_folder_only_the_parts_asked_for_are_listed(tmp_path):
    write_folder(tmp_path, FILES | {"d/3.png": b"3", "d/a/4.png": b"4"})
    (tmp_path / "elsewhere").symlink_to("/")  # not asked for, so not in the way
    assert list(open_files(tmp_path, only=("d", "nowhere")).sizes) == ["d/3.png", "d/a/4.png"]


def test_of_two_members_of_one_name_the_later_counts_as_when_unpacking(tmp_path):
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        for content in (b"old", b"newer"):
            member = tarfile.TarInfo("a.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert dict(read(open_files(tmp_path / "t.tar"), ["a.png"])) == {"a.png": b"newer"}


@pytest.mark.parametrize("prefix", ["/", "../", "x/../../"])
def test_members_that_would_leave_the_folder_are_not_there(tmp_path, prefix):
    write_tar(tmp_path / "t.tar", {"1.png": b"1"}, prefix=prefix)
    assert open_files(tmp_path / "t.tar").sizes == {}


def test_changed_tar_is_indexed_anew(tmp_path):
    tar = write_tar(tmp_path / "t.tar", {"1.png": b"1"})
    assert list(open_files(tar).sizes) == ["1.png"]
    write_tar(tar, {"2.png": b"2" * 20_000})
    assert dict(read(open_files(tar), ["2.png"])) == {"2.png": b"2" * 20_000}


@pytest.mark.parametrize("name", [*MODES])
@pytest.mark.parametrize("cut", [3, 600, 1100])
def test_tar_cut_short_is_refused_wherever_it_is_cut(tmp_path, name, cut):
    # A plain tar without padding: 2 x (header + 1 block) and the two empty blocks at the end.
    content = os.urandom(512)
    tar = write_tar(tmp_path / name, {"1.png": content, "2.png": content[::-1]})
    whole = tar.read_bytes()[: 6 * 512] if MODES[name] == "w" else tar.read_bytes()
    tar.write_bytes(whole[: len(whole) - cut])
    if MODES[name] == "w" and cut == 3:
        assert len(open_files(tar).sizes) == 2  # of two empty blocks one is enough
        return
    with pytest.raises(ValueError, match=r"t\.\S+ is not a readable tar \(.*\); fetch it again$"):
        open_files(tar)


def test_what_is_neither_folder_nor_tar_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK" + bytes(1000))
    with pytest.raises(ValueError, match=r"a\.zip is not a readable tar"):
        open_files(tmp_path / "a.zip")
    with pytest.raises(ValueError, match="nowhere does not exist; correct --data-root or FCDD_DAT"):
        open_files(tmp_path / "nowhere")


def test_links_inside_are_followed_and_links_outside_refused(tmp_path):
    folder = write_folder(tmp_path / "in", {"a.png": b"1"})
    write_folder(tmp_path / "out", {"b.png": b"2"})
    (folder / "inner.png").symlink_to(folder / "a.png")
    (folder / "readme").symlink_to(tmp_path / "out" / "b.png")  # no image: not read, not refused
    assert dict(read(open_files(folder), ["inner.png"])) == {"inner.png": b"1"}
    assert sorted(open_files(folder).sizes) == ["a.png", "inner.png"]
    (folder / "outer.png").symlink_to(tmp_path / "out" / "b.png")
    with pytest.raises(ValueError, match=r"outer\.png is a link to .*out/b\.png, which is no file"):
        open_files(folder)
    (folder / "outer.png").unlink()
    (folder / "gone.png").symlink_to(folder / "nowhere")
    with pytest.raises(ValueError, match=r"gone\.png is a link to .*nowhere, which is no file"):
        open_files(folder)
    (folder / "gone.png").unlink()
    (folder / "sub").symlink_to(tmp_path / "out")
    with pytest.raises(ValueError, match="sub is a link to a folder, which is not followed"):
        open_files(folder)


def test_file_that_vanished_is_named(tmp_path):
    files = open_files(write_folder(tmp_path, {"a.png": b"1"}))
    (tmp_path / "a.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png cannot be read: No such file or directory"):
        list(read(files, ["a.png"]))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(tmp_path):
    write_folder(tmp_path, {"a/1.png": b"1"})
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(ValueError, match="a cannot be listed: Permission denied"):
            open_files(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o755)


@pytest.mark.parametrize("kind", ["folder", "t.tar", "t.tar.gz"])
def test_digest_follows_names_and_contents(tmp_path, kind):
    write = write_folder if kind == "folder" else write_tar

    def of(files: dict[str, bytes], place: str) -> str:
        (tmp_path / place).mkdir()
        opened = open_files(write(tmp_path / place / kind, files))
        return digest(opened, opened.images())

    first = of({"a.png": b"1", "b.png": b"2"}, "first")
    changed = [
        {"a.png": b"1", "b.png": b"3"},
        {"a.png": b"2", "b.png": b"1"},
        {"a.png": b"1", "c.png": b"2"},
        {"a.png": b"1"},
    ]
    assert len({first, *(of(files, str(i)) for i, files in enumerate(changed))}) == 5


def test_digest_of_a_folder_and_a_plain_tar_are_equal_and_of_the_named_files_only(tmp_path):
    folder = open_files(write_folder(tmp_path / "f", FILES))
    tar = open_files(write_tar(tmp_path / "t.tar", dict(reversed(FILES.items()))))
    assert digest(folder, SEEN) == digest(tar, SEEN)
    assert digest(folder, SEEN[:2]) != digest(folder, SEEN)
