"""Pools of outliers: data sets, photographs, and folders or tars of images."""

import gzip
import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fcdd.catalog import PoolName
from fcdd.config import change
from fcdd.data import cifar
from fcdd.data import folder_pool as folder_pool_module
from fcdd.data.outliers import EMNIST_FILE, MNIST_FILE, load_pool, pool_name
from fcdd.data.streamed import Streamed
from fcdd.data.worker import Shape

GRAY = (1, 28, 28)
COLOUR = (3, 32, 32)


def picture(value: int, *, size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    """An encoded RGB image, all pixels (value, 0, 0)."""
    stream = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(stream, kind)
    return stream.getvalue()


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, bytes], *, mode: str = "w:gz", prefix: str = "") -> Path:
    with tarfile.open(path, mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def named(source: PoolName, shape: Shape, root: Path | None) -> Any:
    pool = load_pool(source, shape, root=root, pool=None)
    assert pool is not None
    return pool


def folder_pool(path: Path | None, shape: Shape = COLOUR) -> Any:
    pool = load_pool("folder", shape, root=None, pool=path)
    assert pool is not None
    return pool


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True)
    header = bytes([0, 0, 8, array.ndim])
    sizes = b"".join(s.to_bytes(4, "big") for s in array.shape)
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(header + sizes + array.tobytes()))


FILES = {
    "b/2.PNG": picture(200),
    "a/1.jpg": picture(100, kind="JPEG"),
    "c.bmp": picture(50, kind="BMP"),
    "notes.txt": b"no image",
}


def test_none_is_no_pool():
    assert load_pool("none", GRAY, root=None, pool=None) is None


def test_folder_is_read_in_order_of_relative_names(tmp_path):
    pool = folder_pool(write_folder(tmp_path, FILES))
    assert pool.images.shape == (3, 3, 32, 32)
    assert pool.images.dtype == np.uint8
    assert pool.images[1:, 0, 0, 0].tolist() == [200, 50]
    assert abs(int(pool.images[0, 0, 0, 0]) - 100) <= 2  # JPEG
    assert pool.unreadable == ()


