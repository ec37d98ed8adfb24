import pytest

from jobs.durations import brief, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90.0), ("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0), ("1.5d", 129_600.0)],
)
def test_durations_are_read_in_any_unit(text: str, expected: float) -> None:
    assert seconds(text, option="--time-limit") == expected


@pytest.mark.parametrize("text", ["", "0", "-2h", "2 hours", "nan", "h"])
def test_what_is_no_duration_is_refused_by_option(text: str) -> None:
    with pytest.raises(ValueError, match="--time-limit .* is no duration; give seconds, or"):
        seconds(text, option="--time-limit")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4.4, "4 s"),
        (61, "1 min"),
        (3580, "1 h 00 min"),
        (11_100, "3 h 05 min"),
        (187_200, "2 d 04 h"),
    ],
)
def test_durations_are_told_in_two_units_at_most(value: float, expected: str) -> None:
    assert brief(value) == expected
