import numpy as np
import pytest
import torch

from fcdd.catalog import CLASS_NAMES
from fcdd.config import Run, change
from fcdd.data.constants import Normalisation, compute_normalisation, normalisation
from fcdd.data.load import load
from fcdd.data.mvtec_constants import MVTEC
from fcdd.data.ragged import Ragged
from fcdd.data.randomness import generator

NOTHING = torch.empty((0, 3, 4, 4), dtype=torch.uint8)


def mvtec(run: Run, number: int) -> Normalisation:
    fields = {
        "data.name": "mvtec",
        "data.normal_class": number,
        "data.preprocessing": "lcnaug1",
        "net.name": "FCDD_CNN224",
        "supervision.mode": "unsupervised",
        "outliers.source": "none",
    }
    return normalisation(change(run, fields), NOTHING)


def plainly(images: np.ndarray) -> Normalisation:
    """Constants of uint8 [n, c, h, w], all in float64 at once."""
    unit = images.astype(np.float64) / 255
    centred = unit - unit.mean((1, 2, 3), keepdims=True)
    scale = np.abs(centred).mean((1, 2, 3), keepdims=True)
    local = centred / np.where(scale == 0, 1, scale)
    return Normalisation(
        tuple(local.min((0, 2, 3)).tolist()),
        tuple(local.max((0, 2, 3)).tolist()),
        tuple(unit.mean((0, 2, 3)).tolist()),
        tuple(unit.std((0, 2, 3), ddof=1).tolist()),
    )


def assert_same(ours: Normalisation, theirs: Normalisation) -> None:
    for name in ("lcn_min", "lcn_max", "mean", "std"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-12, abs=1e-12)


def test_constants_are_computed_over_all_pixels_of_the_nominal_images() -> None:
    nominal = torch.tensor([[0, 255], [51, 102]], dtype=torch.uint8).view(2, 1, 1, 2)
    constants = compute_normalisation(nominal)
    assert constants.mean == pytest.approx((0.4,))
    assert constants.std == pytest.approx((0.432049,), abs=1e-6)  # of 0, 1, 0.2, 0.4, unbiased
    assert (*constants.lcn_min, *constants.lcn_max) == pytest.approx((-1, 1))


def test_constant_images_are_refused() -> None:
    with pytest.raises(ValueError, match="the 3 nominal training images have a constant channel"):
        compute_normalisation(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
    gray = torch.randint(0, 255, (2, 3, 4, 4), generator=generator(0, "x"), dtype=torch.uint8)
    gray[:, 1] = 7
    with pytest.raises(ValueError, match="check the files of this class"):
        compute_normalisation(gray)


def test_constants_of_digits_are_those_of_float64(digits_run: Run) -> None:
    images = load(digits_run.data, None)
    nominal = np.asarray(images.train)[images.train_classes == 3]
    assert_same(normalisation(digits_run, torch.tensor(nominal)), plainly(nominal))


def test_constants_do_not_depend_on_how_images_are_cut_into_parts() -> None:
    # 160 images of 3 x 100 x 100 values are more than one part of 2^22.
    images = np.random.default_rng(0).integers(0, 256, (160, 3, 100, 100), np.uint8)
    assert_same(compute_normalisation(torch.from_numpy(images)), plainly(images))


def test_images_of_different_sizes_count_by_their_pixels() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (3, *size), np.uint8) for size in ((5, 9), (12, 4), (7, 7))]
    for image in images:
        image.setflags(write=False)
    constants = compute_normalisation(Ragged.from_images(images))
    pixels = np.concatenate([image.reshape(3, -1) for image in images], axis=1) / 255
    assert constants.mean == pytest.approx(tuple(pixels.mean(1)), rel=1e-12)
    assert constants.std == pytest.approx(tuple(pixels.std(1, ddof=1)), rel=1e-12)
    single = [plainly(image[None]) for image in images]
    assert constants.lcn_min == pytest.approx(np.min([s.lcn_min for s in single], axis=0))
    assert constants.lcn_max == pytest.approx(np.max([s.lcn_max for s in single], axis=0))


def test_published_constants_of_mvtec_are_those_of_the_table(digits_run: Run) -> None:
    assert len(MVTEC) == len(CLASS_NAMES["mvtec"]) == 15
    assert mvtec(digits_run, 9) == Normalisation(  # screw, whose channels are equal
        (-7.23618507,) * 3, (3.37773848,) * 3, (0.709974885,) * 3, (0.133706227,) * 3
    )
    assert mvtec(digits_run, 5) == Normalisation(  # hazelnut
        (-3.65653062, -3.50769281, -2.76350355),
        (18.9668198, 21.6459007, 26.4087105),
        (0.23905243, 0.176204085, 0.172067478),
        (0.168864682, 0.0759738311, 0.0438321084),
    )
    assert mvtec(digits_run, 0).lcn_min == (-1.3336724, -1.31079137, -1.24459219)  # bottle
    assert mvtec(digits_run, 14).std == (0.323048472,) * 3  # zipper


@pytest.mark.parametrize("number", range(15))
def test_published_constants_of_mvtec_are_possible(digits_run: Run, number: int) -> None:
    constants = mvtec(digits_run, number)
    assert all(len(getattr(constants, n)) == 3 for n in ("lcn_min", "lcn_max", "mean", "std"))
    assert all(0 < mean < 1 for mean in constants.mean)
    assert all(0 < std < 0.5 for std in constants.std)
    for low, high in zip(constants.lcn_min, constants.lcn_max, strict=True):
        assert low < 0 < high


def test_constants_of_imagenet_and_pascal_voc(digits_run: Run) -> None:
    fields = {
        "data.preprocessing": "aug1",
        "net.name": "FCDD_CNN224",
        "supervision.mode": "unsupervised",
        "outliers.source": "none",
    }
    imagenet = change(digits_run, fields | {"data.name": "imagenet30", "data.normal_class": 4})
    constants = normalisation(imagenet, NOTHING)
    assert constants.mean == (0.485, 0.456, 0.406)
    assert constants.std == (0.229, 0.224, 0.225)
    horse = change(digits_run, fields | {"data.name": "pascal_voc", "data.normal_class": 0})
    constants = normalisation(horse, NOTHING)
    assert constants.mean == (0.4469, 0.4227, 0.3906)
    assert constants.std == (0.2691, 0.2659, 0.2789)


def test_constants_of_small_images_serve_all_channels(digits_run: Run) -> None:
    cifar = change(
        digits_run,
        {"data.name": "cifar10", "data.normal_class": 9, "net.name": "FCDD_CNN32"},
    )
    constants = normalisation(cifar, NOTHING)
    assert constants.lcn_min == (-6.13288297,) * 3
    assert constants.std == (0.268052548, 0.269107997, 0.281016558)
