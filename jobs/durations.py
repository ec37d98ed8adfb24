"""Durations as people write them."""

import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str, *, option: str) -> float:
    """The seconds of "90s", "30m", "2h", "1.5d" or a bare number of seconds; more than 0.

    Raises ValueError naming `option`.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    value = float(found[1]) * _UNITS[found[2] or "s"] if found else 0.0
    if value <= 0:
        raise ValueError(
            f"{option} {text!r} is no duration; give seconds, or a number with s, m, h or d: 2h"
        )
    return value


def brief(value: float) -> str:
    """`value` seconds in one or two units: "45 s", "12 min", "3 h 05 min", "2 d 04 h"."""
    if value < 60:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60:02d} h"
