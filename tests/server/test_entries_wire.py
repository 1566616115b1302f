"""Entries as bytes are what the generated classes say."""

import pytest

from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.record_pb2 import DIRECTION_INPUT, Payload, Record
from midstream.v1.run_pb2 import Run, RunSpec
from midstream.v1.run_service_pb2 import ListEntriesResponse
from midstream_server.domain import facts
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.managed import StoredEntry
from midstream_server.transport import wire
from midstream_server.transport.entries import entry, repeated_entries, work_entries

AT_US = 1_767_225_600_123_456
OFFSETS = [1, 127, 128, 300, 16_383, 16_384, 2**31, 2**53]
STEP = Entry(step_ended=Entry.StepEnded(operation=1, attempt=2, value=Payload(json="1")))
STEP.checkpoint.CopyFrom(Checkpoint(applied_offset=3, operations=4, operations_hash=b"hash"))


def stored(kind: EntryKind, body: bytes, *, offset: int = 7, at_us: int = AT_US) -> StoredEntry:
    return StoredEntry(offset, kind, at_us, body, None, None)


CASES: dict[EntryKind, tuple[bytes, Entry]] = {
    EntryKind.CREATED: (
        RunSpec(task="t", payload=Payload(json="1")).SerializeToString(),
        Entry(created=Entry.Created(spec=RunSpec(task="t", payload=Payload(json="1")))),
    ),
    EntryKind.STARTED: (facts.started(b"seed", "node20"), Entry(started=Entry.Started(seed=b"seed", runtime="node20"))),
    EntryKind.CANCEL_REQUESTED: (
        facts.cancel_requested(deadline_passed=False),
        Entry(cancel_requested=Entry.CancelRequested()),
    ),
    EntryKind.ENDED: (facts.ended(State.COMPLETED), Entry(ended=Entry.Ended(state=Run.STATE_COMPLETED))),
    EntryKind.STEP_ENDED: (STEP.SerializeToString(), STEP),
    EntryKind.RECORDS_DROPPED: (
        facts.records_dropped("s", 3, 300),
        Entry(records_dropped=Entry.RecordsDropped(stream_id="s", first_seq=3, last_seq=300)),
    ),
    EntryKind.RESTARTED: (
        Entry(restarted=Entry.Restarted(generation=1)).SerializeToString(),
        Entry(restarted=Entry.Restarted(generation=1)),
    ),
}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("at_us", [AT_US, 1_767_225_600_000_000, 0])
def test_an_entry(kind: EntryKind, offset: int, at_us: int) -> None:
    body, expected = CASES[kind]
    decoded = Entry.FromString(entry("run", stored(kind, body, offset=offset, at_us=at_us)))
    assert (decoded.offset, decoded.append_time.ToMicroseconds()) == (offset, at_us)
    decoded.ClearField("offset")
    decoded.ClearField("append_time")
    assert decoded == expected


def test_a_record() -> None:
    payload = Payload(raw=bytes(300))
    found = StoredEntry(5, EntryKind.RECORD, AT_US, wire.payload_field(payload) + wire.key_field("key"), "stream", 3)
    decoded = Entry.FromString(entry("run", found))
    assert decoded.offset == 5
    expected = Record(
        run_id="run",
        stream_id="stream",
        direction=DIRECTION_INPUT,
        seq=3,
        offset=5,
        payload=payload,
        idempotency_key="key",
    )
    expected.accept_time.FromMicroseconds(AT_US)
    assert decoded.record == expected


def test_frames_of_entries() -> None:
    many = [stored(EntryKind.STEP_ENDED, STEP.SerializeToString(), offset=offset) for offset in OFFSETS]
    frame = pb.WorkResponse.FromString(work_entries("run", 300, many)).entries
    assert (frame.run_id, frame.epoch) == ("run", 300)
    page = ListEntriesResponse.FromString(repeated_entries("run", many))
    assert [each.offset for each in frame.entries] == [each.offset for each in page.entries] == OFFSETS
    assert all(each.step_ended == STEP.step_ended for each in (*frame.entries, *page.entries))


def test_a_large_entry() -> None:
    body = Entry(step_ended=Entry.StepEnded(value=Payload(raw=bytes(1024 * 1024)))).SerializeToString()
    frame = pb.WorkResponse.FromString(work_entries("run", 1, [stored(EntryKind.STEP_ENDED, body)]))
    assert len(frame.entries.entries[0].step_ended.value.raw) == 1024 * 1024
