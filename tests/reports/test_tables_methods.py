from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reports.methods import heading, labels, rank

Row = dict[str, Any]


@pytest.fixture
def setting(make_row: Callable[..., Row]) -> Callable[..., Row]:
    """A setting with some fields changed, unchecked: labels must not depend on the checks."""
    row = make_row()
    return lambda **fields: row | {k.replace("__", "."): v for k, v in fields.items()}


def test_one_method_is_called_by_its_objective(setting: Callable[..., Row]) -> None:
    assert labels([setting()]) == ["FCDD"]
    assert labels([setting(), setting(objective__name="hsc"), setting(objective__name="ae")]) == [
        *("FCDD", "HSC", "AE"),
    ]


def test_names_say_only_what_varies(setting: Callable[..., Row]) -> None:
    few = [setting(supervision__mode="few_maps", supervision__maps_per_defect=k) for k in (0, 1, 4)]
    assert labels(few) == ["FCDD, k = 0 maps", "FCDD, k = 1 maps", "FCDD, k = 4 maps"]
    assert labels([setting(outliers__limit=8), setting()]) == [
        *("FCDD, 8 OE images", "FCDD, all OE images"),
    ]
    assert labels([setting(heatmaps__gauss_std=12.0), setting(heatmaps__gauss_std=None)]) == [
        *("FCDD, std 12 px", "FCDD, std by field"),
    ]
    # HSC has another net by nature, which its name need not repeat.
    both = [setting(), setting(objective__name="hsc", net__name="CNN28", training__lr=0.1)]
    assert labels(both) == ["FCDD", "HSC"]


def test_a_second_field_is_named_only_where_the_first_does_not_suffice(
    setting: Callable[..., Row],
) -> None:
    found = labels([setting(), setting(outliers__limit=8), setting(outliers__limit=8, threads=2)])
    assert found == [
        *("FCDD, all OE images", "FCDD, 8 OE images, threads 1", "FCDD, 8 OE images, threads 2"),
    ]


FIELDS = {
    "objective.name": st.sampled_from(["fcdd", "hsc", "ae"]),
    "training.lr": st.sampled_from([1e-3, 1e-2]),
    "training.lr_milestones": st.sampled_from([(), (400, 500)]),
    "outliers.limit": st.sampled_from([None, 1, 8]),
    "supervision.mode": st.sampled_from(["unsupervised", "few_maps", "outlier_exposure"]),
    "supervision.maps_per_defect": st.sampled_from([None, 0, 2]),
    "net.bias": st.booleans(),
    "protocol": st.sampled_from(["mended", "published"]),
}


MANY = st.lists(
    st.fixed_dictionaries(FIELDS),
    min_size=1,
    max_size=12,
    unique_by=lambda fields: repr(sorted(fields.items())),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=MANY)
def test_different_settings_never_share_a_name(
    chosen: list[Row], setting: Callable[..., Row]
) -> None:
    rows = [setting() | fields for fields in chosen]
    names = labels(rows)
    assert len(set(names)) == len(rows)
    assert len({rank(row) for row in rows}) == len(rows)


def test_headings_show_values_as_people_write_them() -> None:
    assert heading("objective.name", "hsc") == "HSC"
    assert heading("data.name", "mvtec") == "MVTec-AD"
    assert heading("outliers.limit", None) == "all"
    assert heading("training.lr", 1e-4) == "0.0001"
    assert heading("training.lr_milestones", (400, 500)) == "400 500"
    assert heading("net.bias", True) == "yes"
