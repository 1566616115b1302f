"""Turns records of a request into drafts: encodes them, and notes what is wrong with them."""

from collections.abc import Iterable, Mapping

from pydantic_core import from_json

from midstream.v1.record_pb2 import NewRecord, Payload
from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import KEY_BYTES, METADATA_BYTES, METADATA_PAIRS, Limits
from midstream_server.domain.record import Draft
from midstream_server.transport import wire
from midstream_server.transport.caller import Caller

_NO_METADATA: dict[str, str] = {}


class Drafter:
    """Drafts for one server's limits."""

    def __init__(self, limits: Limits) -> None:
        self._max_payload_bytes = limits.max_payload_bytes

    def drafts(self, records: Iterable[NewRecord], caller: Caller) -> list[Draft]:
        sender = wire.sender_field(caller.kind, caller.subject)
        return [self._draft(record, sender) for record in records]

    def draft(self, record: NewRecord, caller: Caller) -> Draft:
        return self._draft(record, wire.sender_field(caller.kind, caller.subject))

    def argument(self, payload: Payload, path: str) -> Draft:
        """A task's argument or result: a payload without a place on a stream."""
        return Draft(None, wire.payload_field(payload), b"", content_bytes(payload), self._payload_flaw(payload, path))

    def _draft(self, record: NewRecord, sender: bytes) -> Draft:
        payload = record.payload
        key = record.idempotency_key
        metadata = dict(record.metadata) if record.metadata else _NO_METADATA
        return Draft(
            key or None,
            wire.payload_field(payload),
            wire.envelope_fields(sender, key, metadata),
            content_bytes(payload),
            _key_flaw(key) or _metadata_flaw(metadata) or self._payload_flaw(payload, "payload"),
        )

    def _payload_flaw(self, payload: Payload, path: str) -> Refused | None:
        size = content_bytes(payload)
        if size > self._max_payload_bytes:
            return errors.payload_too_large(size, self._max_payload_bytes)
        match payload.WhichOneof("content"):
            case "json":
                return _json_flaw(payload.json, path)
            case "proto":
                if not payload.proto.type_name:
                    return errors.payload_invalid(f"{path}.proto.type_name", "is required")
            case None:
                return errors.payload_invalid(
                    path, "is empty: set one of json, proto and raw (JSON null is the text null)"
                )
        return None


def content_bytes(payload: Payload) -> int:
    """The size of what the payload carries, without its framing."""
    match payload.WhichOneof("content"):
        case "json":
            return len(payload.json) if payload.json.isascii() else len(payload.json.encode())
        case "proto":
            return len(payload.proto.value)
        case "raw":
            return len(payload.raw)
    return 0


def _json_flaw(text: str, path: str) -> Refused | None:
    try:
        from_json(text, allow_inf_nan=False, cache_strings="none")
    except ValueError as error:
        return errors.payload_invalid(f"{path}.json", f"is not well-formed JSON: {error}")
    return None


def _key_flaw(key: str) -> Refused | None:
    if len(key) * 4 > KEY_BYTES and len(key.encode()) > KEY_BYTES:
        return errors.field_invalid(
            "idempotency_key", f"has {len(key.encode())} bytes, at most {KEY_BYTES} are allowed"
        )
    if "\0" in key:
        return errors.field_invalid("idempotency_key", "contains a NUL character")
    return None


def _metadata_flaw(metadata: Mapping[str, str]) -> Refused | None:
    if not metadata:
        return None
    size = sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
    if len(metadata) > METADATA_PAIRS or size > METADATA_BYTES:
        return errors.field_invalid(
            "metadata",
            f"has {len(metadata)} pairs and {size} bytes, at most {METADATA_PAIRS} and {METADATA_BYTES} are allowed",
        )
    return None


def check_metadata(path: str, metadata: Mapping[str, str]) -> None:
    """For what is no record. Raises Refused."""
    flaw = _metadata_flaw(metadata)
    if flaw is not None:
        raise errors.field_invalid(path, flaw.fields["metadata"])
