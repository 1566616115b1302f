"""Receive and Ack beyond the vectors: waiting, lost replies, ends of runs."""

import asyncio

import pytest
from google.protobuf.duration_pb2 import Duration

from midstream.clock import ManualClock
from midstream_server.server import Server
from support.calls import DAY_US, SECOND_US, ack, attach, finish, get_run, numbers, reason_of, receive, send, until
from support.stubs import Stubs


async def waits_until(clock: ManualClock, at_us: int) -> None:
    """Returns when something on the server sleeps until then, before anything else."""
    await until(lambda: clock.next_deadline_us == at_us)


async def test_a_lost_reply_can_be_asked_for_again(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, *numbers(1, 5))
    lost = await receive(stubs, run_id, max_records=2)
    again = await receive(stubs, run_id, max_records=2, holder_epoch=lost.holder_epoch)
    assert again == lost
    await ack(stubs, run_id, lost.holder_epoch, 2)
    behind = await receive(stubs, run_id, max_records=1_000, holder_epoch=lost.holder_epoch)
    assert [record.seq for record in behind.records] == [3, 4, 5]


async def test_a_waiting_call_gets_what_comes(stubs: Stubs, clock: ManualClock) -> None:
    run_id = await attach(stubs)
    waiting = asyncio.ensure_future(receive(stubs, run_id))
    await waits_until(clock, clock.now_us() + 30 * SECOND_US)
    await send(stubs, run_id, "1", stream_id="other")
    await send(stubs, run_id, "1", "2")
    assert [record.seq for record in (await waiting).records] == [1]


@pytest.mark.parametrize("seconds", [1, 3_600])
async def test_a_timeout_that_passes_is_an_empty_response(
    server: Server, stubs: Stubs, clock: ManualClock, seconds: int
) -> None:
    run_id = await attach(stubs)
    waiting = asyncio.ensure_future(receive(stubs, run_id, timeout=Duration(seconds=seconds)))
    await waits_until(clock, clock.now_us() + seconds * SECOND_US)
    await server.advance(seconds * SECOND_US - 1)
    assert not waiting.done()
    await server.advance(1)
    response = await waiting
    assert (list(response.records), response.run_ended, response.holder_epoch) == ([], False, 1)


async def test_without_a_timeout_it_is_30_seconds(server: Server, stubs: Stubs, clock: ManualClock) -> None:
    run_id = await attach(stubs)
    waiting = asyncio.ensure_future(receive(stubs, run_id))
    await waits_until(clock, clock.now_us() + 30 * SECOND_US)
    await server.advance(30 * SECOND_US)
    assert not (await waiting).records


async def test_a_timed_out_receive_swallows_nothing(server: Server, stubs: Stubs, clock: ManualClock) -> None:
    run_id = await attach(stubs)
    waiting = asyncio.ensure_future(receive(stubs, run_id))
    await waits_until(clock, clock.now_us() + 30 * SECOND_US)
    await server.advance(30 * SECOND_US)
    epoch = (await waiting).holder_epoch
    await send(stubs, run_id, "1")
    assert [record.seq for record in (await receive(stubs, run_id, holder_epoch=epoch)).records] == [1]


async def test_the_end_of_the_run_ends_the_wait(stubs: Stubs, clock: ManualClock) -> None:
    run_id = await attach(stubs)
    waiting = asyncio.ensure_future(receive(stubs, run_id))
    await waits_until(clock, clock.now_us() + 30 * SECOND_US)
    await finish(stubs, run_id)
    response = await waiting
    assert (list(response.records), response.run_ended) == ([], True)


async def test_a_new_holder_ends_the_wait_of_the_old_one(stubs: Stubs, clock: ManualClock) -> None:
    run_id = await attach(stubs)
    waiting = asyncio.ensure_future(receive(stubs, run_id))
    await waits_until(clock, clock.now_us() + 30 * SECOND_US)
    newest = asyncio.ensure_future(receive(stubs, run_id))
    assert await reason_of(waiting) == "FENCED"
    await send(stubs, run_id, "1")
    assert (await newest).holder_epoch == 2


async def test_a_caller_who_gives_up_leaves_no_alarm(stubs: Stubs, clock: ManualClock) -> None:
    run_id = await attach(stubs)
    expiry_us = clock.now_us() + DAY_US
    for _ in range(20):
        await waits_until(clock, expiry_us)
        waiting = asyncio.ensure_future(receive(stubs, run_id))
        await waits_until(clock, clock.now_us() + 30 * SECOND_US)
        waiting.cancel()
    await waits_until(clock, expiry_us)


async def test_acknowledgements_at_once_leave_the_highest_cursor(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, *numbers(1, 50))
    epoch = (await receive(stubs, run_id)).holder_epoch
    cursors = await asyncio.gather(*(ack(stubs, run_id, epoch, seq) for seq in range(50, 0, -1)))
    assert max(cursors) == 50
    assert (await get_run(stubs, run_id)).streams[0].cursor == 50


async def test_a_refused_acknowledgement_moves_nothing(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1", "2")
    epoch = (await receive(stubs, run_id)).holder_epoch
    assert await reason_of(ack(stubs, run_id, epoch, 3)) == "ACK_AHEAD"
    assert await reason_of(ack(stubs, run_id, epoch + 1, 1)) == "FENCED"
    stream = (await get_run(stubs, run_id)).streams[0]
    assert (stream.cursor, stream.unread_count, stream.unread_bytes) == (0, 2, 2)
