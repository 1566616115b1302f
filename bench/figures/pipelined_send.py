"""Many records in flight: how fast the server stores them, beside SQLite's own group commit."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

from grpc import aio

import midstream
from bench.context import Context
from bench.frames import STREAM, send_request
from bench.limits.sqlite import BareTable, one_table, store_schema
from bench.measure import Aim, Figure, Spread, interleave, values
from bench.metrics import committed
from bench.runs import attach_runs
from bench.sizes import Sizes
from midstream.v1 import stream_service_pb2, stream_service_pb2_grpc

AIM = Aim(0.6, at_most=False)
COMMIT_SIZES = (500, 1_000)


class Refused(RuntimeError):
    """A record of the bench was not accepted, so its rate would mean nothing."""


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    channel = aio.insecure_channel(context.address)
    client = await context.cleanup.enter_async_context(midstream.connect(context.url))
    context.cleanup.push_async_callback(channel.close)
    outer = one_table(context.directory / "one_table.db")
    bare = {size: store_schema(context.directory / f"bare_{size}.db") for size in COMMIT_SIZES}
    for table in (outer, *bare.values()):
        context.cleanup.callback(table.close)

    before = committed(context.server)
    outer_rates, *bare_rates, frame_rates, client_rates = await interleave(
        sizes.repeats,
        partial(_commit, outer, sizes.pipelined_records, COMMIT_SIZES[-1], sizes.payload_bytes),
        *(partial(_commit, table, sizes.pipelined_records, size, sizes.payload_bytes) for size, table in bare.items()),
        partial(_send_frames, context, channel),
        partial(_send_many, context, client, channel),
    )
    after = committed(context.server)

    rates = dict(zip(COMMIT_SIZES, map(values, bare_rates), strict=True))
    details = {f"bare commits of {size}": rate.p50 for size, rate in rates.items()}
    details["bare commits of 1,000 to one table without indexes"] = values(outer_rates).p50
    details["records in a commit of the server, mean"] = after.records_each_since(before)
    return [
        _figure("pipelined_frames", "Send, frames built before", frame_rates, rates, details),
        _figure("pipelined_send_many", "client.send_many", client_rates, rates, {}),
    ]


def _figure(name: str, title: str, ours: list[float], bare: dict[int, Spread], details: dict[str, float]) -> Figure:
    return Figure(
        name=name,
        title=f"{title}, pipelined",
        unit="records/s",
        ours=values(ours),
        limit=bare[COMMIT_SIZES[-1]],
        limit_title=f"bare SQLite, the store's schema, {COMMIT_SIZES[-1]:,} records a commit",
        aim=AIM,
        details=details,
    )


async def _commit(table: BareTable, records: int, size: int, payload_bytes: int) -> float:
    """Records a second; rows are made before the clock starts."""
    transactions = [table.rows(min(size, records - first), payload_bytes) for first in range(0, records, size)]
    began = time.perf_counter()
    for rows in transactions:
        table.commit(rows)
    return records / (time.perf_counter() - began)


async def _send_many(context: Context, client: midstream.Client, channel: aio.Channel) -> float:
    """Records a second through the client library, from values to receipts, one run after the other."""
    sizes = context.sizes
    run_ids = await attach_runs(channel, sizes.pipelined_records // sizes.records_per_run)
    payloads = [os.urandom(sizes.payload_bytes) for _ in range(sizes.records_per_run)]
    began = time.perf_counter()
    for run_id in run_ids:
        for result in await client.send_many(run_id, STREAM, payloads):
            result.unwrap()
    return sizes.pipelined_records / (time.perf_counter() - began)


async def _send_frames(context: Context, channel: aio.Channel) -> float:
    """Records a second of requests that were built before the clock started."""
    sizes = context.sizes
    run_ids = await attach_runs(channel, sizes.pipelined_records // sizes.records_per_run)
    return await send_frames(sizes, channel, run_ids)


async def send_frames(sizes: Sizes, channel: aio.Channel, run_ids: Sequence[str]) -> float:
    """The same, into the runs."""
    frames = deque(
        stream_service_pb2.SendRequest.FromString(send_request(run_id, sizes.frame_records, sizes.payload_bytes))
        for run_id in run_ids
        for _ in range(sizes.records_per_run // sizes.frame_records)
    )
    records = len(frames) * sizes.frame_records
    call = stream_service_pb2_grpc.StreamServiceStub(channel).Send()
    window = asyncio.Semaphore(sizes.frames_in_flight)

    async def write() -> None:
        while frames:
            await window.acquire()
            await call.write(frames.popleft())
        await call.done_writing()

    began = time.perf_counter()
    writing = asyncio.create_task(write())
    accepted = 0
    async for response in call:
        window.release()
        accepted += sum(receipt.HasField("accepted") for receipt in response.receipts)
    took = time.perf_counter() - began
    await writing
    if accepted != records:
        raise Refused(f"{records - accepted} of {records} records were refused")
    return records / took
