"""Lists of image files, and pools that stay on disk."""

import contextlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcdd.data.listing import Changed, Listing
from fcdd.data.scanning import scan_classes, scan_tar, scan_tar_of_tars, scan_tree
from fcdd.data.streamed import Streamed
from fcdd.data.worker import fitted

SHAPE = (3, 8, 8)


def encoded(value: int, *, size: tuple[int, int] = (20, 12), kind: str = "PNG") -> bytes:
    """An image of (width, height), all pixels (value, 0, 0)."""
    stream = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(stream, kind)
    return stream.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def tar_bytes(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def numbered(tmp_path: Path, values: list[int | None]) -> Listing:
    """A list of images 00.png, 01.png, ... of these red values; None is a broken file."""
    files = {
        f"{i:02}.png": b"broken" if value is None else encoded(value)
        for i, value in enumerate(values)
    }
    return scan_tree(write(tmp_path / "pool", files))


def names(listing: Listing) -> list[str]:
    return [listing.name(index) for index in range(len(listing))]


CLASSES = {
    "n02/b.JPEG": encoded(2, kind="JPEG"),
    "n02/a.jpg": encoded(3, kind="JPEG"),
    "n01/z.png": encoded(1),
    "n01/notes.txt": b"no image",
    "n01/deeper/c.png": encoded(9),
    "flat.png": encoded(9),
}


def test_class_folders_are_listed_in_order_and_nothing_else_is(tmp_path):
    write(tmp_path, CLASSES)
    (tmp_path / "n01" / "link.png").symlink_to(tmp_path / "flat.png")
    (tmp_path / "n03").symlink_to(tmp_path / "n01")
    listing = scan_classes(tmp_path)
    assert names(listing) == ["n01/z.png", "n02/a.jpg", "n02/b.JPEG"]
    assert [listing.read(i) for i in range(3)] == [CLASSES[name] for name in names(listing)]
    assert [listing.group(i) for i in range(3)] == ["n01", "n02", "n02"]


def test_only_the_wanted_class_folders_are_looked_into(tmp_path):
    write(tmp_path, CLASSES)
    (tmp_path / "n01").chmod(0)
    try:
        assert names(scan_classes(tmp_path, only=["n02"])) == ["n02/a.jpg", "n02/b.JPEG"]
    finally:
        (tmp_path / "n01").chmod(0o755)


def test_kept_classes_keep_their_files_and_the_fingerprint_of_a_list_of_only_them(tmp_path):
    write(tmp_path, CLASSES)
    kept = scan_classes(tmp_path).keep(lambda group: group == "n02")
    assert names(kept) == ["n02/a.jpg", "n02/b.JPEG"]
    assert kept.read(1) == CLASSES["n02/b.JPEG"]
    assert kept.fingerprint() == scan_classes(tmp_path, only=["n02"]).fingerprint()


def test_fingerprint_follows_names_and_sizes_and_not_the_place(tmp_path):
    one = scan_classes(write(tmp_path / "one", CLASSES)).fingerprint()
    assert scan_classes(write(tmp_path / "two", CLASSES)).fingerprint() == one
    (tmp_path / "two" / "n01" / "z.png").rename(tmp_path / "two" / "n01" / "y.png")
    assert scan_classes(tmp_path / "two").fingerprint() != one
    (tmp_path / "one" / "n01" / "z.png").write_bytes(b"other")
    assert scan_classes(tmp_path / "one").fingerprint() != one


def test_tar_of_tars_gives_the_list_and_the_bytes_of_the_folders(tmp_path):
    inner = {
        wnid: tar_bytes({n.partition("/")[2]: c for n, c in CLASSES.items() if n.startswith(wnid)})
        for wnid in ("n01", "n02")
    }
    outer = tmp_path / "train.tar"
    outer.write_bytes(tar_bytes({"n02.tar": inner["n02"], "n01.tar": inner["n01"]}))
    listing = scan_tar_of_tars(outer, ["n02"])
    folders = scan_classes(write(tmp_path / "folders", CLASSES), only=["n02"])
    assert names(listing) == names(folders)
    assert [listing.read(i) for i in range(2)] == [folders.read(i) for i in range(2)]
    assert listing.fingerprint() == folders.fingerprint()
    with pytest.raises(ValueError, match=r"train\.tar lacks n07\.tar"):
        scan_tar_of_tars(outer, ["n07"])


def test_tree_and_tar_of_it_are_the_same_list(tmp_path):
    files = {"b/2.png": encoded(2), "a.png": encoded(1), "b/c/3.png": encoded(3), "x.txt": b"x"}
    tree = scan_tree(write(tmp_path / "tree", files))
    (tmp_path / "t.tar").write_bytes(tar_bytes({f"./{n}": c for n, c in files.items()}))
    tar = scan_tar(tmp_path / "t.tar")
    assert names(tree) == names(tar) == ["a.png", "b/2.png", "b/c/3.png"]
    assert [tree.read(i) for i in range(3)] == [tar.read(i) for i in range(3)]
    assert tree.fingerprint() == tar.fingerprint()


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no image in the expected layout"):
        scan_classes(write(tmp_path, {"n01/readme.txt": b""}))


def test_kept_list_is_used_until_a_file_is_added(tmp_path):
    base, cache = write(tmp_path / "data", CLASSES), tmp_path / "cache"
    first = scan_classes(base, cache=cache)
    stored = list(cache.iterdir())
    changed = stored[0].stat().st_mtime_ns
    assert names(scan_classes(base, cache=cache)) == names(first)
    assert stored[0].stat().st_mtime_ns == changed
    (base / "n01" / "new.png").write_bytes(encoded(5))
    assert names(scan_classes(base, cache=cache))[0] == "n01/new.png"


def test_damaged_kept_list_is_made_again(tmp_path):
    base, cache = write(tmp_path / "data", CLASSES), tmp_path / "cache"
    first = scan_classes(base, cache=cache)
    (kept,) = cache.iterdir()
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    assert scan_classes(base, cache=cache).fingerprint() == first.fingerprint()


def test_file_that_changed_after_it_was_listed_stops_the_run(tmp_path):
    listing = numbered(tmp_path, [1, 2, 3])
    (tmp_path / "pool" / "01.png").write_bytes(b"other")
    pool = Streamed(listing, SHAPE, "squash", workers=0)
    for use in (lambda: list(pool.serve([torch.tensor([1])])), lambda: pool.select([1])):
        with pytest.raises(Changed, match=r"01\.png has another size .* do not change a data root"):
            use()
    (tmp_path / "pool" / "01.png").unlink()
    with pytest.raises(Changed, match=r"01\.png is missing; .* same path on every node"):
        list(Streamed(listing, SHAPE, "squash", workers=1).serve([torch.tensor([1])]))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_served_images_are_those_asked_for_in_their_order(tmp_path, workers):
    values = list(range(0, 250, 5))
    pool = Streamed(numbered(tmp_path, list(values)), SHAPE, "squash", workers=workers)
    assert len(pool) == 50
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    picks = [order[:20], order[20:21], order[:0], order[21:], order[:7], order[7:30]]
    batches = list(pool.serve(picks))
    assert [tuple(batch.shape) for batch in batches] == [(len(p), *SHAPE) for p in picks]
    for pick, batch in zip(picks, batches, strict=True):
        assert batch.dtype == torch.uint8
        assert batch[:, 0, 0, 0].tolist() == [values[place] for place in pick.tolist()]
        assert (batch[:, 1:] == 0).all()
    assert pool.unreadable == ()


@pytest.mark.parametrize("workers", [0, 2])
def test_next_readable_file_stands_in_for_an_unreadable_one_and_its_name_is_kept(tmp_path, workers):
    listing = numbered(tmp_path, [10, None, None, 40, None])
    pool = Streamed(listing, SHAPE, "squash", workers=workers)
    (batch,) = pool.serve([torch.tensor([4, 0, 2, 3])])
    assert batch[:, 0, 0, 0].tolist() == [10, 10, 40, 40]
    assert pool.unreadable == ("02.png", "04.png")
    (batch,) = pool.serve([torch.tensor([1])])
    assert batch[:, 0, 0, 0].tolist() == [40]
    assert pool.unreadable == ("01.png", "02.png", "04.png")
    assert pool.fresh().unreadable == ()
    assert pool.unreadable != ()


def test_selection_takes_no_image_twice_and_grows_by_adding(tmp_path):
    values = [10, None, 30, 40, None, 60, 70]
    listing = numbered(tmp_path, values)
    places = [1, 6, 2, 4, 3]  # 1 becomes 2, so 2 becomes 3, 4 becomes 5, and 3 becomes 0
    taken = [30, 70, 40, 60, 10]
    for k in range(6):
        pool = Streamed(listing, SHAPE, "squash")
        images = pool.select(places[:k])
        assert images.dtype == np.uint8
        assert images[:, 0, 0, 0].tolist() == taken[:k]
        assert pool.unreadable == ((), ("01.png",), ("01.png", "04.png"))[(k > 0) + (k > 3)]


def test_pool_without_readable_files_is_refused(tmp_path):
    listing = numbered(tmp_path, [None, None, None])
    for workers in (0, 1):
        pool = Streamed(listing, SHAPE, "squash", workers=workers)
        with pytest.raises(ValueError, match="100 files of the pool in a row cannot be read"):
            list(pool.serve([torch.tensor([0, 1])]))
        with pytest.raises(ValueError, match="in a row cannot be read"):
            pool.select([2])


def test_processes_wait_for_the_next_epoch_and_end_with_the_pool(tmp_path):
    pool = Streamed(numbered(tmp_path, [1] * 30), SHAPE, "squash", workers=2)
    before = children()
    batches = pool.serve([torch.arange(10)] * 50)
    next(batches)
    running = children() - before
    assert len(running) == 2
    batches.close()
    assert len(list(pool.serve([torch.arange(10)] * 2))) == 2
    assert children() - before == running
    list(pool.serve([torch.arange(30)]))  # needs more memory
    assert len(children() - before) == 2 and not children() & running
    del batches, pool
    assert children() == before


def test_two_epochs_at_once_do_not_mix(tmp_path):
    pool = Streamed(numbered(tmp_path, [*range(30)]), SHAPE, "squash", workers=1)
    up, down = torch.arange(30), torch.arange(30).flip(0)
    one, two = pool.serve(list(up.split(3))), pool.serve(list(down.split(3)))
    for ours, theirs in zip(one, two, strict=True):
        assert ours[:, 0, 0, 0].tolist() == [29 - v for v in theirs[:, 0, 0, 0].tolist()]


def test_pickled_pool_serves_without_the_processes_of_the_original(tmp_path):
    pool = Streamed(numbered(tmp_path, [5, 6, 7]), SHAPE, "squash", workers=1)
    list(pool.serve([torch.tensor([0])]))
    (batch,) = pickle.loads(pickle.dumps(pool)).serve([torch.tensor([2, 1])])
    assert batch[:, 0, 0, 0].tolist() == [7, 6]


def children() -> set[str]:
    """Process numbers of the children of this process, as Linux tells them."""
    tasks = Path("/proc/self/task")
    if not tasks.exists():
        pytest.skip("needs /proc")
    found: set[str] = set()
    for task in tasks.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that just ended
            found |= set((task / "children").read_text().split())
    return found


def test_killed_worker_is_told_and_not_waited_for(tmp_path):
    pool = Streamed(numbered(tmp_path, [1] * 30), SHAPE, "squash", workers=1)
    batches = pool.serve([torch.arange(10)] * 50)
    before = children()
    next(batches)
    for process in children() - before:
        os.kill(int(process), 9)
    with pytest.raises(RuntimeError, match="a decoding process ended with -9"):
        list(batches)


def gradient(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(("width", "height"), [(500, 375), (375, 500), (100, 64), (33, 90)])
def test_crop_is_a_part_of_the_image_with_its_short_side_resized(width, height):
    picture = gradient(width, height)
    side = 32
    short = min(width, height)
    whole = picture.resize(
        (side * width // short, side * height // short), Image.Resampling.BILINEAR
    )
    expected = np.asarray(whole).transpose(2, 0, 1).astype(int)
    image = fitted(png(picture), (3, side, side), "crop", name="n01/some.png").astype(int)
    axis = 2 if width > height else 1
    distances = [
        np.abs(np.take(expected, range(start, start + side), axis) - image).max()
        for start in range(expected.shape[axis] - side + 1)
    ]
    assert min(distances) <= 1  # rounding of the filter's coefficients
    assert sum(distance <= 1 for distance in distances) == 1


def test_place_of_the_crop_is_that_of_the_file_and_spreads_over_files():
    wide = Image.fromarray(np.tile(np.arange(160, dtype=np.uint8), (16, 1))).convert("RGB")
    content = png(wide)
    lefts = [
        int(fitted(content, (3, 16, 16), "crop", name=f"n01/{i}.png")[0, 0, 0]) for i in range(600)
    ]
    again = int(fitted(content, (3, 16, 16), "crop", name="n01/7.png")[0, 0, 0])
    assert again == lefts[7]
    assert min(lefts) <= 3 and max(lefts) >= 141  # 0 to 144
    assert abs(np.mean(lefts) - 72) < 5 * 41.9 / np.sqrt(600)  # uniform on 0 to 144: std 41.9


def test_squash_and_gray_are_as_pillow_makes_them():
    picture = gradient(50, 30)
    small = picture.resize((10, 20), Image.Resampling.BILINEAR)
    colour = fitted(png(picture), (3, 20, 10), "squash", name="a.png")
    np.testing.assert_array_equal(colour, np.asarray(small).transpose(2, 0, 1))
    gray = fitted(png(picture), (1, 20, 10), "squash", name="a.png")
    np.testing.assert_array_equal(gray[0], np.asarray(small.convert("L")))
