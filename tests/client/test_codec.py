"""Values to payloads and back."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel, Field

from midstream.codec import ANY, codec_for
from midstream.errors import PayloadError
from midstream.v1.record_pb2 import Payload, TypedMessage


class Approval(BaseModel):
    approved: bool
    by: str = Field(min_length=1, alias="approvedBy")
    at: datetime | None = None


@dataclass
class Point:
    x: int
    y: int


APPROVAL = Approval(approved=True, approvedBy="ann", at=datetime(2026, 1, 1, tzinfo=UTC))

VALUES: list[Any] = [
    None, False, True, 0, -1, 2**63, 1.5, "", "123", "null", "😀\u2028\x00", [], {}, [None, [0]],
    {"": {"a": None}}, b"", b"\x00\xff",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    decoded = ANY.decode(ANY.encode(value))
    assert decoded == value
    assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Approval, APPROVAL),
        (Point, Point(1, 2)),
        (str, "123"),
        (str, ""),
        (int, 0),
        (bool, False),
        (type(None), None),
        (str | None, None),
        (list[int], []),
        (dict[str, Approval], {"a": APPROVAL}),
        (Literal["stop", "go"], "stop"),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (bytes, b""),
        (bytes, b"\x00\xff"),
        (Timestamp, Timestamp(seconds=5)),
        (Timestamp, Timestamp()),
    ],
    ids=repr,
)
def test_a_declared_type_comes_back_as_it_was(declared: Any, value: object) -> None:
    codec = codec_for(declared)
    decoded = codec.decode(codec.encode(value))
    assert decoded == value
    assert type(decoded) is type(value)


def test_each_form_has_its_own_encoding_on_the_wire() -> None:
    assert json.loads(codec_for(Approval).encode(APPROVAL).json)["approvedBy"] == "ann"
    assert ANY.encode({"a": "é"}).json == '{"a":"é"}'
    assert ANY.encode(None).json == "null"
    assert codec_for(bytes).encode(b"x").raw == b"x"
    assert ANY.encode(b"").WhichOneof("content") == "raw"
    assert codec_for(Timestamp).encode(Timestamp(seconds=5)).proto.type_name == "google.protobuf.Timestamp"


def test_models_and_messages_may_go_to_a_stream_without_a_type() -> None:
    assert ANY.encode(APPROVAL) == codec_for(Approval).encode(APPROVAL)
    assert ANY.encode(Point(1, 2)).json == '{"x":1,"y":2}'
    assert ANY.encode(Timestamp(seconds=5)) == codec_for(Timestamp).encode(Timestamp(seconds=5))


def test_a_plain_dict_may_stand_for_its_model() -> None:
    sent: Any = {"approved": True, "approvedBy": "ann"}
    assert codec_for(Approval).encode(sent).json == '{"approved":true,"approvedBy":"ann","at":null}'


def test_json_from_a_person_is_read_as_the_message_that_the_stream_declares() -> None:
    assert codec_for(Timestamp).decode(Payload(json='"1970-01-01T00:00:05Z"')) == Timestamp(seconds=5)


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, float("nan"), float("inf"), "\ud800", CIRCLE, {"a": object()}],
    ids=["object", "set", "nan", "infinity", "half a surrogate pair", "circle", "object within"],
)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(PayloadError, match="cannot send"):
        ANY.encode(value)


@pytest.mark.parametrize(
    ("declared", "value"), [(bytes, "text"), (Timestamp, TypedMessage()), (Approval, 7), (int, "x")], ids=repr
)
def test_a_value_of_another_type_is_refused(declared: Any, value: Any) -> None:
    with pytest.raises(PayloadError, match="cannot send"):
        codec_for(declared).encode(value)


def test_an_error_names_each_field() -> None:
    with pytest.raises(PayloadError) as caught:
        codec_for(Approval).decode(Payload(json='{"approvedBy": ""}'))
    assert set(caught.value.fields) == {"approved", "approvedBy"}
    assert "approved: Field required" in str(caught.value)
    assert caught.value.reason == "PAYLOAD_INVALID"


@pytest.mark.parametrize(
    ("declared", "payload", "got"),
    [
        (Approval, Payload(raw=b"x"), "bytes"),
        (Approval, Payload(), "nothing"),
        (bytes, Payload(json="1"), "JSON"),
        (Timestamp, Payload(proto=TypedMessage(type_name="acme.Other")), "acme.Other"),
        (None, Payload(), "nothing"),
    ],
    ids=repr,
)
def test_a_payload_of_another_kind_is_refused(declared: Any, payload: Payload, got: str) -> None:
    with pytest.raises(PayloadError, match=got):
        codec_for(declared).decode(payload)


@pytest.mark.parametrize(
    ("declared", "payload"),
    [
        (None, Payload(json="{")),
        (Approval, Payload(json="{")),
        (Timestamp, Payload(json='"tomorrow"')),
        (Timestamp, Payload(proto=TypedMessage(type_name="google.protobuf.Timestamp", value=b"\xff"))),
    ],
    ids=repr,
)
def test_a_broken_payload_is_refused(declared: Any, payload: Payload) -> None:
    with pytest.raises(PayloadError):
        codec_for(declared).decode(payload)


def test_a_type_that_nothing_can_check_is_refused_when_declared() -> None:
    class Opaque:
        pass

    with pytest.raises(TypeError, match="Opaque"):
        codec_for(Opaque)
