"""Durations as people write them, in whole microseconds."""

import math
import re
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

Unit = Literal["us", "ms", "s", "m", "h", "d", "w"]
Duration = str | int | float | Decimal | Fraction | timedelta
"""What `parse` takes. A parameter that may also be `None` says itself what `None` means."""

US_PER: Final[dict[str, int]] = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
MAX_US: Final = 1_000 * 366 * US_PER["d"]
"""About 1,000 years: more is a mistake, and would overflow timestamps."""

_EXAMPLES: Final = "write '7d', '90s', '500ms' or '1h30m', a timedelta, or a number"
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)\s*", re.ASCII)


def parse(value: Duration, *, unit: Unit = "s") -> int:
    """The duration in whole microseconds, rounded up, so that nothing ever ends early.

    Text is one or more numbers, each with its unit (us, ms, s, m, h, d, w). A bare number counts in `unit`. Raises
    TypeError for a value of another type, and ValueError for one that is negative, not finite, over 1,000 years, or
    text that is no duration.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal, Fraction, timedelta)):
        raise TypeError(f"{value!r} is no duration: {_EXAMPLES}")
    microseconds = math.ceil(_exact(value, unit))
    if microseconds < 0:
        raise ValueError(f"a duration cannot be negative, got {value!r}: {_EXAMPLES}")
    if microseconds > MAX_US:
        raise ValueError(f"{value!r} is over 1,000 years: {_EXAMPLES}")
    return microseconds


def format(us: int) -> str:
    """A duration for people: `2d 3h`, `1m 30s`, `12.5s`, `500ms`; at most two units, and cut, not rounded."""
    if us < 0:
        return "-" + format(-us)
    for larger, smaller in (("d", "h"), ("h", "m"), ("m", "s")):
        if us >= US_PER[larger]:
            count, rest = divmod(us, US_PER[larger])
            remainder = rest // US_PER[smaller]
            return f"{count}{larger} {remainder}{smaller}" if remainder else f"{count}{larger}"
    for name in ("s", "ms"):
        if us >= US_PER[name]:
            return f"{us * 10 // US_PER[name] / 10:g}{name}"
    return f"{us}us" if us else "0s"


def _exact(value: Duration, unit: Unit) -> Fraction:
    """The duration in microseconds, without rounding."""
    if isinstance(value, timedelta):
        return Fraction(value // timedelta(microseconds=1))
    if isinstance(value, str):
        return _exact_text(value)
    if not math.isfinite(value):
        raise ValueError(
            f"a duration must be finite, got {value!r}: {_EXAMPLES}; None stands for no limit, where allowed"
        )
    # A float is read as it prints: 0.1 is a tenth, not the binary number a trifle above it.
    exact = Fraction(str(value)) if isinstance(value, float) else Fraction(value)
    return exact * US_PER[unit]


def _exact_text(text: str) -> Fraction:
    rest = text.strip()
    if not rest:
        raise ValueError(f"{text!r} is no duration: {_EXAMPLES}")
    total = Fraction(0)
    while rest:
        part = _PART.match(rest)
        if part is None:
            raise ValueError(f"{text!r} is no duration: {_EXAMPLES}")
        total += Fraction(part[1]) * US_PER[part[2]]
        rest = rest[part.end() :]
    return total
