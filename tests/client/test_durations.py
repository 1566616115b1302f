"""Durations: every accepted spelling, and that nonsense is an error and never "no timeout"."""

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from midstream import durations

SECOND = 1_000_000
DAY = 86_400 * SECOND


@pytest.mark.parametrize(
    ("value", "microseconds"),
    [
        ("7d", 7 * DAY),
        ("2w", 14 * DAY),
        ("90s", 90 * SECOND),
        ("500ms", 500_000),
        ("5m", 300 * SECOND),
        ("1h30m", 5_400 * SECOND),
        (" 1h 30m ", 5_400 * SECOND),
        ("1.5s", 1_500_000),
        ("0s", 0),
        ("3us", 3),
        ("0.1us", 1),
        (0, 0),
        (30, 30 * SECOND),
        (0.5, 500_000),
        (0.1, 100_000),
        (1e-9, 1),
        (Decimal("0.25"), 250_000),
        (timedelta(days=7), 7 * DAY),
        (timedelta(microseconds=1), 1),
    ],
)
def test_accepted(value: durations.Duration, microseconds: int) -> None:
    assert durations.parse(value) == microseconds


@pytest.mark.parametrize(("unit", "microseconds"), [("us", 2), ("ms", 2_000), ("m", 120 * SECOND), ("d", 2 * DAY)])
def test_a_bare_number_counts_in_the_unit_of_its_parameter(unit: durations.Unit, microseconds: int) -> None:
    assert durations.parse(2, unit=unit) == microseconds


BAD_NUMBERS = [-1, -0.5, math.nan, math.inf, timedelta(seconds=-1), 10**30]
BAD_TEXTS = ["", "  ", "5 parsecs", "-1s", "7", "d7", "1s nonsense", "1e3s", "٣s", "inf", "nan", "2000000d"]


@pytest.mark.parametrize("value", [*BAD_TEXTS, *BAD_NUMBERS])
def test_nonsense_is_a_value_error_that_shows_the_value_and_examples(value: durations.Duration) -> None:
    with pytest.raises(ValueError, match="'7d', '90s'") as caught:
        durations.parse(value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [True, False, None, [], b"7d", object()])
def test_another_type_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="'7d', '90s'"):
        durations.parse(value)


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "0s"),
        (7, "7us"),
        (1_500, "1.5ms"),
        (500_000, "500ms"),
        (12_500_000, "12.5s"),
        (59_999_999, "59.9s"),
        (60 * SECOND, "1m"),
        (90 * SECOND, "1m 30s"),
        (2 * DAY + 3 * 3_600 * SECOND + 5 * SECOND, "2d 3h"),
        (-90 * SECOND, "-1m 30s"),
    ],
)
def test_format_for_people(microseconds: int, text: str) -> None:
    assert durations.format(microseconds) == text
