"""Records and receipts written by hand are what the generated classes would write."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midstream.v1.record_pb2 import DIRECTION_INPUT, DIRECTION_OUTPUT, Payload, Record, Sender, TypedMessage
from midstream.v1.stream_service_pb2 import (
    Accepted as AcceptedMessage,
)
from midstream.v1.stream_service_pb2 import (
    ListRecordsResponse,
    Receipt,
    ReceiveResponse,
    SendOneResponse,
    SendResponse,
    SubscribeResponse,
    TailResponse,
)
from midstream_server.domain.accept import Accepted
from midstream_server.domain.record import Direction, StoredRecord
from midstream_server.transport import wire
from midstream_server.transport.caller import SenderKind

INT64 = st.integers(0, 2**63 - 1)
POSITION = st.sampled_from([1, 127, 128, 16_383, 16_384, 2**32, 2**63 - 1]) | INT64
TIME_US = st.sampled_from([0, 1, 999_999, 1_000_000]) | st.integers(0, 4_000_000_000_000_000)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PAYLOADS = st.one_of(
    st.builds(lambda text: Payload(json=text), TEXT),
    st.builds(lambda raw: Payload(raw=raw), st.binary(max_size=300)),
    st.builds(lambda name, value: Payload(proto=TypedMessage(type_name=name, value=value)), TEXT, st.binary()),
    st.just(Payload()),
)
METADATA = st.dictionaries(TEXT, TEXT, max_size=3)


def set_time(message: Record | AcceptedMessage, at_us: int) -> None:
    message.accept_time.seconds, us = divmod(at_us, 1_000_000)
    message.accept_time.nanos = us * 1_000
    assert message.accept_time.ToDatetime(UTC).microsecond == us


@st.composite
def stored_records(draw: st.DrawFn) -> tuple[Record, StoredRecord]:
    """A message of run `run_1`, and what the store keeps of it."""
    expected = Record(
        run_id="run_1",
        stream_id=draw(st.sampled_from(["s", "user-message", "x" * 128])),
        direction=DIRECTION_INPUT,
        seq=draw(POSITION),
        offset=draw(POSITION),
        payload=draw(PAYLOADS),
        sender=Sender(kind=Sender.KIND_ANONYMOUS),
        idempotency_key=draw(TEXT),
        metadata=draw(METADATA),
    )
    at_us = draw(TIME_US)
    set_time(expected, at_us)
    body = wire.payload_field(expected.payload) + wire.sender_field("ANONYMOUS", "")
    if expected.idempotency_key:
        body += wire.key_field(expected.idempotency_key)
    body += wire.metadata_fields(expected.metadata)
    return expected, StoredRecord(expected.stream_id, expected.seq, expected.offset, at_us, body)


BATCHES = st.lists(stored_records(), max_size=4)


def parts(batch: list[tuple[Record, StoredRecord]]) -> tuple[list[Record], list[StoredRecord]]:
    return [message for message, _ in batch], [stored for _, stored in batch]


@pytest.mark.parametrize("power", range(64))
def test_varint_at_the_edges(power: int) -> None:
    for number in (2**power - 1, 2**power, 2**power + 1):
        check_varint(number)


@given(st.integers(0, 2**64 - 1))
def test_varint(number: int) -> None:
    check_varint(number)


def check_varint(number: int) -> None:
    """Against the classes: as a positive int64, or as the two's complement of a negative one."""
    signed = number - 2**64 if number >= 2**63 else number
    assert Record.FromString(b"\x20" + wire.varint(number)).seq == signed
    if signed:
        assert b"\x20" + wire.varint(number) == Record(seq=signed).SerializeToString()


@given(st.binary(max_size=300))
def test_delimited(content: bytes) -> None:
    assert Payload.FromString(wire.delimited(b"\x1a", content)).raw == content


@given(PAYLOADS)
def test_payload_field(payload: Payload) -> None:
    assert wire.payload_field(payload) == Record(payload=payload).SerializeToString()
    assert Record.FromString(wire.payload_field(payload)).HasField("payload")


@pytest.mark.parametrize("payload", [Payload(json=""), Payload(raw=b""), Payload(proto=TypedMessage())], ids=str)
def test_empty_content_keeps_its_kind(payload: Payload) -> None:
    read = Record.FromString(wire.payload_field(payload)).payload
    assert read.WhichOneof("content") == payload.WhichOneof("content") is not None


@given(TEXT)
def test_key_field(key: str) -> None:
    assert Record.FromString(wire.key_field(key)) == Record(idempotency_key=key)


@given(METADATA)
def test_metadata_fields(metadata: dict[str, str]) -> None:
    assert Record.FromString(wire.metadata_fields(metadata)) == Record(metadata=metadata)


@pytest.mark.parametrize("kind", list(SenderKind))
def test_sender_field(kind: SenderKind) -> None:
    expected = Sender(kind=Sender.Kind.Value(f"KIND_{kind}"), subject="Zoë")
    assert Record.FromString(wire.sender_field(kind, "Zoë")) == Record(sender=expected)


@given(BATCHES)
def test_records(batch: list[tuple[Record, StoredRecord]]) -> None:
    messages, stored = parts(batch)
    encoded = wire.records("run_1", stored)
    assert list(ListRecordsResponse.FromString(encoded).records) == messages
    assert list(ReceiveResponse.FromString(encoded).records) == messages


@given(BATCHES)
def test_records_out_of_a_run(batch: list[tuple[Record, StoredRecord]]) -> None:
    messages, stored = parts(batch)
    for message in messages:
        message.direction = DIRECTION_OUTPUT
    read = ListRecordsResponse.FromString(wire.records("run_1", stored, Direction.OUTPUT))
    assert list(read.records) == messages
    tailed = TailResponse.FromString(wire.tail_response("run_1", stored, 7, Direction.OUTPUT))
    assert tailed == TailResponse(records=messages, as_of_offset=7)


@given(BATCHES)
def test_subscribe_records(batch: list[tuple[Record, StoredRecord]]) -> None:
    messages, stored = parts(batch)
    expected = SubscribeResponse(records=SubscribeResponse.Records(records=messages))
    assert SubscribeResponse.FromString(wire.subscribe_records("run_1", stored)) == expected


@given(BATCHES, INT64)
def test_tail_response(batch: list[tuple[Record, StoredRecord]], as_of_offset: int) -> None:
    messages, stored = parts(batch)
    expected = TailResponse(records=messages, as_of_offset=as_of_offset)
    assert TailResponse.FromString(wire.tail_response("run_1", stored, as_of_offset)) == expected


@given(
    refs=st.lists(st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1), max_size=3),
    seq=POSITION,
    offset=POSITION,
    at_us=TIME_US,
    deduplicated=st.booleans(),
    dropped=st.integers(0, 2**31 - 1),
)
def test_accepted_receipt(refs: list[int], seq: int, offset: int, at_us: int, deduplicated: bool, dropped: int) -> None:
    message = AcceptedMessage(seq=seq, offset=offset, deduplicated=deduplicated, dropped_count=dropped)
    set_time(message, at_us)
    receipts = [Receipt(client_ref=ref, accepted=message) for ref in refs]
    encoded = b"".join(wire.accepted_receipt(ref, Accepted(seq, offset, at_us, deduplicated, dropped)) for ref in refs)
    assert SendResponse.FromString(encoded) == SendResponse(receipts=receipts)
    assert SendOneResponse.FromString(encoded) == SendOneResponse(receipts=receipts)
