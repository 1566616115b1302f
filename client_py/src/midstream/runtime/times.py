"""Whole microseconds since 1970 (UTC), as the log's timestamps and as what a loop counts in."""

import math
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from midstream.durations import MAX_US

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FLOAT_NOISE_US: Final = 0.001


def to_us(timestamp: Timestamp) -> int:
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1_000


def to_timestamp(us: int) -> Timestamp:
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1_000)


def to_datetime(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def delay_us(seconds: float) -> int:
    """A delay, rounded up; 1.1 s is 1,100,000 µs, not one more. What is not finite lasts as long as anything can."""
    if not seconds * 1e6 < MAX_US:
        return MAX_US
    return math.ceil(seconds * 1e6 - _FLOAT_NOISE_US)


def first_us_at(seconds: float) -> int:
    """The first whole microsecond that, counted in seconds, is not before `seconds`."""
    if not seconds * 1e6 < 2 * MAX_US:
        return 2 * MAX_US
    us = math.ceil(seconds * 1e6) - 1
    while us / 1e6 < seconds:
        us += 1
    return us
