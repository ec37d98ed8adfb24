"""The synthetic data set: counts, exact masks, reproducibility, and its files."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from fcdd.catalog import TEXTURE_NAMES
from fcdd.config import Data
from fcdd.data import textures
from fcdd.data.load import images_name, load
from fcdd.data.textures import DEFECTS_OF, draw, draw_image, write

# 16 hex digits of the SHA-256 over pixels and masks of images 0 to 3 of each part. Another
# value means another data set: rows of before and after would not be comparable.
GOLDEN = {
    "checker": "82ac1b5837f669a0",
    "stripes": "d663718ea3b02b6e",
    "grain": "31df1f33aec7d099",
    "weave": "aeb4b014386fcdd5",
    "pebbles": "0de4b7b6a5a3f1a5",
}
GOLDEN_WEAVE = "5567ce298247e4d0"  # the fingerprint of one class as it is trained on


def data(normal_class: int = 0, **changes) -> Data:
    fields = {"name": "textures", "preprocessing": "lcnaug1", "normal_class": normal_class}
    return Data(**{**fields, **changes})


def unblemished(monkeypatch: pytest.MonkeyPatch, name: str, part: str, index: int) -> np.ndarray:
    """What `draw_image` draws if the defect leaves the material as it is."""
    with monkeypatch.context() as patch:
        patch.setitem(
            textures._DEFECTS, part, lambda image, strength, rng: (image, np.zeros((128, 128)))
        )
        return draw_image(name, part, index)[0]


PARTS = [(name, part) for name in TEXTURE_NAMES for part in DEFECTS_OF[name]]


@pytest.mark.parametrize("name", TEXTURE_NAMES)
def test_pictures_are_the_same_on_every_machine(name):
    content = hashlib.sha256()
    for part in ("train", "good", *DEFECTS_OF[name]):
        for index in range(4):
            for array in draw_image(name, part, index):
                content.update(array.tobytes())
    assert content.hexdigest()[:16] == GOLDEN[name]


def test_class_has_its_counts_in_the_order_of_the_layout():
    images = load(data(3), None)
    assert images.fingerprint == GOLDEN_WEAVE
    assert isinstance(images.train, np.ndarray)
    assert (images.train.shape, images.train.dtype) == ((160, 3, 68, 68), np.uint8)
    assert images.test.shape == (120, 3, 68, 68)
    assert images.test_defects == (
        *(("bleed",) * 20 + ("cut",) * 20 + ("good",) * 40 + ("hole",) * 20 + ("stain",) * 20),
    )
    assert images.test_files is not None and images.test_anomalous is not None
    assert images.test_files[21] == "weave/test/cut/001.png"
    assert images.test_anomalous.sum() == 80
    assert set(images.train_classes.tolist()) == set(images.test_classes.tolist()) == {3}
    assert images.test_masks is not None
    assert set(images.test_masks.sizes) == {(128, 128)}
    assert [bits is None for bits in images.test_masks.packed] == (~images.test_anomalous).tolist()


def test_every_material_has_four_kinds_of_defects_and_every_kind_four_materials():
    kinds = [kind for name in TEXTURE_NAMES for kind in DEFECTS_OF[name]]
    assert all(len(set(DEFECTS_OF[name])) == 4 for name in TEXTURE_NAMES)
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(textures._DEFECTS, 4)


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_masks_are_exact(monkeypatch, name, part):
    for index in (0, 3):  # the subtlest, and the second of 20
        image, mask = draw_image(name, part, index)
        clean = unblemished(monkeypatch, name, part, index)
        changed = (image != clean).any(axis=2)
        assert not (changed & ~mask).any()
        assert changed[mask].mean() > 0.6
        assert 0.002 < mask.mean() < 0.1


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_defects_range_from_subtle_to_clear(monkeypatch, name, part):
    contrasts = []
    for index in (0, 17):  # strength 0 and 1: 7 * 17 = 119 = 19 modulo 20
        image, mask = draw_image(name, part, index)
        clean = unblemished(monkeypatch, name, part, index)
        contrasts.append(np.abs(image.astype(int) - clean)[mask].mean())
    assert 2 < contrasts[0] < contrasts[1]


def test_nominal_images_have_empty_masks_and_differ_from_each_other():
    images = [draw_image("grain", part, index) for part in ("train", "good") for index in range(5)]
    assert not any(mask.any() for _, mask in images)
    flat = np.stack([image for image, _ in images]).reshape(10, -1).astype(float)
    distances = np.abs(flat[:, None] - flat[None]).mean(axis=2)
    assert distances[~np.eye(10, dtype=bool)].min() > 5


def test_drawn_arrays_are_shared_and_cannot_be_written():
    drawn = draw("weave")
    assert draw("weave") is drawn
    with pytest.raises(ValueError, match="read-only"):
        drawn.train[0] = 0
    assert load(data(3), None).test.flags.writeable


@pytest.mark.parametrize(("resizing", "how"), [("mended", 2), ("published", None)])
def test_images_are_resized_as_those_of_mvtec(resizing, how):
    images = load(data(3, resizing=resizing), None)
    native = draw("weave").test[7]
    if how is None:
        places = np.arange(68) * 128 // 68
        expected = native[places][:, places]
    else:
        expected = np.asarray(Image.fromarray(native).resize((68, 68), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(images.test[7], expected.transpose(2, 0, 1))


def test_written_files_are_the_same_data_set_in_the_layout_of_mvtec(tmp_path):
    write(tmp_path, names=["weave"])
    names = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png"))
    assert len(names) == 160 + 120 + 80
    assert "weave/ground_truth/hole/019_mask.png" in names
    size = (32, 32)  # 34 x 34 by either rule of storing
    drawn = load(data(3, size=size), None)
    read = load(data(3, name="mvtec_layout", classes=TEXTURE_NAMES, size=size), tmp_path)
    np.testing.assert_array_equal(read.train, drawn.train)
    np.testing.assert_array_equal(read.test, drawn.test)
    assert read.fingerprint == drawn.fingerprint
    assert read.test_defects == drawn.test_defects
    assert read.test_files == drawn.test_files


def test_name_of_images_differs_wherever_the_images_do():
    runs = [data(), data(1), data(size=(32, 64)), data(resizing="published")]
    assert len({images_name(run) for run in runs}) == 4
