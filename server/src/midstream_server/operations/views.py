"""Records as people read them: a protobuf payload in the JSON form of its type."""

from collections.abc import Sequence
from typing import Final

from midstream.v1.record_pb2 import PayloadView, Record
from midstream_server.domain.errors import field_invalid
from midstream_server.domain.limits import FRAME_BYTES
from midstream_server.domain.record import StoredRecord
from midstream_server.domain.schemas.protobuf_type import ProtobufType
from midstream_server.operations.schemas import Schemas

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
    return [await _readable(schemas, namespace, record) for record in records]


async def _readable(schemas: Schemas, namespace: str, record: StoredRecord) -> StoredRecord:
    message = Record.FromString(record.body)
    if not message.schema_version or message.payload.WhichOneof("content") != "proto":
        return record
    kind = await schemas.version_of(namespace, record.stream_id, message.schema_version)
    text = kind.to_json(message.payload.proto.value) if isinstance(kind, ProtobufType) else None
    if text is None or len(text) > _READABLE_BYTES:
        return record
    message.payload.json = text
    return record._replace(body=message.SerializeToString())
