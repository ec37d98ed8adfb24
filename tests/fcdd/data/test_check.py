"""`fcdd data check`: every fault is named, and what a run accepts is passed."""

import gzip
import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcdd.config import Data
from fcdd.data.check import check
from fcdd.data.check_findings import Checked, Finding, Report
from fcdd.data.load import load

Content = bytes | None


def png(seed: int, *, size: tuple[int, int] = (12, 10)) -> bytes:
    """A picture of (width, height) like no other seed's."""
    w, h = size
    array = np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)
    return saved(Image.fromarray(array))


def mask(*, size: tuple[int, int] = (12, 10), empty: bool = False) -> bytes:
    picture = Image.new("L", size)
    if not empty:
        picture.paste(255, (2, 2, 5, 5))
    return saved(picture)


def saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def mvtec(
    changes: Mapping[str, Content] | None = None, *, name: str = "gear"
) -> dict[str, Content]:
    """A faultless class in the layout of MVTec-AD, with changes; None takes a file out."""
    files: dict[str, Content] = {
        "train/good/000.png": png(0),
        "train/good/001.png": png(1),
        "test/good/000.png": png(2),
        "test/crack/000.png": png(3),
        "test/crack/001.png": png(4),
        "ground_truth/crack/000_mask.png": mask(),
        "ground_truth/crack/001_mask.png": mask(),
    }
    return {f"{name}/{n}": content for n, content in {**files, **(changes or {})}.items()}


def roles(changes: dict[str, Content] | None = None) -> dict[str, Content]:
    """A faultless class `a` of nominal and anomalous images."""
    files: dict[str, Content] = {
        "train/a/nominal/0.png": png(0),
        "test/a/normal/1.png": png(1),
        "test/a/anomalous/2.png": png(2),
    }
    return files | (changes or {})


def one_vs_rest(changes: dict[str, Content] | None = None) -> dict[str, Content]:
    files: dict[str, Content] = {
        "train/cat/0.png": png(0),
        "train/dog/0.png": png(1),
        "test/cat/0.png": png(2),
        "test/dog/more/0.png": png(3),
    }
    return files | (changes or {})


