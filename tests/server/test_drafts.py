"""What is wrong with a record, and what is kept of it."""

import json

import pytest

from midstream.v1.record_pb2 import NewRecord, Payload, Record, TypedMessage
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.limits import KEY_BYTES, METADATA_BYTES, METADATA_PAIRS, Limits
from midstream_server.domain.record import Draft
from midstream_server.transport.caller import ANONYMOUS
from midstream_server.transport.drafts import Drafter, check_metadata

MIB = 1024 * 1024
DRAFTER = Drafter(Limits())


def draft(payload: Payload, *, key: str = "", metadata: dict[str, str] | None = None) -> Draft:
    return DRAFTER.draft("s", NewRecord(payload=payload, idempotency_key=key, metadata=metadata), ANONYMOUS)


def flaw(payload: Payload, *, key: str = "", metadata: dict[str, str] | None = None) -> Refused:
    found = draft(payload, key=key, metadata=metadata).flaw
    assert found is not None
    return found


FINE = [
    "null", "false", "0", '""', '"123"', '"😀"', "[]", "{}", " 1 ", "1e308", "-0.0", '{"a": 1, "a": 2}',
    '"\\u0000"', '"\\ud83d\\ude00"', str(2**200), json.dumps("é" * 100), "[" * 100 + "]" * 100,
]  # fmt: skip


@pytest.mark.parametrize("text", FINE, ids=lambda text: text[:12])
def test_json_is_kept_as_it_came(text: str) -> None:
    made = draft(Payload(json=text))
    assert made.flaw is None
    assert made.size == len(text.encode())
    assert Record.FromString(made.payload).payload.json == text


BROKEN = [
    "", " ", "nul", "NaN", "Infinity", "-Infinity", "{'a': 1}", "[1,]", "1 2", "{", '"', "01", "+1", ".5", "\ufeff1",
    '"\n"', '"\\x"', "// no", "[" * 100_000, "True",
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: repr(text[:12]))
def test_what_is_not_json_is_refused(text: str) -> None:
    refused = flaw(Payload(json=text))
    assert refused.reason is Reason.PAYLOAD_INVALID
    assert list(refused.fields) == ["payload.json"]
    assert len(refused.message) < 300


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert flaw(Payload(json='"\\ud800"')).reason is Reason.PAYLOAD_INVALID


def test_a_payload_without_content_is_refused() -> None:
    refused = flaw(Payload())
    assert refused.reason is Reason.PAYLOAD_INVALID
    assert list(refused.fields) == ["payload"]
    assert flaw(NewRecord().payload).reason is Reason.PAYLOAD_INVALID


def test_empty_bytes_are_content() -> None:
    assert draft(Payload(raw=b""))[3:5] == (0, None)


def test_a_message_needs_the_name_of_its_type() -> None:
    refused = flaw(Payload(proto=TypedMessage(value=b"x")))
    assert (refused.reason, list(refused.fields)) == (Reason.PAYLOAD_INVALID, ["payload.proto.type_name"])
    assert draft(Payload(proto=TypedMessage(type_name="acme.v1.X")))[3:5] == (0, None)


