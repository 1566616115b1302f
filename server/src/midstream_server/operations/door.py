"""The door: whether records fit what their stream is declared to be, before they come to the store."""

from collections.abc import Sequence
from typing import Final

from midstream.v1.record_pb2 import Payload, Record, TypedMessage
from midstream_server.domain import errors
from midstream_server.domain.caller import Caller
from midstream_server.domain.errors import Violation
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Draft
from midstream_server.domain.schemas.errors import payload_unfit, stream_backend_only, stream_undeclared
from midstream_server.domain.schemas.json_type import JsonType
from midstream_server.domain.schemas.protobuf_type import ProtobufType, Unfit
from midstream_server.operations.schemas import Declared, Schemas

_REFUSED_BYTES: Final = 8 * 1024
"""To find what is wrong with a payload takes longer than to store it: so much of it counts as one record more."""


async def through_the_door(
    schemas: Schemas, caller: Caller, stream_id: str, drafts: Sequence[Draft]
) -> tuple[Sequence[Draft], Policy]:
    """The drafts as they are to be stored, with what does not fit as their flaw; and what the stream promises.

    Whoever waits here goes on in order. Raises Refused: STREAM_BACKEND_ONLY, STORE_UNAVAILABLE.
    """
    namespace = await schemas.of(caller.namespace)
    declared = namespace.streams.get(stream_id)
    if declared is None:
        if not namespace.refuses_undeclared:
            return drafts, UNDECLARED
        refused = stream_undeclared(stream_id)
        return [draft._replace(flaw=refused) for draft in drafts], UNDECLARED
    if declared.policy.backend_only and caller.token is not None:
        raise stream_backend_only(stream_id)
    kind = schemas.type_of(caller.namespace, declared)
    version = Record(schema_version=declared.version).SerializeToString()
    checked = [
        _checked(kind, declared, draft._replace(envelope=draft.envelope + version), schemas.max_payload_bytes)
        for draft in drafts
    ]
    caller.standing.owe(sum(draft.size for draft in checked if draft.flaw is not None) // _REFUSED_BYTES)
    return checked, declared.policy


def _checked(kind: ProtobufType | JsonType, declared: Declared, draft: Draft, max_payload_bytes: int) -> Draft:
    if draft.flaw is not None:
        return draft
    payload = Record.FromString(draft.payload).payload
    try:
        if isinstance(kind, ProtobufType):
            return _message(kind, declared, draft, payload, max_payload_bytes)
        if payload.WhichOneof("content") != "json":
            raise Unfit([Violation("", "must be JSON: set `json`", "type")])
        kind.check_text(payload.json)
        return draft
    except Unfit as unfit:
        return draft._replace(flaw=payload_unfit(declared.stream_id, declared.version, unfit.violations))


def _message(kind: ProtobufType, declared: Declared, draft: Draft, payload: Payload, max_payload_bytes: int) -> Draft:
    match payload.WhichOneof("content"):
        case "proto":
            if payload.proto.type_name != kind.type_name:
                raise Unfit([Violation("", f"is a {payload.proto.type_name}, must be a {kind.type_name}", "type")])
            kind.check_binary(payload.proto.value)
            return draft
        case "json":
            binary, violations = kind.from_json(payload.json)
            typed = Payload(proto=TypedMessage(type_name=kind.type_name, value=binary))
            # Also where it breaks a rule: it may be the retry of one that is stored.
            draft = draft._replace(
                payload=Record(payload=typed).SerializeToString(), size=len(binary), sent=draft.payload
            )
            if violations:
                return draft._replace(flaw=payload_unfit(declared.stream_id, declared.version, violations))
            if len(binary) > max_payload_bytes:
                too_large = errors.payload_too_large(len(binary), max_payload_bytes)
                return draft._replace(flaw=errors.on_stream(too_large, declared.stream_id))
            return draft
        case _:
            raise Unfit([Violation("", f"must be a {kind.type_name}: set `proto` or `json`", "type")])
