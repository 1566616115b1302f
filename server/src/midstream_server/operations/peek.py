"""Peek: the newest unconsumed record of a stream."""

from midstream_server.domain.names import check_name
from midstream_server.domain.record import StoredRecord
from midstream_server.operations.core import Core


async def peek(core: Core, namespace: str, run_id: str, stream_id: str) -> tuple[StoredRecord | None, int, int]:
    """The record, how many are unconsumed, and the log's last offset. Raises Refused."""
    check_name("run_id", run_id)
    check_name("stream_id", stream_id)
    return await core.store.newest(namespace, run_id, stream_id)
