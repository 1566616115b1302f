"""Tail: follows a run's records from a position of the reader's own."""

from collections.abc import AsyncIterator

from midstream_server.domain import errors
from midstream_server.domain.limits import BATCH_RECORDS, FRAME_BYTES
from midstream_server.domain.names import check_name
from midstream_server.operations.core import Core
from midstream_server.operations.subscribe import check_position
from midstream_server.store import Page


async def tail(core: Core, namespace: str, run_id: str, stream_id: str, *, after_offset: int) -> AsyncIterator[Page]:
    """Yields records until the run has ended and all are delivered. Raises Refused."""
    check_name("run_id", run_id)
    if stream_id:
        check_name("stream_id", stream_id)
    check_position("after_offset", after_offset)
    run_no = await core.store.resolve(namespace, run_id)
    with core.hub.watching(run_no, stream_id or None) as watch:
        while True:
            page = await core.store.read_log(
                run_no,
                stream_id or None,
                after_offset=after_offset,
                max_records=BATCH_RECORDS,
                max_bytes=FRAME_BYTES,
            )
            if page is None:
                raise errors.run_not_found(run_id)
            if page.records:
                after_offset = page.through_offset
                yield page
            elif page.run_state.final:
                return
            elif core.drain.is_set:
                raise errors.server_draining()
            else:
                await watch.wait()
