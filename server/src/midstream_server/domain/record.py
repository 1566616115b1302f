"""A record before and after it has its place in the log."""

from enum import IntEnum
from typing import NamedTuple

from midstream_server.domain.errors import Refused


class Direction(IntEnum):
    """Which way a stream goes. The numbers are those of `midstream.v1.Direction`."""

    INPUT = 1
    OUTPUT = 2


class Draft(NamedTuple):
    """A record that waits for its place.

    `payload` and `envelope` are the encoded record without its place: first the payload alone, so that a retry can be
    compared byte for byte, then the rest. Nothing but the door looks into them. `size` is the payload's content in
    bytes. `flaw` says why the record cannot be stored; it counts only after the checks that come before it. `sent` is
    the payload as it came, where the door has put another form in its place: a retry may be of one stored before that.
    """

    key: str | None
    payload: bytes
    envelope: bytes
    size: int
    flaw: Refused | None = None
    sent: bytes | None = None


class StoredRecord(NamedTuple):
    """A record with its place. `body` is the draft's payload and envelope; `at_us` microseconds since the epoch."""

    stream_id: str
    seq: int
    offset: int
    at_us: int
    body: bytes
