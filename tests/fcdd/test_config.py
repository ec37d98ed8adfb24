import json

import pytest

from fcdd.config import Run, change, flatten, key, parse


def name(run: Run) -> str:
    return key(run, data_fingerprint="d" * 16, outliers_fingerprint="o" * 16)


def test_key_is_golden_so_that_old_rows_keep_their_keys(digits_run: Run) -> None:
    # Computed once by hand with hashlib from the canonical JSON; a change here orphans every row.
    assert name(digits_run) == "5c5e2f7f82b59de6"


def test_key_ignores_defaults_that_are_written_out(digits_run: Run) -> None:
    assert name(change(digits_run, {"threads": 1, "protocol": "mended"})) == name(digits_run)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", 8),
        ("threads", 2),
        ("training.lr", 2e-3),
        ("outliers.limit", 5),
        ("heatmaps.upsampling", "published"),
        ("evaluation.test_every", 1),
    ],
)
def test_key_changes_with_every_determining_field(
    digits_run: Run, field: str, value: object
) -> None:
    assert name(change(digits_run, {field: value})) != name(digits_run)


def test_key_changes_with_the_content_of_data_and_pool(digits_run: Run) -> None:
    keys = {
        key(digits_run, data_fingerprint=data, outliers_fingerprint=pool)
        for data in "ab"
        for pool in "ab"
    }
    assert len(keys) == 4


def test_run_survives_json(digits_run: Run) -> None:
    assert parse(json.loads(digits_run.model_dump_json())) == digits_run


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("training.speed", 1, "no field 'training.speed'; known: data.name"),
        ("lr", 1, "no field 'lr'; nearest: training.lr; known: data.name"),
        ("trainng.epochs", 1, "nearest: training.epochs; known: data.name"),
        ("trainng.epoch", 1, "nearest: training.epochs; known: data.name"),
        ("training.lr", -1.0, "training.lr = -1.0: Input should be greater than 0"),
        ("training.lr", float("nan"), "training.lr"),
        ("training.epochs", 1.5, "training.epochs = 1.5"),
        ("training.epochs", True, "training.epochs = True"),
        ("net.name", "CNN", "net.name = 'CNN': Input should be 'FCDD_CNN28'"),
        ("net.name", "FCDD_CNN32", "fitting: FCDD_CNN28, FCDD_CNN28_W"),
        ("data.normal_class", 10, "does not exist in 'digits'; known: 0 to 9"),
        ("outliers.source", "none", "'outlier_exposure' needs a pool"),
        ("training.lr_milestones", [3], "'exponential' takes none"),
        ("protocol", "published", "objective.one_label_batches, heatmaps.upsampling"),
    ],
)
def test_impossible_value_is_refused_with_path_and_rule(
    digits_run: Run, field: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        change(digits_run, {field: value})
    assert message in str(caught.value)


def test_aug1_exists_for_cifar_but_lcnaug1_does_not(digits_run: Run) -> None:
    fields = {"data.name": "cifar10", "net.name": "FCDD_CNN32"}
    assert change(digits_run, {**fields, "data.preprocessing": "aug1"}).data.name == "cifar10"
    with pytest.raises(ValueError, match="known: none, lcn, aug1"):
        change(digits_run, {**fields, "data.preprocessing": "lcnaug1"})


def test_flatten_names_fields_with_dots(digits_run: Run) -> None:
    flat = flatten(digits_run)
    assert flat["training.lr"] == 1e-3
    assert flat["seed"] == 7
    assert not any(isinstance(value, dict) for value in flat.values())


def test_change_shares_the_parts_it_leaves_and_validates_them_anew(digits_run: Run) -> None:
    changed = change(digits_run, {"training.epochs": 7, "seed": 5})
    assert changed == parse(json.loads(changed.model_dump_json()))
    assert (changed.training.epochs, changed.seed) == (7, 5)
    assert changed.net is digits_run.net
    assert changed.training is not digits_run.training
    assert digits_run.training.epochs != 7
    net = change(digits_run, {"net": digits_run.net.model_copy(update={"bias": True})}).net
    assert net.bias
