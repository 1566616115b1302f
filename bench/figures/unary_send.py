"""`SendOne`, a record a call: its latency beside a bare echo and a bare commit, its rate beside a bare echo's."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from grpc import aio

from bench.context import Context
from bench.frames import send_request
from bench.limits.sqlite import store_schema
from bench.measure import Figure, interleave, latencies, values
from bench.runs import attach_runs
from midstream.v1 import stream_service_pb2, stream_service_pb2_grpc

Call = Callable[[bytes], Awaitable[object]]


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    channel = aio.insecure_channel(context.address)
    context.cleanup.push_async_callback(channel.close)
    table = store_schema(context.directory / "bare_unary.db")
    context.cleanup.callback(table.close)
    stub = stream_service_pb2_grpc.StreamServiceStub(channel)

    async def echo(frame: bytes) -> None:
        await context.echo.unary(frame)

    async def echo_and_commit(frame: bytes) -> None:
        rows = table.rows(1, sizes.payload_bytes)
        await context.echo.unary(frame)
        table.commit(rows)

    async def send_one(frame: bytes) -> None:
        # SendRequest and SendOneRequest have the same fields.
        await stub.SendOne(stream_service_pb2.SendOneRequest.FromString(frame))

    limit_times, times = await interleave(
        sizes.repeats,
        partial(_one_at_a_time, context, channel, echo_and_commit),
        partial(_one_at_a_time, context, channel, send_one),
    )
    limit_rates, rates = await interleave(
        sizes.repeats,
        partial(_at_once, context, channel, echo),
        partial(_at_once, context, channel, send_one),
    )
    return [
        Figure(
            name="unary_send_latency",
            title="SendOne, one call at a time",
            unit="ms",
            ours=latencies(times),
            limit=latencies(limit_times),
            limit_title="bare unary echo + one bare commit",
        ),
        Figure(
            name="unary_send_rate",
            title=f"SendOne, {sizes.unary_in_flight} calls at once",
            unit="calls/s",
            ours=values(rates),
            limit=values(limit_rates),
            limit_title="bare unary echo, nothing stored",
        ),
    ]


async def _frames(context: Context, channel: aio.Channel, count: int) -> list[bytes]:
    (run_id,) = await attach_runs(channel, 1)
    return [send_request(run_id, 1, context.sizes.payload_bytes) for _ in range(count)]


async def _one_at_a_time(context: Context, channel: aio.Channel, call: Call) -> list[float]:
    """Milliseconds of each call."""
    times: list[float] = []
    for frame in await _frames(context, channel, context.sizes.round_trips):
        began = time.perf_counter_ns()
        await call(frame)
        times.append((time.perf_counter_ns() - began) / 1e6)
    return times


async def _at_once(context: Context, channel: aio.Channel, call: Call) -> float:
    """Calls a second."""
    frames = iter(await _frames(context, channel, context.sizes.unary_calls))

    async def caller() -> None:
        for frame in frames:
            await call(frame)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(context.sizes.unary_in_flight)))
    return context.sizes.unary_calls / (time.perf_counter() - began)
