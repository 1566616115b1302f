"""Protobuf's times as aware datetimes."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(timestamp: Timestamp) -> datetime:
    """In UTC, to the microsecond."""
    return _cached(timestamp.seconds, timestamp.nanos)


@lru_cache(maxsize=256)  # The records of one commit share their time.
def _cached(seconds: int, nanos: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1_000)


def to_timestamp(moment: datetime) -> Timestamp:
    """Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    timestamp = Timestamp()
    timestamp.FromMicroseconds((moment - _EPOCH) // timedelta(microseconds=1))
    return timestamp