def write(folder: Path, files: dict[str, Content]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


def write_tar(path: Path, files: dict[str, Content], *, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, content in files.items():
            if content is not None:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def only(report: Report) -> Checked:
    assert len(report.checked) == 1, report
    return report.checked[0]


def found(report: Report) -> list[tuple[str, str, str]]:
    """(severity, kind, path) of all findings."""
    return [(f.severity, f.kind, f.path) for c in report.checked for f in c.findings]


def test_faultless_mvtec_layout_names_its_classes(tmp_path):
    root = write(tmp_path, mvtec() | mvtec(name="bolt"))
    report = check(root)
    checked = only(report)
    assert checked.layout == "layout of MVTec-AD"
    assert checked.classes == ("bolt", "gear")
    assert checked.num_images == 10
    assert checked.findings == ()
    assert checked.settings == ("data.name=mvtec_layout", 'data.classes=["bolt", "gear"]')
    assert not report.changes_numbers


def test_classes_of_mvtec_itself_are_known_by_name(tmp_path):
    checked = only(check(write(tmp_path, mvtec(name="screw"))))
    assert checked.settings == ("data.name=mvtec",)


BITMAP = saved(Image.open(io.BytesIO(png(1))), "BMP")
BLURRED = saved(Image.open(io.BytesIO(mask())).resize((48, 40), Image.Resampling.BILINEAR))
FRAMES = saved(
    Image.new("L", (4, 4)), "TIFF", save_all=True, append_images=[Image.new("L", (4, 4), 9)]
)
TURNED = Image.Exif()
TURNED[0x0112] = 6
JPEG = saved(Image.open(io.BytesIO(png(50, size=(64, 64)))), "JPEG")
DEEP = saved(Image.fromarray(np.full((8, 8), 60000, np.uint16)))
CMYK = saved(Image.new("CMYK", (8, 8), (10, 20, 30, 0)), "JPEG")
PALETTE = saved(Image.open(io.BytesIO(png(51))).quantize(8))
CLEAR = saved(Image.new("RGBA", (8, 8), (10, 20, 30, 40)))

# What is changed in a faultless class, and the findings (severity, kind, path below the class).
MVTEC_FAULTS = {
    "mask of another size": (
        {"ground_truth/crack/000_mask.png": mask(size=(10, 12))},
        [("refused", "mask that does not fit its image", "ground_truth/crack/000_mask.png")],
    ),
    "mask of many values": (
        {"ground_truth/crack/000_mask.png": BLURRED, "test/crack/000.png": png(3, size=(48, 40))},
        [("refused", "mask that is not two-valued", "ground_truth/crack/000_mask.png")],
    ),
    "no mask": (
        {"ground_truth/crack/001_mask.png": None},
        [("refused", "defective image without a mask", "test/crack/001.png")],
    ),
    "empty mask": (
        {"ground_truth/crack/001_mask.png": mask(empty=True)},
        [("refused", "empty mask of an anomalous image", "ground_truth/crack/001_mask.png")],
    ),
    "mask of a nominal image": (
        {"ground_truth/good/000.png": mask()},
        [("refused", "mask that marks a nominal image", "ground_truth/good/000.png")],
    ),
    "two masks": (
        {"ground_truth/crack/001.png": mask()},
        [("refused", "image with several masks", "test/crack/001.png")],
    ),
    "mask without image": (
        {"ground_truth/crack/007_mask.png": mask()},
        [("harmless", "mask without an image", "ground_truth/crack/007_mask.png")],
    ),
    "no nominal training images": (
        {"train/good/000.png": None, "train/good/001.png": None},
        [("refused", "no nominal images", "train")],
    ),
    "no nominal test images": (
        {"test/good/000.png": None},
        [("refused", "no nominal images", "test")],
    ),
    "anomalous training image": (
        {"train/crack/000.png": png(9)},
        [("refused", "anomalous training image", "train/crack/000.png")],
    ),
    "no defects": (
        dict.fromkeys(
            (
                *("test/crack/000.png", "test/crack/001.png"),
                *("ground_truth/crack/000_mask.png", "ground_truth/crack/001_mask.png"),
            )
        ),
        [("refused", "no defective images", "test")],
    ),
    "image too high up": (
        {"train/stray.png": png(9)},
        [("refused", "image at another depth", "train/stray.png")],
    ),
    "test image in training": (
        {"test/good/000.png": png(0)},
        [("refused", "test image that is also a training image", "test/good/000.png")],
    ),
    "the same picture in another format": (
        {"test/good/000.png": None, "test/good/0.bmp": BITMAP},
        [("refused", "test image that is also a training image", "test/good/0.bmp")],
    ),
    "copy within training": (
        {"train/good/002.png": png(0)},
        [("harmless", "training image that is there more than once", "train/good/002.png")],
    ),
    "empty file": (
        {"train/good/002.png": b""},
        [("refused", "empty file", "train/good/002.png")],
    ),
    "cut short": (
        {"train/good/002.jpg": JPEG[:-500]},
        [("refused", "image cut short", "train/good/002.jpg")],
    ),
    "no image at all": (
        {"train/good/002.png": b"no image"},
        [("refused", "unreadable image", "train/good/002.png")],
    ),
    "16 bits": (
        {"train/good/002.png": DEEP},
        [("refused", "more than 8 bits per channel", "train/good/002.png")],
    ),
    "CMYK": (
        {"train/good/002.jpg": CMYK},
        [("harmless", "CMYK image", "train/good/002.jpg")],
    ),
    "palette": (
        {"train/good/002.png": PALETTE},
        [("harmless", "palette image", "train/good/002.png")],
    ),
    "transparency": (
        {"train/good/002.png": CLEAR},
        [("harmless", "transparent image", "train/good/002.png")],
    ),
    "frames": (
        {"train/good/002.tif": FRAMES},
        [("harmless", "several frames", "train/good/002.tif")],
    ),
    "EXIF": (
        {"train/good/002.jpg": saved(Image.new("L", (8, 9)), "JPEG", exif=TURNED)},
        [("harmless", "turned by EXIF", "train/good/002.jpg")],
    ),
    "wrong suffix": (
        {"train/good/002.png": JPEG},
        [("harmless", "format is not that of the suffix", "train/good/002.png")],
    ),
    "stray file": (
        {"train/good/Thumbs.db": b"x", "license.txt": b"x"},
        [("harmless", "stray file", "train/good/Thumbs.db")],
    ),
}


@pytest.mark.parametrize("fault", MVTEC_FAULTS)
def test_fault_of_an_mvtec_class_is_named_once(tmp_path, fault):
    changes, expected = MVTEC_FAULTS[fault]
    report = check(write(tmp_path, mvtec(changes)))
    assert found(report) == [(s, kind, f"gear/{path}") for s, kind, path in expected]
    assert report.changes_numbers == (expected[0][0] != "harmless")


@pytest.mark.parametrize("fault", MVTEC_FAULTS)
def test_check_refuses_what_a_run_refuses_and_nothing_else(tmp_path, fault):
    changes, expected = MVTEC_FAULTS[fault]
    root = write(tmp_path, mvtec(changes))
    data = Data(
        name="mvtec_layout", normal_class=0, preprocessing="none", classes=("gear",), size=(8, 8)
    )
    if expected[0][0] == "harmless":
        load(data, root)
    else:
        with pytest.raises(ValueError):
            load(data, root)


def test_all_faults_are_named_at_once(tmp_path):
    changes: dict[str, Content] = {}
    for name in ("mask of another size", "no mask", "empty file", "test image in training"):
        changes |= MVTEC_FAULTS[name][0]
    assert len(found(check(write(tmp_path, mvtec(changes))))) == 4


def test_class_folder_itself_can_be_checked(tmp_path):
    root = write(tmp_path, mvtec())
    (root / "gear" / "ground_truth" / "crack" / "000_mask.png").unlink()
    report = check(root / "gear")
    assert only(report).classes == ("gear",)
    assert found(report) == [("refused", "defective image without a mask", "test/crack/000.png")]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
@pytest.mark.parametrize("prefix", ["", "folder/"])
def test_tar_is_checked_as_its_folder(tmp_path, mode, prefix):
    changes = {"test/good/000.png": png(0), "train/good/002.png": b""}
    files = {prefix + name: content for name, content in mvtec(changes).items()}
    report = check(write_tar(tmp_path / "t.tar", files, mode=mode))
    assert only(report).classes == ("gear",)
    assert sorted(kind for _, kind, _ in found(report)) == [
        "empty file",
        "test image that is also a training image",
    ]


def test_damaged_tar_is_refused(tmp_path):
    path = write_tar(tmp_path / "t.tar.gz", mvtec(), mode="w:gz")
    path.write_bytes(path.read_bytes()[:-30])
    report = check(path)
    assert ("refused", "damaged tar", "t.tar.gz") in [
        *found(report),
        *((f.severity, "damaged tar", f.path) for f in findings(report, "refused by a run")),
    ]
    assert report.changes_numbers


def findings(report: Report, kind: str) -> list[Finding]:
    return [f for c in report.checked for f in c.findings if f.kind == kind]


def test_links_are_named_by_where_they_lead(tmp_path):
    secret = write(tmp_path / "outside", {"secret.png": png(70)}) / "secret.png"
    root = write(tmp_path / "data", mvtec())
    good = root / "gear" / "train" / "good"
    (good / "out.png").symlink_to(secret)
    (good / "nowhere.png").symlink_to(tmp_path / "nothing")
    (good / "inside.png").symlink_to(root / "gear" / "test" / "crack" / "000.png")
    (root / "gear" / "train" / "folder").symlink_to(tmp_path / "outside")
    (root / "gear" / "notes.txt").symlink_to(secret)
    assert sorted(found(check(root))) == [
        ("harmless", "symbolic link out of the data", "gear/notes.txt"),
        ("refused", "symbolic link out of the data", "gear/train/good/out.png"),
        ("refused", "symbolic link to a folder", "gear/train/folder"),
        ("refused", "symbolic link to nowhere", "gear/train/good/nowhere.png"),
        ("refused", "test image that is also a training image", "gear/test/crack/000.png"),
    ]


@pytest.mark.parametrize("height", [8_000, 15_000])  # Pillow itself refuses the second
def test_enormous_image_is_named_without_decoding_it(tmp_path, height):
    huge = saved(Image.new("1", (12_000, height)))
    report = check(write(tmp_path, mvtec({"train/good/002.png": huge})))
    assert found(report) == [("refused", "enormous image", "gear/train/good/002.png")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_file_that_must_not_be_read_is_named(tmp_path):
    root = write(tmp_path, mvtec())
    (root / "gear/train/good/000.png").chmod(0)
    assert found(check(root)) == [("refused", "unreadable file", "gear/train/good/000.png")]


def test_one_vs_rest_folders_are_known_and_their_classes_listed(tmp_path):
    checked = only(check(write(tmp_path, one_vs_rest())))
    assert checked.findings == ()
    assert checked.num_images == 4
    assert checked.settings == (
        *("data.name=custom", "data.layout=one_vs_rest", 'data.classes=["cat", "dog"]'),
    )


def test_nominal_and_anomalous_folders_are_known(tmp_path):
    checked = only(check(write(tmp_path / "custom", roles()).parent))
    assert checked.findings == ()
    assert checked.place == "custom"
    assert "data.layout=nominal_anomalous" in checked.settings
    assert "data.maps=true" not in checked.settings


CUSTOM_FAULTS = {
    "class only in train": (
        one_vs_rest({"train/cow/0.png": png(9)}),
        [("refused", "class only in one of train and test", "train/cow")],
    ),
    "class only in test": (
        one_vs_rest({"test/cow/0.png": png(9)}),
        [("refused", "class only in one of train and test", "test/cow")],
    ),
    "image in no class": (
        one_vs_rest({"train/0.png": png(9)}),
        [("harmless", "stray file", "train/0.png")],
    ),
    "test image of one class in training of another": (
        one_vs_rest({"test/dog/more/0.png": png(0)}),
        [("refused", "test image that is also a training image", "test/dog/more/0.png")],
    ),
    "neither nominal nor anomalous": (
        roles({"train/a/0.png": png(9)}),
        [("refused", "image that is neither nominal nor anomalous", "train/a/0.png")],
    ),
    "no nominal training images": (
        roles({"train/a/nominal/0.png": None, "train/a/anomalous/0.png": png(9)}),
        [("refused", "no nominal images", "train/a")],
    ),
    "no anomalous test images": (
        roles({"test/a/anomalous/2.png": None}),
        [("refused", "no anomalous images", "test/a")],
    ),
    "anomalous image without a map": (
        roles({"test/a/anomalous/3.png": png(9), "test_maps/a/anomalous/2.png": mask()}),
        [("refused", "anomalous image without a map", "test/a/anomalous/3.png")],
    ),
    "map of another size": (
        roles({"test_maps/a/anomalous/2.png": mask(size=(5, 5))}),
        [("refused", "mask that does not fit its image", "test_maps/a/anomalous/2.png")],
    ),
    "map without an image": (
        roles({"test_maps/a/anomalous/2.png": mask(), "test_maps/a/anomalous/9.png": mask()}),
        [("harmless", "mask without an image", "test_maps/a/anomalous/9.png")],
    ),
}


@pytest.mark.parametrize("fault", CUSTOM_FAULTS)
def test_fault_of_class_folders_is_named_once_and_refused_by_a_run_too(tmp_path, fault):
    files, expected = CUSTOM_FAULTS[fault]
    root = write(tmp_path, files)
    report = check(root)
    assert found(report) == expected
    by_role = "data.layout=nominal_anomalous" in only(report).settings
    data = Data(
        name="custom",
        normal_class=0,
        preprocessing="none",
        classes=("a",) if by_role else ("cat", "dog"),
        layout="nominal_anomalous" if by_role else "one_vs_rest",
        maps="data.maps=true" in only(report).settings,
        size=(8, 8),
    )
    if expected[0][0] == "harmless":
        load(data, root)
    else:
        with pytest.raises(ValueError):
            load(data, root)


def test_maps_in_one_vs_rest_are_needed_of_all_classes_but_one(tmp_path):
    maps: dict[str, Content] = {"test_maps/dog/more/0.png": mask()}
    report = check(write(tmp_path / "one", one_vs_rest(maps)))
    assert found(report) == []
    assert "data.maps=true" in only(report).settings
    more: dict[str, Content] = {"train/cow/0.png": png(8), "test/cow/0.png": png(9)}
    report = check(write(tmp_path / "two", one_vs_rest(maps | more)))
    assert found(report) == [
        ("refused", "class without maps", "test_maps/cat"),
        ("refused", "class without maps", "test_maps/cow"),
    ]


def test_pool_faults_are_counted_and_its_test_images_refused(tmp_path):
    data = write(tmp_path / "data", mvtec())
    files = {"a.png": png(90), "b.jpg": JPEG[:-500], "c.png": png(3), "d.png": png(0)}
    pool = write(tmp_path / "pool", dict(files))
    (pool / "link.png").symlink_to(data)
    report = check(data, pool=pool)
    checked = report.checked[-1]
    assert checked.layout == "pool"
    assert checked.num_images == 3
    assert sorted((f.severity, f.kind, f.path) for f in checked.findings) == [
        ("counted", "image cut short", "b.jpg"),
        ("counted", "symbolic link to a folder", "link.png"),
        ("refused", "image of the pool that is a test image", "c.png"),
    ]
    (leak,) = (f for f in checked.findings if f.severity == "refused")
    assert leak.detail == "the same picture as gear/test/crack/000.png"


def test_images_without_a_layout_are_checked_as_a_pool(tmp_path):
    report = check(write(tmp_path, {"a/1.png": png(1), "b.png": b""}))
    assert only(report).layout == "images, as a pool"
    assert found(report) == [("counted", "empty file", "b.png")]
    assert report.changes_numbers


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    sizes = b"".join(s.to_bytes(4, "big") for s in array.shape)
    return gzip.compress(header + sizes + array.tobytes())


def fmnist_files() -> dict[str, Content]:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    classes = np.arange(6, dtype=np.uint8)
    files: dict[str, Content] = {}
    for part, values in (("train", images[:4]), ("t10k", images[3:])):
        files[f"FashionMNIST/raw/{part}-images-idx3-ubyte.gz"] = idx(values)
        files[f"FashionMNIST/raw/{part}-labels-idx1-ubyte.gz"] = idx(classes[: len(values)])
    return files


def test_data_root_of_several_sets_is_taken_apart(tmp_path):
    root = write(tmp_path, fmnist_files() | mvtec() | {"MNIST/raw/nothing.txt": b""})
    write_tar(root / "more.tar", one_vs_rest())
    report = check(root)
    assert [(c.layout, c.place) for c in report.checked] == [
        ("fmnist", "FashionMNIST"),
        ("mnist", "MNIST"),
        ("class folders, one_vs_rest", "more.tar"),
        ("layout of MVTec-AD", ""),
    ]
    assert found(report) == [
        ("harmless", "test images that are also training images", "FashionMNIST"),
        ("refused", "damaged or incomplete data set", "MNIST"),
    ]
    assert report.checked[0].findings[0].detail == "1 of 3: numbers 0"
    assert "train-images-idx3-ubyte" in report.checked[1].findings[0].detail


def test_pool_is_compared_with_published_test_images(tmp_path):
    root = write(tmp_path / "data", fmnist_files())
    image = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)[4]
    pool = write(tmp_path / "pool", {"x.png": saved(Image.fromarray(image))})
    (finding,) = check(root, pool=pool).checked[-1].findings
    assert finding.detail == "the same picture as test image 1 of fmnist"


def test_large_published_sets_are_named_and_not_gone_through(tmp_path):
    root = write(tmp_path, {"imagenet/val/n01440764/a.JPEG": b"broken"})
    report = check(root)
    assert only(report).layout == "imagenet30"
    assert found(report) == [("harmless", "large data set, not looked into", "imagenet")]


def test_progress_is_told_to_its_end(tmp_path):
    told = []
    check(write(tmp_path, mvtec()), told=lambda *step: told.append(step))
    assert told[0][1:] == (0, 7)
    assert [done for _, done, _ in told] == list(range(8))


def test_nothing_to_check_is_refused(tmp_path):
    with pytest.raises(ValueError, match="PATH .*nowhere does not exist; give a folder or a tar"):
        check(tmp_path / "nowhere")
    write(tmp_path, {"a.txt": b""})
    with pytest.raises(ValueError, match="holds no known data set and no image; layouts: <class>/"):
        check(tmp_path)
    with pytest.raises(ValueError, match="--pool .*nowhere does not exist"):
        check(tmp_path, pool=tmp_path / "nowhere")


@pytest.mark.skipif("FCDD_DATA" not in os.environ, reason="FCDD_DATA names no data root")
def test_real_screw_has_no_faults():
    path = Path(os.environ["FCDD_DATA"]) / "mvtec_screw_256.tar"
    if not path.exists():
        pytest.skip("no mvtec_screw_256.tar under FCDD_DATA")
    report = check(path)
    assert found(report) == []
    assert only(report).num_images == 480
    assert only(report).settings == ("data.name=mvtec",)
