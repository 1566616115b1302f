"""Callers who go on calling while the server stops: each is told to go elsewhere, none is cut off without a word."""

import asyncio

import grpc

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from support.calls import STREAM, attach, new_record, reason_in
from support.stubs import Stubs

CALLERS = 40


async def test_calls_that_arrive_during_the_stop_are_told(server: Server, stubs: Stubs) -> None:
    request = pb.SendOneRequest(run_id=await attach(stubs), stream_id=STREAM, records=[new_record("1")])
    answered = asyncio.Semaphore(0)

    async def call_until_refused() -> str:
        while True:
            try:
                await stubs.streams.SendOne(request)
            except grpc.aio.AioRpcError as error:
                return reason_in(error)
            answered.release()

    callers = [asyncio.ensure_future(call_until_refused()) for _ in range(CALLERS)]
    for _ in range(5 * CALLERS):
        await answered.acquire()
    await server.stop()
    assert await asyncio.gather(*callers) == ["SERVER_DRAINING"] * CALLERS


async def test_a_caller_who_never_listens_does_not_keep_the_server(server: Server, stubs: Stubs) -> None:
    request = pb.PeekRequest(run_id=await attach(stubs), stream_id=STREAM)
    calls = 0

    async def call_for_ever() -> None:
        nonlocal calls
        while True:
            calls += 1
            await asyncio.gather(stubs.streams.Peek(request), return_exceptions=True)

    caller = asyncio.ensure_future(call_for_ever())
    async with asyncio.timeout(server.settings.drain_seconds):
        await server.stop()
    caller.cancel()
    assert calls > 1
