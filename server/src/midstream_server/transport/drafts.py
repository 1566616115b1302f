"""Turns records of a request into drafts: encodes them, and notes what is wrong with them."""

from collections.abc import Iterable, Mapping

from pydantic_core import from_json

from midstream.v1.record_pb2 import NewRecord, Payload, TypedMessage
from midstream.v1.worker_service_pb2 import WorkRequest
from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import KEY_BYTES, METADATA_BYTES, METADATA_PAIRS, Limits
from midstream_server.domain.output import OutputDraft
from midstream_server.domain.record import Draft
from midstream_server.transport import wire
from midstream_server.transport.caller import Caller

_FRAMING_BYTES = 1_024


class Drafter:
    """Drafts for one server's limits."""

    def __init__(self, limits: Limits) -> None:
        self._max_payload_bytes = limits.max_payload_bytes

    def drafts(self, stream_id: str, records: Iterable[NewRecord], caller: Caller) -> list[Draft]:
        sender = wire.sender_field(caller.kind, caller.subject)
        return [self._draft(stream_id, record, sender) for record in records]

    def draft(self, stream_id: str, record: NewRecord, caller: Caller) -> Draft:
        return self._draft(stream_id, record, wire.sender_field(caller.kind, caller.subject))

    def output(self, record: WorkRequest.OutputRecord, sender: bytes) -> OutputDraft:
        """What a worker's run appends. `sender` is a field of a Record."""
        draft = self._encode(record.stream_id, record.payload, None, record.metadata, sender)
        return OutputDraft(record.stream_id, draft, record.operation, record.attempt, record.place)

    def argument(self, payload: Payload, path: str) -> Draft:
        """A task's argument or result: a payload without a place on a stream."""
        size, flaw = self._inspect(payload, path)
        encoded = wire.payload_field(payload)
        return Draft(None, encoded, b"", size, flaw or _framing_flaw(len(encoded) - size, path))

    def _draft(self, stream_id: str, record: NewRecord, sender: bytes) -> Draft:
        return self._encode(stream_id, record.payload, record.idempotency_key, record.metadata, sender)

    def _encode(
        self, stream_id: str, payload: Payload, key: str | None, metadata: Mapping[str, str], sender: bytes
    ) -> Draft:
        size, flaw = self._inspect(payload, "payload")
        envelope = sender
        if key:
            envelope += wire.key_field(key)
            flaw = _key_flaw(key) or flaw
        if metadata:
            envelope += wire.metadata_fields(metadata)
            flaw = _metadata_flaw(metadata) or flaw
        encoded = wire.payload_field(payload)
        flaw = flaw or _framing_flaw(len(encoded) - size, "payload")
        if flaw is not None:
            flaw = errors.on_stream(flaw, stream_id)
        return Draft(key or None, encoded, envelope, size, flaw)

    def _inspect(self, payload: Payload, path: str) -> tuple[int, Refused | None]:
        """The size of what the payload carries, in bytes and without its framing, and what is wrong with it."""
        if raw := payload.raw:  # To ask which kind is set takes longer than all the rest of this.
            size, flaw = len(raw), None
        elif (kind := payload.WhichOneof("content")) == "json":
            text = payload.json
            size = len(text) if text.isascii() else len(text.encode())
            flaw = None if size > self._max_payload_bytes else _json_flaw(text, path)
        elif kind == "raw":
            size, flaw = 0, None
        elif kind == "proto":
            size, flaw = len(payload.proto.value), _type_flaw(payload.proto, path)
        else:
            return 0, errors.payload_invalid(
                path, "is empty: set one of json, proto and raw (JSON null is the text null)"
            )
        if size > self._max_payload_bytes:
            flaw = errors.payload_too_large(size, self._max_payload_bytes)
        return size, flaw


def _framing_flaw(framing_bytes: int, path: str) -> Refused | None:
    """What is kept beside the content must not be a way around the limit on its size."""
    if framing_bytes > _FRAMING_BYTES:
        return errors.payload_invalid(
            path, f"has {framing_bytes} bytes beside its content (an over-long type name, or unknown fields)"
        )
    return None


def _type_flaw(message: TypedMessage, path: str) -> Refused | None:
    return None if message.type_name else errors.payload_invalid(f"{path}.proto.type_name", "is required")


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
