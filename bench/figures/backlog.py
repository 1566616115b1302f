"""A stored backlog on its way out, by Subscribe and by Tail, beside a bare stream of batches serialised before."""

import asyncio
import time
from functools import partial
from typing import Protocol

from grpc import aio

import midstream
from bench.context import Context
from bench.frames import STREAM, send_request
from bench.measure import Figure, interleave, values
from bench.runs import attach_runs
from midstream import input_stream
from midstream.v1 import stream_service_pb2, stream_service_pb2_grpc

CREDIT = 100_000
FRAME_RECORDS_OUT = 1_000
LIMIT = "bare gRPC stream of serialised batches, parsed by the reader"
events = input_stream(STREAM, bytes)


async def measure(context: Context) -> list[Figure]:
    channel = aio.insecure_channel(context.address)
    context.cleanup.push_async_callback(channel.close)
    run_ids = await _fill(context, channel)
    download, subscribe, tail, handler = await interleave(
        context.sizes.repeats,
        partial(_download, context),
        partial(_each, context, run_ids, partial(_subscribe, channel)),
        partial(_each, context, run_ids, partial(_tail, channel)),
        partial(_handle, context, channel),
    )
    limit = values(download)
    return [
        Figure(name=name, title=title, unit="records/s", ours=values(rates), limit=limit, limit_title=LIMIT)
        for name, title, rates in (
            ("backlog_subscribe", "Backlog through Subscribe", subscribe),
            ("backlog_tail", "Backlog through Tail", tail),
            ("backlog_handler", "Backlog into a handler of the client, acknowledged", handler),
        )
    ]


async def _fill(context: Context, channel: aio.Channel) -> list[str]:
    """Runs that hold a backlog each."""
    sizes = context.sizes
    run_ids = await attach_runs(channel, sizes.pipelined_records // sizes.records_per_run)
    call = stream_service_pb2_grpc.StreamServiceStub(channel).Send()
    for run_id in run_ids:
        for _ in range(sizes.records_per_run // sizes.frame_records):
            frame = send_request(run_id, sizes.frame_records, sizes.payload_bytes)
            await call.write(stream_service_pb2.SendRequest.FromString(frame))
            await call.read()
    await call.done_writing()
    return run_ids


async def _download(context: Context) -> float:
    sizes = context.sizes
    frames = -(-sizes.pipelined_records // FRAME_RECORDS_OUT)
    records = 0
    began = time.perf_counter()
    async for batch in context.echo.download(
        frames=frames, frame_records=FRAME_RECORDS_OUT, payload_bytes=sizes.payload_bytes
    ):
        records += len(stream_service_pb2.SubscribeResponse.FromString(batch).records.records)
    return records / (time.perf_counter() - began)


class Drain(Protocol):
    """Reads a run's backlog to its end."""

    async def __call__(self, run_id: str, records: int) -> None: ...


async def _each(context: Context, run_ids: list[str], drain: Drain) -> float:
    """Records a second over the backlogs of all runs, one after the other."""
    began = time.perf_counter()
    for run_id in run_ids:
        await drain(run_id, context.sizes.records_per_run)
    return len(run_ids) * context.sizes.records_per_run / (time.perf_counter() - began)


async def _subscribe(channel: aio.Channel, run_id: str, records: int) -> None:
    """Reads without acknowledging, so that the next repeat finds the same backlog."""
    call = stream_service_pb2_grpc.StreamServiceStub(channel).Subscribe()
    opening = stream_service_pb2.SubscribeRequest.Open(run_id=run_id, stream_id=STREAM, credit=CREDIT)
    await call.write(stream_service_pb2.SubscribeRequest(open=opening))
    async for response in call:
        records -= len(response.records.records)
        if records == 0:
            break
    call.cancel()


async def _tail(channel: aio.Channel, run_id: str, records: int) -> None:
    request = stream_service_pb2.TailRequest(run_id=run_id, stream_id=STREAM)
    call = stream_service_pb2_grpc.StreamServiceStub(channel).Tail(request)
    async for response in call:
        records -= len(response.records)
        if records == 0:
            break
    call.cancel()


async def _handle(context: Context, channel: aio.Channel) -> float:
    """Runs of their own for each repeat: what a handler has had is acknowledged and gone."""
    run_ids = await _fill(context, channel)
    return await _each(context, run_ids, partial(_handle_run, context.url))


async def _handle_run(url: str, run_id: str, records: int) -> None:
    heard_all = asyncio.Event()
    heard = 0

    def handle(_payload: bytes) -> None:
        nonlocal heard
        heard += 1
        if heard == records:
            heard_all.set()

    async with midstream.connect(url) as client, client.attach(run_id):
        events.on(handle)
        await heard_all.wait()
