"""Records as people read them: a protobuf payload in the JSON form of its type."""

from collections.abc import Sequence
from typing import Final

from midstream.v1.record_pb2 import PayloadView, Record
from midstream_server.domain.errors import field_invalid
from midstream_server.domain.limits import FRAME_BYTES
from midstream_server.domain.record import StoredRecord
from midstream_server.domain.run import EntryKind
from midstream_server.domain.schemas.protobuf_type import ProtobufType
from midstream_server.operations.schemas import Schemas
from midstream_server.store.managed import StoredEntry

READABLE_FRAME_BYTES: Final = FRAME_BYTES // 4
"""Of stored bytes in a frame: their JSON form may be several times as long, and clients take 4 MiB."""
_READABLE_BYTES: Final = 3 * FRAME_BYTES


def readable_of(number: int) -> bool:
    """Whether a PayloadView is the one for people. Raises Refused: FIELD_INVALID."""
    if number not in PayloadView.values():
        raise field_invalid("payload_view", f"{number} is not a view of payloads")
    return number == PayloadView.PAYLOAD_VIEW_JSON


async def readable(schemas: Schemas, namespace: str, records: Sequence[StoredRecord]) -> list[StoredRecord]:
    """The records, each read with the schema that it was checked against. What cannot be read so stays as it is."""
    return [
        record._replace(body=await _readable(schemas, namespace, record.stream_id, record.body)) for record in records
    ]


async def readable_entries(schemas: Schemas, namespace: str, entries: Sequence[StoredEntry]) -> list[StoredEntry]:
    """As `readable`, for the records in a log."""
    return [
        entry
        if entry.stream_id is None or entry.kind is not EntryKind.RECORD
        else entry._replace(body=await _readable(schemas, namespace, entry.stream_id, entry.body))
        for entry in entries
    ]


async def _readable(schemas: Schemas, namespace: str, stream_id: str, body: bytes) -> bytes:
    message = Record.FromString(body)
    if not message.schema_version or message.payload.WhichOneof("content") != "proto":
        return body
    kind = await schemas.version_of(namespace, stream_id, message.schema_version)
    text = kind.to_json(message.payload.proto.value) if isinstance(kind, ProtobufType) else None
    if text is None or len(text) > _READABLE_BYTES:
        return body
    message.payload.json = text
    return message.SerializeToString()
