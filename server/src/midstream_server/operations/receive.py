"""Receive: waits for the next records of a stream, without consuming them."""

import asyncio
from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.domain.limits import BATCH_RECORDS, FRAME_BYTES
from midstream_server.domain.names import check_name
from midstream_server.domain.record import StoredRecord
from midstream_server.operations.core import Core
from midstream_server.operations.subscribe import check_position

MAX_TIMEOUT_US = 3_600 * 1_000_000
DEFAULT_TIMEOUT_US = 30 * 1_000_000


class Received(NamedTuple):
    records: list[StoredRecord]
    holder_epoch: int
    cursor: int
    run_ended: bool


async def receive(
    core: Core,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    holder_epoch: int,
    after_seq: int | None,
    max_records: int,
    timeout_us: int | None,
) -> Received:
    """Returns as soon as there is a record, the timeout has passed or the run has ended. Raises Refused."""
    check_name("run_id", run_id)
    check_name("stream_id", stream_id)
    check_position("after_seq", after_seq)
    if not 0 <= max_records <= BATCH_RECORDS:
        raise errors.field_invalid("max_records", f"is {max_records}, must be 0 to {BATCH_RECORDS:,}")
    if timeout_us is None:
        timeout_us = DEFAULT_TIMEOUT_US
    if not 0 <= timeout_us <= MAX_TIMEOUT_US:
        raise errors.field_invalid(
            "timeout", f"is {timeout_us / 1e6:g} s, must be 0 to 3,600 s; call again to wait longer"
        )
    deadline_us = core.clock.now_us() + timeout_us
    hold = await core.store.hold(namespace, run_id, stream_id, holder_epoch=holder_epoch, after_seq=after_seq)
    position = max(hold.cursor, after_seq or 0)
    with core.hub.watching(hold.run_no, stream_id) as watch, core.hub.holding(hold.run_no):
        alarm = asyncio.create_task(core.clock.sleep_until(deadline_us))
        alarm.add_done_callback(lambda _: watch.ring())
        try:
            while True:
                timed_out = alarm.done()
                look = await core.store.look(
                    hold.run_no, stream_id, after_seq=position, max_records=max_records or 1, max_bytes=FRAME_BYTES
                )
                if look is None:
                    raise errors.run_not_found(run_id)
                if look.holder_epoch != hold.holder_epoch:
                    raise errors.fenced(stream_id, holder_epoch=hold.holder_epoch, current_epoch=look.holder_epoch)
                ended = look.run_state.final
                if look.records or ended or timed_out:
                    return Received([] if ended else look.records, hold.holder_epoch, look.cursor, ended)
                if core.drain.is_set:
                    raise errors.server_draining()
                await watch.wait()
        finally:
            alarm.cancel()
