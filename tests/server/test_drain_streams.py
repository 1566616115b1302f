"""A server that stops tells every open call of ours, answers what it took in, and loses nothing."""

import asyncio

import grpc
import pytest

from midstream.v1 import run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.calls import (
    Sending,
    Subscriber,
    attach,
    connected,
    get_run,
    listed,
    new_record,
    numbers,
    reason_in,
    reason_of,
    receive,
    rest_of,
    send,
)
from support.stubs import Stubs


async def test_open_streams_are_told_to_go_elsewhere(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    reader = await Subscriber(stubs, run_id).open()
    sending = Sending(stubs, run_id)
    await sending.writes([new_record("1")])
    await sending.hears()
    await reader.takes(1)
    tail = stubs.streams.Tail(pb.TailRequest(run_id=run_id))
    await tail.read()
    watch = stubs.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run_id))
    await watch.read()
    waiting = asyncio.ensure_future(receive(stubs, run_id, stream_id="other"))
    await get_run(stubs, run_id)  # What was asked before on this connection has arrived.
    calls = [reader.is_refused(), reason_of(sending.call.read()), reason_of(rest_of(tail)), reason_of(rest_of(watch))]
    ends = asyncio.gather(*calls, reason_of(waiting))
    await server.stop()
    assert set(await ends) == {"SERVER_DRAINING"}


async def test_batches_that_were_taken_in_are_answered(settings: Settings) -> None:
    async with Server(settings) as server, connected(server.url) as stubs:
        run_id = await attach(stubs)
        sending = Sending(stubs, run_id)
        for text in numbers(1, 100):
            await sending.writes([new_record(text)])
        stopping = asyncio.ensure_future(server.stop())
        acknowledged = 0
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            while True:
                (receipt,) = await sending.hears()
                acknowledged += 1
                assert receipt.accepted.seq == acknowledged
        assert reason_in(refused.value) == "SERVER_DRAINING"
        await stopping
    async with Server(settings) as server, connected(server.url) as stubs:
        stored = [record.payload.json for record in await listed(stubs, run_id)]
    assert stored == numbers(1, len(stored))
    assert len(stored) >= acknowledged


async def test_a_subscription_goes_on_at_the_next_server(settings: Settings) -> None:
    async with Server(settings) as server, connected(server.url) as stubs:
        run_id = await attach(stubs)
        await send(stubs, run_id, "1", "2")
        reader = await Subscriber(stubs, run_id).open()
        await reader.takes(2)
        await reader.acks(1)
        await reader.hears("acked")
    async with Server(settings) as server, connected(server.url) as stubs:
        await send(stubs, run_id, "3")
        again = await Subscriber(stubs, run_id).open(epoch=reader.epoch, after_seq=2)
        assert again.cursor == 1
        assert await again.takes(1) == [3]


async def test_many_idle_subscriptions_do_not_delay_the_stop(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    readers = [await Subscriber(stubs, run_id, f"s{number}").open() for number in range(300)]
    ends = asyncio.gather(*(reader.is_refused() for reader in readers))
    async with asyncio.timeout(server.settings.drain_seconds - 1):
        await server.stop()
    assert set(await ends) == {"SERVER_DRAINING"}
