"""Ack: moves the cursor of a stream."""

from collections.abc import Sequence

from midstream_server.domain.names import check_name
from midstream_server.operations.core import Core
from midstream_server.operations.subscribe import check_position
from midstream_server.store import HandlerFailure


async def ack(
    core: Core,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    holder_epoch: int,
    through_seq: int,
    failures: Sequence[HandlerFailure],
) -> int:
    """Returns the cursor, on disk. Raises Refused."""
    check_name("run_id", run_id)
    check_name("stream_id", stream_id)
    check_position("through_seq", through_seq)
    return await core.store.ack(
        namespace,
        run_id,
        stream_id,
        holder_epoch=holder_epoch,
        through_seq=through_seq,
        delivered_seq=None,
        failures=failures,
        now_us=core.clock.now_us(),
    )
