"""Peek: the newest unconsumed record of a stream."""

from midstream_server.domain.names import check_name
from midstream_server.domain.record import StoredRecord
from midstream_server.operations.core import Core
from midstream_server.operations.views import readable, readable_of


async def peek(
    core: Core, namespace: str, run_id: str, stream_id: str, *, payload_view: int = 0
) -> tuple[StoredRecord | None, int, int]:
    """The record, how many are unconsumed, and the log's last offset. Raises Refused."""
    check_name("run_id", run_id)
    check_name("stream_id", stream_id)
    as_json = readable_of(payload_view)
    record, unread, last_offset = await core.store.newest(namespace, run_id, stream_id)
    if record is not None and as_json:
        (record,) = await readable(core.schemas, namespace, [record])
    return record, unread, last_offset
