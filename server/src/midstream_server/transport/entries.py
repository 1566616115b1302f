"""Log entries as bytes, without building messages: see `wire`."""

from collections.abc import Iterable

from midstream_server.domain.run import EntryKind
from midstream_server.store.managed import StoredEntry
from midstream_server.transport import wire

_ENTRY_CREATED = b"\x1a"
_ENTRY_RECORD = b"\x2a"
_CREATED_SPEC = b"\x0a"


def entry(run_id: str, stored: StoredEntry) -> bytes:
    """An Entry."""
    offset, kind, at_us, body, stream_id, seq = stored
    number, time = wire.varint(offset), wire.time(at_us)
    place = b"\x08" + number + wire.delimited(b"\x12", time)
    if kind is EntryKind.RECORD and stream_id is not None and seq is not None:
        record = wire.record(run_id, stream_id, body, seq=seq, offset=number, time=time)
        return place + wire.delimited(_ENTRY_RECORD, record)
    if kind is EntryKind.CREATED:
        return place + wire.delimited(_ENTRY_CREATED, wire.delimited(_CREATED_SPEC, body))
    return place + body


def repeated_entries(run_id: str, stored: Iterable[StoredEntry]) -> bytes:
    """`repeated Entry entries = 1`."""
    return b"".join(wire.delimited(b"\x0a", entry(run_id, each)) for each in stored)


def assigned_frame(assigned: bytes, run_id: str, stored: Iterable[StoredEntry]) -> bytes:
    """A WorkResponse with an `assigned` frame: the serialised one, and its first entries."""
    assigned += b"".join(wire.delimited(b"\x3a", entry(run_id, each)) for each in stored)
    return wire.delimited(b"\x12", assigned)


def work_entries(run_id: str, epoch: int, stored: Iterable[StoredEntry]) -> bytes:
    """A WorkResponse with an `entries` frame."""
    frame = wire.delimited(b"\x0a", run_id.encode()) + b"\x10" + wire.varint(epoch)
    frame += b"".join(wire.delimited(b"\x1a", entry(run_id, each)) for each in stored)
    return wire.delimited(b"\x1a", frame)
