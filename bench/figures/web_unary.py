"""`SendOne` by Connect from a browser beside `SendOne` on gRPC: its latency and its rate, on one server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from grpc import aio

from bench.context import Context
from bench.frames import send_request
from bench.measure import Figure, interleave, latencies, values
from bench.runs import attach_runs
from bench.web_calls import SEND_ONE, WebCaller

Call = Callable[[bytes], Awaitable[object]]


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    channel = aio.insecure_channel(context.address)
    context.cleanup.push_async_callback(channel.close)
    by_grpc: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(SEND_ONE)
    web_url = str(context.server.ready["web_url"])
    by_web = await context.cleanup.enter_async_context(WebCaller(web_url))
    grpc_times, web_times = await interleave(
        sizes.repeats,
        lambda: _one_at_a_time(context, channel, by_grpc),
        lambda: _one_at_a_time(context, channel, by_web.send_one),
    )
    # A browser has six connections to a host; more are as many pages.
    callers = [await context.cleanup.enter_async_context(WebCaller(web_url)) for _ in range(sizes.unary_in_flight)]
    grpc_rates, web_rates = await interleave(
        sizes.repeats,
        lambda: _at_once(context, channel, [by_grpc] * sizes.unary_in_flight),
        lambda: _at_once(context, channel, [caller.send_one for caller in callers]),
    )
    return [
        Figure(
            name="web_unary_latency",
            title="SendOne by Connect, one call at a time",
            unit="ms",
            ours=latencies(web_times),
            limit=latencies(grpc_times),
            limit_title="SendOne on gRPC",
        ),
        Figure(
            name="web_unary_rate",
            title=f"SendOne by Connect, {sizes.unary_in_flight} calls at once",
            unit="calls/s",
            ours=values(web_rates),
            limit=values(grpc_rates),
            limit_title="SendOne on gRPC",
        ),
    ]


async def _frames(context: Context, channel: aio.Channel, count: int) -> list[bytes]:
    (run_id,) = await attach_runs(channel, 1)
    # SendRequest and SendOneRequest have the same fields.
    return [send_request(run_id, 1, context.sizes.payload_bytes) for _ in range(count)]


async def _one_at_a_time(context: Context, channel: aio.Channel, call: Call) -> list[float]:
    """Milliseconds of each call."""
    times: list[float] = []
    for frame in await _frames(context, channel, context.sizes.round_trips):
        began = time.perf_counter_ns()
        await call(frame)
        times.append((time.perf_counter_ns() - began) / 1e6)
    return times


async def _at_once(context: Context, channel: aio.Channel, calls: Sequence[Call]) -> float:
    """Calls a second."""
    frames = iter(await _frames(context, channel, context.sizes.unary_calls))

    async def caller(call: Call) -> None:
        for frame in frames:
            await call(frame)

    began = time.perf_counter()
    await asyncio.gather(*(caller(call) for call in calls))
    return context.sizes.unary_calls / (time.perf_counter() - began)