@pytest.mark.parametrize(("mode", "prefix"), [("w:gz", ""), ("w:", "./"), ("w:gz", "images/")])
def test_tar_and_folder_give_the_same_images_and_fingerprint(tmp_path, mode, prefix):
    files = FILES | {"bad.jpg": b"broken"}
    folder = folder_pool(write_folder(tmp_path / "f", files))
    shuffled = dict(reversed(files.items()))
    tar = folder_pool(write_tar(tmp_path / "t", shuffled, mode=mode, prefix=prefix))
    np.testing.assert_array_equal(folder.images, tar.images)
    assert folder.fingerprint == tar.fingerprint
    assert [Path(n).name for n in tar.unreadable] == list(folder.unreadable) == ["bad.jpg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "t"]  # nothing was unpacked


def test_fingerprint_changes_with_content_and_not_with_the_shape_asked_for(tmp_path):
    one = write_folder(tmp_path / "one", FILES)
    two = write_folder(tmp_path / "two", FILES | {"c.bmp": picture(51, kind="BMP")})
    assert folder_pool(one).fingerprint == folder_pool(one, GRAY).fingerprint
    assert folder_pool(one).fingerprint != folder_pool(two).fingerprint


def test_one_channel_is_the_luma_of_the_colour_image(tmp_path):
    pool = folder_pool(write_folder(tmp_path, {"a.png": picture(200)}), GRAY)
    assert pool.images.shape == (1, 1, 28, 28)
    assert np.unique(pool.images).tolist() == [round(0.299 * 200)]


def test_image_is_squashed_not_cropped(tmp_path):
    halves = Image.new("RGB", (64, 16), (255, 255, 255))
    halves.paste((0, 0, 0), (0, 0, 32, 16))
    halves.save(tmp_path / "a.png")
    image = folder_pool(tmp_path, GRAY).images[0, 0]
    assert (image[:, :12] == 0).all()
    assert (image[:, 16:] == 255).all()


def test_much_larger_jpeg_is_decoded_small_but_alike(tmp_path):
    ramp = np.linspace(0, 255, 1024).astype(np.uint8)
    large = Image.fromarray(np.broadcast_to(ramp, (1024, 1024)).copy())
    large.save(tmp_path / "a.jpg", quality=95)
    expected = np.asarray(large.resize((28, 28), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(folder_pool(tmp_path, GRAY).images[0, 0] - expected).max() <= 3


def test_unreadable_images_are_named_and_left_out(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "JPEG")
    deep = io.BytesIO()
    Image.fromarray(np.full((8, 8), 60000, np.uint16)).save(deep, "PNG")
    broken = {
        "cut.jpg": stream.getvalue()[:1500],
        "cut.png": picture(9)[:60],
        "deep.png": deep.getvalue(),
        "empty.jpg": b"",
        "text.png": b"no image",
    }
    pool = folder_pool(write_folder(tmp_path, broken | {"z.png": picture(7)}))
    assert pool.unreadable == tuple(broken)
    assert pool.images[:, 0, 0, 0].tolist() == [7]


def test_decompression_bomb_counts_as_unreadable(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    sizes = {"fits.png": (50, 50), "large.png": (70, 70), "huge.png": (100, 100)}
    write_folder(tmp_path, {n: picture(7, size=size) for n, size in sizes.items()})
    assert folder_pool(tmp_path).unreadable == ("huge.png", "large.png")


def test_symbolic_links_are_not_followed(tmp_path):
    write_folder(tmp_path / "outside", {"secret.png": picture(9)})
    inside = write_folder(tmp_path / "inside", {"a.png": picture(7)})
    (inside / "link.png").symlink_to(tmp_path / "outside" / "secret.png")
    (inside / "folder").symlink_to(tmp_path / "outside")
    pool = folder_pool(inside)
    assert pool.images[:, 0, 0, 0].tolist() == [7]
    assert pool.unreadable == ("link.png",)


def test_links_in_a_tar_are_not_followed(tmp_path):
    outside = write_folder(tmp_path, {"secret.png": picture(9)}) / "secret.png"
    with tarfile.open(tmp_path / "t.tar", "w") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
        archive.add(outside, "../up.png")
    pool = folder_pool(tmp_path / "t.tar")
    assert pool.unreadable == ("link.png",)
    assert len(pool.images) == 1
    assert not (tmp_path.parent / "up.png").exists()


def test_read_only_folder_is_read(tmp_path):
    folder = write_folder(tmp_path / "f", {"a.png": picture(7)})
    folder.chmod(0o555)
    try:
        assert len(folder_pool(folder).images) == 1
    finally:
        folder.chmod(0o755)


def test_truncated_tar_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    files = {f"{i}.png": stream.getvalue() for i in range(3)}
    path = write_tar(tmp_path / "t.tar.gz", files)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"t\.tar\.gz is not a readable tar .*--pool or FCDD_POOL"):
        folder_pool(path)


def test_file_that_is_no_tar_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK" + bytes(1000))
    with pytest.raises(ValueError, match=r"a\.zip is not a readable tar"):
        folder_pool(tmp_path / "a.zip")


def test_pool_not_given_missing_or_empty_names_the_remedy(tmp_path):
    with pytest.raises(ValueError, match=r"needs a folder or tar .* give --pool or set FCDD_POOL"):
        folder_pool(None)
    with pytest.raises(ValueError, match="nowhere does not exist; correct --pool or FCDD_POOL"):
        folder_pool(tmp_path / "nowhere")
    write_folder(tmp_path, {"a.jpg": b"", "b.txt": b""})
    with pytest.raises(ValueError, match=r"no readable image \(1 unreadable\); .*FCDD_POOL"):
        folder_pool(tmp_path)


def test_emnist_letters_stand_upright_and_gray_is_repeated(tmp_path):
    letters = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    write_idx(tmp_path / EMNIST_FILE, letters)
    gray = named("emnist", GRAY, tmp_path)
    np.testing.assert_array_equal(gray.images[:, 0], letters.transpose(0, 2, 1))
    colour = named("emnist", COLOUR, tmp_path)
    assert colour.images.shape == (5, 3, 32, 32)
    assert (colour.images == colour.images[:, :1]).all()


def test_cifar100_is_resized_before_it_turns_gray(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    monkeypatch.setattr(cifar, "load_cifar100", lambda root: images)
    colour = named("cifar100", COLOUR, tmp_path)
    gray = named("cifar100", GRAY, tmp_path)
    np.testing.assert_array_equal(colour.images, images)
    first = Image.fromarray(images[0].transpose(1, 2, 0))
    expected = first.resize((28, 28), Image.Resampling.BILINEAR).convert("L")
    np.testing.assert_array_equal(gray.images[0, 0], np.asarray(expected))


@pytest.mark.parametrize("source", ["cifar100", "emnist", "mnist"])
def test_missing_source_data_set_names_the_command_that_fetches_it(tmp_path, source):
    with pytest.raises(ValueError, match=rf"'{source}' is not under the data root .*--download"):
        load_pool(source, GRAY, root=tmp_path, pool=None)
    with pytest.raises(ValueError, match=f"'{source}' is read from a data root: give --data-root"):
        load_pool(source, GRAY, root=None, pool=None)


@pytest.mark.parametrize("shape", [GRAY, COLOUR])
def test_photographs_are_4000_crops_always_the_same(shape):
    one = named("photographs", shape, None)
    two = named("photographs", shape, None)
    assert one.images.shape == (4000, *shape)
    assert one.fingerprint == two.fingerprint
    assert len({image.tobytes() for image in one.images}) > 3990


def red(value: int) -> bytes:
    return picture(value, size=(8, 8))


def write_imagenet(root: Path, split: str, wnids: Iterable[str]) -> Path:
    """One image for each class, the value of its red its place in `wnids`."""
    files = {f"{split}/{w}/{w}_1.JPEG": red(i) for i, w in enumerate(wnids)}
    return write_folder(root, files)


def streamed(source: PoolName, **choices: Any) -> Any:
    pool = load_pool(source, COLOUR, pool=None, workers=0, **choices)
    assert pool is not None
    assert isinstance(pool.images, Streamed)
    return pool


def classes_of(pool) -> list[str]:
    return [pool.images.files.group(i) for i in range(len(pool.images))]


OTHERS = ["n01440764", "n02389026"]  # tench, sorrel: left out nowhere
HORSE_CART, ACORN = "n03538406", "n12267677"  # in the rule of Pascal VOC, in ImageNet-30


@pytest.mark.parametrize(
    ("data", "exclusions", "limited", "left_out"),
    [
        ("pascal_voc", "mended", False, {HORSE_CART}),
        ("pascal_voc", "mended", True, {HORSE_CART}),
        ("pascal_voc", "published", False, {HORSE_CART}),
        ("pascal_voc", "published", True, set()),
        ("imagenet30", "mended", True, {ACORN}),
        ("imagenet30", "published", False, set()),
        ("cifar10", "mended", False, set()),
    ],
)
def test_imagenet1k_leaves_out_the_classes_of_the_data_set(
    tmp_path, data, exclusions, limited, left_out
):
    wnids = sorted([*OTHERS, HORSE_CART, ACORN])
    root = write_imagenet(tmp_path, "imagenet/val", wnids)
    pool = streamed("imagenet1k", root=root, data=data, exclusions=exclusions, limited=limited)
    assert classes_of(pool) == [wnid for wnid in wnids if wnid not in left_out]
    (batch,) = pool.images.serve([torch.arange(len(pool.images))])
    assert tuple(batch.shape[1:]) == COLOUR
    assert batch[:, 0, 0, 0].tolist() == [i for i, wnid in enumerate(wnids) if wnid not in left_out]


@pytest.mark.parametrize("folder", ["imagenet22k", "imagenet22k/fall11_whole_extracted"])
def test_imagenet22k_leaves_out_imagenet1k_or_only_its_30_classes(tmp_path, folder):
    wnids = ["n00007846", ACORN, *OTHERS]
    root = write_imagenet(tmp_path, folder, wnids)
    mended = streamed("imagenet22k", root=root, data="imagenet30")
    assert classes_of(mended) == ["n00007846"]
    published = streamed("imagenet22k", root=root, data="imagenet30", exclusions="published")
    assert classes_of(published) == ["n00007846", *OTHERS]
    assert mended.fingerprint != published.fingerprint


def test_imagenet22k_beside_horses_is_refused_unless_published(tmp_path):
    root = write_imagenet(tmp_path, "imagenet22k", ["n00007846"])
    with pytest.raises(ValueError, match=r"many classes of horses .*source='imagenet1k', or "):
        streamed("imagenet22k", root=root, data="pascal_voc")
    published = streamed("imagenet22k", root=root, data="pascal_voc", exclusions="published")
    assert len(published.images) == 1


def test_imagenet1k_is_squashed_and_imagenet22k_is_cut(tmp_path):
    halves = Image.new("RGB", (128, 32), (255, 255, 255))
    halves.paste((0, 0, 0), (0, 0, 64, 32))
    content = io.BytesIO()
    halves.save(content, "PNG")
    names = ("imagenet/val/n01440764/a.png", "imagenet22k/n00007846/a.png")
    root = write_folder(tmp_path, dict.fromkeys(names, content.getvalue()))
    squashed = streamed("imagenet1k", root=root).images.select([0])[0, 0]
    assert (squashed[:, :15] == 0).all() and (squashed[:, 17:] == 255).all()
    cut = streamed("imagenet22k", root=root).images.select([0])[0, 0]
    assert len(np.unique(cut)) < 6 and cut.std(axis=0).max() == 0
    assert abs(cut.mean() - 127.5) > 40  # the whole image is half black, most cuts are not


def test_imagenet_pools_that_are_not_there_say_where_they_belong(tmp_path):
    with pytest.raises(ValueError, match=r"imagenet22k/fall11_whole_extracted/<wnid>/ or"):
        streamed("imagenet22k", root=tmp_path)
    with pytest.raises(ValueError, match=r"'val' split is not under .*imagenet/val/<wnid>/"):
        streamed("imagenet1k", root=tmp_path)
    with pytest.raises(ValueError, match="give --data-root or set FCDD_DATA"):
        streamed("imagenet1k", root=None)
    root = write_imagenet(tmp_path, "imagenet22k", [ACORN])
    with pytest.raises(ValueError, match="none of the 1 images of the pool is of a class that may"):
        streamed("imagenet22k", root=root)


def test_pool_name_tells_pools_apart_that_exclude_differently(digits_run):
    run = change(digits_run, {"outliers.source": "mnist"})
    assert pool_name(run) == "mnist 1x28x28"
    limited = change(run, {"outliers.limit": 5})
    assert pool_name(limited) == pool_name(run)
    one = change(run, {"outliers.source": "imagenet1k"})
    names = {
        pool_name(change(one, changes))
        for changes in (
            {},
            {"outliers.limit": 5},
            {"outliers.exclusions": "published"},
            {"data.name": "fmnist"},
        )
    }
    assert len(names) == 4
    unsupervised = {"outliers.source": "none", "supervision.mode": "unsupervised"}
    assert pool_name(change(run, unsupervised)) == "none"


@pytest.mark.parametrize("packed", [False, True])
def test_large_folder_stays_on_disk_and_holds_the_same_images(tmp_path, monkeypatch, packed):
    files = FILES | {"broken.jpg": b"broken"}
    place = write_folder(tmp_path / "f", files)
    if packed:
        place = write_tar(tmp_path / "t.tar", files, mode="w:")
    small = folder_pool(place)
    monkeypatch.setattr(folder_pool_module, "_MAX_BYTES", 3 * 32 * 32 * 3)
    large = folder_pool(place)
    assert isinstance(large.images, Streamed)
    assert len(large.images) == 4
    assert large.images.files.name(2) == "broken.jpg"
    np.testing.assert_array_equal(large.images.select([0, 1, 3]), small.images)
    (served,) = large.images.serve([torch.tensor([2])])
    np.testing.assert_array_equal(served[0], small.images[2])
    assert large.images.unreadable == ("broken.jpg",)


def test_links_in_a_large_folder_are_named(tmp_path, monkeypatch):
    folder = write_folder(tmp_path, FILES)
    (folder / "link.png").symlink_to(folder / "c.bmp")
    monkeypatch.setattr(folder_pool_module, "_MAX_BYTES", 1)
    pool = folder_pool(folder)
    assert isinstance(pool.images, Streamed)
    assert len(pool.images) == 3
    assert pool.unreadable == ("link.png",)


def test_large_compressed_tar_is_refused_with_the_remedy(tmp_path, monkeypatch):
    path = write_tar(tmp_path / "t.tar.gz", FILES)
    monkeypatch.setattr(folder_pool_module, "_MAX_BYTES", 3 * 32 * 32 * 2)
    with pytest.raises(ValueError, match="more than 2 images, too many to keep .*; unpack it"):
        folder_pool(path)


@pytest.mark.skipif("FCDD_DATA" not in os.environ, reason="FCDD_DATA names no data root")
def test_real_mnist_pool_has_60000_images():
    root = Path(os.environ["FCDD_DATA"])
    if not (root / f"{MNIST_FILE}.gz").exists() and not (root / MNIST_FILE).exists():
        pytest.skip("no MNIST under FCDD_DATA")
    pool = named("mnist", GRAY, root)
    assert pool.images.shape == (60000, 1, 28, 28)


@pytest.mark.skipif("FCDD_POOL" not in os.environ, reason="FCDD_POOL names no folder or tar")
@pytest.mark.services  # 60,000 files, for half a minute and more
def test_real_pool_is_read_whole():
    pool = folder_pool(Path(os.environ["FCDD_POOL"]), GRAY)
    assert pool.images.shape[1:] == GRAY
    assert len(pool.images) > 0
    assert pool.unreadable == ()
