"""Pascal VOC 2007 in its layout, on small images."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcdd.config import Data
from fcdd.data.load import load
from fcdd.data.pascal_voc import object_names

DATA = Data(name="pascal_voc", normal_class=0, preprocessing="aug1", size=(16, 16))
OBJECTS = {
    "000005": ["horse", "person"],
    "000001": ["cat"],
    "000009": ["person", "horse"],
    "000002": ["horse"],
    "000003": ["dog"],
    "000004": [],
}
SPLITS = {"train": ["000005", "000001", "000009"], "val": ["000003", "000002", "000004"]}


def annotation(names: list[str], *, difficult: int = 0) -> bytes:
    objects = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        "<part><name>head</name></part></object>"
        for name in names
    )
    return f"<annotation><filename>x.jpg</filename>{objects}</annotation>".encode()


def jpeg(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (15, 25, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((50, 30)).save(stream, "JPEG")
    return stream.getvalue()


def voc_files() -> dict[str, bytes]:
    files = {f"ImageSets/Main/{s}.txt": "\n".join(ids).encode() for s, ids in SPLITS.items()}
    for name, objects in OBJECTS.items():
        files[f"JPEGImages/{name}.jpg"] = jpeg(int(name))
        files[f"Annotations/{name}.xml"] = annotation(objects, difficult=int(name == "000009"))
    return {f"VOCdevkit/VOC2007/{name}": content for name, content in files.items()}


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def squashed(name: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(jpeg(int(name)))).resize((16, 16), Image.Resampling.BILINEAR)
    return np.asarray(picture).transpose(2, 0, 1)


def test_training_images_have_a_horse_and_test_images_are_all_of_val(tmp_path):
    images = load(DATA, write(tmp_path, voc_files()))
    assert isinstance(images.train, np.ndarray)
    np.testing.assert_array_equal(images.train, [squashed("000005"), squashed("000009")])
    np.testing.assert_array_equal(images.test, [squashed(name) for name in SPLITS["val"]])
    assert images.train_classes.tolist() == [0, 0]
    assert images.test_anomalous is not None
    assert images.test_anomalous.tolist() == [True, False, True]
    assert images.test_classes.tolist() == [1, 0, 1]
    assert images.test_files == tuple(
        f"VOCdevkit/VOC2007/JPEGImages/{name}.jpg" for name in SPLITS["val"]
    )


@pytest.mark.parametrize("place", ["pascal_voc", "pascal_voc/tar", "tar"])
def test_other_places_and_the_tar_give_the_same_images(tmp_path, place):
    expected = load(DATA, write(tmp_path / "one", voc_files()))
    root = tmp_path / "two"
    folder = root / "pascal_voc" if place.startswith("pascal_voc") else root
    folder.mkdir(parents=True)
    if place.endswith("tar"):
        with tarfile.open(folder / "VOCtrainval_06-Nov-2007.tar", "w") as archive:
            for name, content in voc_files().items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    else:
        write(folder, voc_files())
    images = load(DATA, root)
    assert images.fingerprint == expected.fingerprint
    assert images.test_files == expected.test_files


def test_cache_gives_the_same_images(tmp_path):
    root = write(tmp_path / "data", voc_files())
    plain = load(DATA, root).fingerprint
    for _ in range(2):
        assert load(DATA, root, cache=tmp_path / "cache").fingerprint == plain
    assert list((tmp_path / "cache").rglob("*pascal_voc*"))


def test_missing_data_lists_folder_and_tar(tmp_path):
    with pytest.raises(ValueError, match=r"VOCdevkit/VOC2007/ or VOCtrainval_06-Nov-2007\.tar"):
        load(DATA, tmp_path)
    with pytest.raises(ValueError, match="give --data-root or set FCDD_DATA"):
        load(DATA, None)


@pytest.mark.parametrize(
    "lost", ["Annotations/000001.xml", "JPEGImages/000002.jpg", "ImageSets/Main/val.txt"]
)
def test_missing_file_is_named(tmp_path, lost):
    files = voc_files()
    del files[f"VOCdevkit/VOC2007/{lost}"]
    with pytest.raises(ValueError, match=f"{lost}; unpack it again"):
        load(DATA, write(tmp_path, files))


def test_only_the_names_of_objects_count():
    content = b"""<annotation><name>bus</name><object><name> horse </name><part><name>head</name>
        </part></object><object><pose>Left</pose><name>car</name></object></annotation>"""
    assert object_names(content) == {"horse", "car"}
    assert object_names(annotation([])) == set()


BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "horse"><!ENTITY y "&x;&x;&x;&x;">]>
<annotation><object><name>&y;</name></object></annotation>"""


@pytest.mark.parametrize(
    "content",
    [BOMB, BOMB.decode().replace('<?xml version="1.0"?>', "").encode("utf-16")],
    ids=["utf-8", "utf-16"],
)
def test_document_type_is_refused(content):
    with pytest.raises(ValueError, match=r"bomb\.xml declares a document type, which is refused"):
        object_names(content, name="bomb.xml")


def test_external_entity_is_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("horse")
    content = f"""<!DOCTYPE a [<!ENTITY x SYSTEM "{secret}">]>
        <annotation><object><name>&x;</name></object></annotation>""".encode()
    with pytest.raises(ValueError, match="document type"):
        object_names(content)


def test_what_is_no_xml_is_refused():
    with pytest.raises(ValueError, match=r"a\.xml is no annotation .*fetch it again"):
        object_names(b"<annotation><object>", name="a.xml")