def sized(size: int) -> dict[str, Payload]:
    return {
        "json": Payload(json='"' + "x" * (size - 2) + '"'),
        "multibyte json": Payload(json='"' + "é" * ((size - 2) // 2) + "x" * ((size - 2) % 2) + '"'),
        "raw": Payload(raw=b"\xff" * size),
        "proto": Payload(proto=TypedMessage(type_name="acme.v1.X", value=b"x" * size)),
    }


@pytest.mark.parametrize("kind", sized(2))
def test_a_mebibyte_exactly_is_accepted_and_one_byte_more_is_not(kind: str) -> None:
    fits = draft(sized(MIB)[kind])
    assert (fits.size, fits.flaw) == (MIB, None)
    refused = flaw(sized(MIB + 1)[kind])
    assert refused.reason is Reason.PAYLOAD_TOO_LARGE
    assert refused.metadata == {"payload_bytes": str(MIB + 1), "max_payload_bytes": str(MIB), "stream_id": "s"}


def test_size_comes_before_form() -> None:
    assert flaw(Payload(json="x" * (MIB + 1))).reason is Reason.PAYLOAD_TOO_LARGE


@pytest.mark.parametrize(
    ("key", "fine"),
    [("k" * KEY_BYTES, True), ("k" * (KEY_BYTES + 1), False), ("é" * 64, True), ("é" * 65, False), ("😀" * 32, True),
     ("😀" * 33, False), ("a\0b", False), (" ", True), ("k" * 100_000, False)],
)  # fmt: skip
def test_keys_are_bounded_in_bytes(key: str, fine: bool) -> None:
    made = draft(Payload(json="1"), key=key)
    assert made.key == key
    assert (made.flaw is None) == fine
    if made.flaw is not None:
        assert (made.flaw.reason, list(made.flaw.fields)) == (Reason.FIELD_INVALID, ["idempotency_key"])


@pytest.mark.parametrize(
    ("metadata", "fine"),
    [
        ({str(number): "" for number in range(METADATA_PAIRS)}, True),
        ({str(number): "" for number in range(METADATA_PAIRS + 1)}, False),
        ({"k": "v" * (METADATA_BYTES - 1)}, True),
        ({"k": "v" * METADATA_BYTES}, False),
        ({"k": "é" * (METADATA_BYTES // 2)}, False),
        ({"": ""}, True),
    ],
    ids=["32 pairs", "33 pairs", "8 KiB", "8 KiB + 1", "multibyte", "empty"],
)
def test_metadata_is_bounded(metadata: dict[str, str], fine: bool) -> None:
    found = draft(Payload(json="1"), metadata=metadata).flaw
    assert (found is None) == fine
    if found is None:
        check_metadata("spec.metadata", metadata)
        return
    assert (found.reason, list(found.fields)) == (Reason.FIELD_INVALID, ["metadata"])
    with pytest.raises(Refused) as refused:
        check_metadata("spec.metadata", metadata)
    assert list(refused.value.fields) == ["spec.metadata"]


def test_a_draft_is_a_record_without_its_place() -> None:
    payload = Payload(json='"é"')
    made = draft(payload, key="clé", metadata={"traceparent": "00", "b": "2"})
    record = Record.FromString(made.payload + made.envelope)
    assert record.payload == payload
    assert (record.idempotency_key, dict(record.metadata)) == ("clé", {"traceparent": "00", "b": "2"})
    assert record.sender.kind == record.sender.KIND_ANONYMOUS


def test_the_payload_part_is_the_same_whatever_surrounds_it() -> None:
    one = draft(Payload(json="1"), key="a")
    other = draft(Payload(json="1"), key="b", metadata={"a": "b"})
    assert one.payload == other.payload
    assert draft(Payload(raw=b"1")).payload != one.payload


def test_no_key_is_none() -> None:
    assert draft(Payload(json="1")).key is None


def test_drafts_are_in_order_and_an_argument_names_its_path() -> None:
    batch = DRAFTER.drafts("s", [NewRecord(payload=Payload(json=text)) for text in ("1", "x", "3")], ANONYMOUS)
    assert [each.flaw is None for each in batch] == [True, False, True]
    argument = DRAFTER.argument(Payload(json="x"), "spec.payload")
    assert argument.flaw is not None
    assert list(argument.flaw.fields) == ["spec.payload.json"]


def test_an_operator_may_set_another_limit() -> None:
    made = Drafter(Limits(max_payload_bytes=3)).drafts(
        "s", [NewRecord(payload=Payload(raw=raw)) for raw in (b"123", b"1234")], ANONYMOUS
    )
    assert [each.flaw is None for each in made] == [True, False]
