"""Records as bytes, without building messages: a stored body passes through untouched.

In protobuf's encoding the fields of a message may follow each other in any order, so a Record is what the store kept
(payload, sender, key, metadata), between the names and the place that belong to it. Receipts are written likewise.
`tests/server/test_wire.py` holds every function against the generated classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from midstream.v1.record_pb2 import Payload, Record, Sender
from midstream_server.domain.accept import Accepted
from midstream_server.domain.record import Direction, StoredRecord

_RECORD_SEQ = b"\x20"
_RECORD_OFFSET = b"\x28"
_RECORD_PAYLOAD = b"\x32"
_RECORD_ACCEPT_TIME = b"\x42"
_RECORD_KEY = b"\x4a"


def varint(number: int) -> bytes:
    """A non-negative number in base 128."""
    if number < _TABLED:
        return _TABLE[number]
    return _CONTINUED[number % _TABLED] + varint(number // _TABLED)


_TABLED = 0x4000
_TABLE = [bytes((number,)) for number in range(0x80)]
_TABLE += [bytes((number & 0x7F | 0x80, number >> 7)) for number in range(0x80, _TABLED)]
"""Every number of one and two bytes: nearly all lengths, and many positions."""
_CONTINUED = [bytes((number & 0x7F | 0x80, number >> 7 | 0x80)) for number in range(_TABLED)]
"""The two lowest bytes of greater ones."""


def delimited(tag: bytes, content: bytes) -> bytes:
    """A field of the kinds string, bytes and message."""
    return tag + varint(len(content)) + content


def payload_field(payload: Payload) -> bytes:
    """The payload as a field of a Record."""
    content = payload.SerializeToString()
    return _RECORD_PAYLOAD + varint(len(content)) + content


def key_field(key: str) -> bytes:
    """The idempotency key as a field of a Record."""
    text = key.encode()
    return _RECORD_KEY + varint(len(text)) + text


def metadata_fields(metadata: Mapping[str, str]) -> bytes:
    """The metadata as fields of a Record."""
    return Record(metadata=metadata).SerializeToString(deterministic=True)


@lru_cache(maxsize=1024)
def sender_field(kind: str, subject: str) -> bytes:
    """The sender as a field of a Record. `kind` is the name of a Sender.Kind without its prefix."""
    sender = Sender(kind=Sender.Kind.Value(f"KIND_{kind}"), subject=subject)
    return Record(sender=sender).SerializeToString()


@lru_cache(maxsize=1024)
def _names(run_id: str, stream_id: str, direction: Direction) -> bytes:
    """What tells one stream from all others."""
    number = direction.value
    return Record(run_id=run_id, stream_id=stream_id, direction=number).SerializeToString()  # type: ignore[arg-type]


def time(at_us: int) -> bytes:
    """A Timestamp."""
    seconds, us = divmod(at_us, 1_000_000)
    encoded = _seconds(seconds)
    if us:
        encoded += b"\x10" + varint(us * 1_000)
    return encoded


@lru_cache(maxsize=1024)
def _seconds(seconds: int) -> bytes:
    """Of a Timestamp."""
    return b"\x08" + varint(seconds)


@lru_cache(maxsize=1024)
def _accept_time_field(at_us: int) -> bytes:
    """Of a Record."""
    return delimited(_RECORD_ACCEPT_TIME, time(at_us))


@lru_cache(maxsize=1024)
def _accepted_time_field(at_us: int) -> bytes:
    """Of an Accepted."""
    return delimited(b"\x1a", time(at_us))


def record(run_id: str, stream_id: str, body: bytes, *, seq: int, offset: bytes, time: bytes) -> bytes:
    """A Record of an input stream; its offset and its time are encoded already."""
    parts = (_names(run_id, stream_id, Direction.INPUT), body, _RECORD_SEQ, varint(seq), _RECORD_OFFSET, offset)
    return b"".join((*parts, _RECORD_ACCEPT_TIME, varint(len(time)), time))


def records(run_id: str, stored: Iterable[StoredRecord], direction: Direction = Direction.INPUT) -> bytes:
    """`repeated Record records = 1`, as in every response that carries records."""
    parts: list[bytes] = []
    for stream_id, seq, offset, at_us, body in stored:
        names = _names(run_id, stream_id, direction)
        place = _RECORD_SEQ + varint(seq) + _RECORD_OFFSET + varint(offset) + _accept_time_field(at_us)
        parts += (b"\x0a", varint(len(names) + len(body) + len(place)), names, body, place)
    return b"".join(parts)


def subscribe_records(run_id: str, stored: Sequence[StoredRecord]) -> bytes:
    """A SubscribeResponse with a `records` frame."""
    return delimited(b"\x12", records(run_id, stored))


def tail_response(
    run_id: str, stored: Sequence[StoredRecord], as_of_offset: int, direction: Direction = Direction.INPUT
) -> bytes:
    """A TailResponse."""
    return records(run_id, stored, direction) + b"\x10" + varint(as_of_offset)


def accepted_receipt(client_ref: int, accepted: Accepted) -> bytes:
    """`repeated Receipt receipts = 1` for one accepted record."""
    seq, offset, at_us, deduplicated, dropped = accepted
    fields = b"\x08" + varint(seq) + b"\x10" + varint(offset) + _accepted_time_field(at_us)
    if deduplicated:
        fields += b"\x20\x01"
    if dropped:
        fields += b"\x28" + varint(dropped)
    # A negative int64 is encoded as its two's complement of 64 bits.
    ref = b"\x08" + varint(client_ref & 0xFFFF_FFFF_FFFF_FFFF) if client_ref else b""
    # Six numbers: both lengths always fit into a byte.
    return b"\x0a%c%b\x12%c%b" % (len(ref) + 2 + len(fields), ref, len(fields), fields)
