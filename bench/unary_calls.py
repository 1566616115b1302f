"""Unary calls of `SendOne`'s shape, whatever answers them: their latency and their rate."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from grpc import aio

from bench.context import Context
from bench.frames import send_request
from bench.runs import attach_runs

Call = Callable[[bytes], Awaitable[object]]
"""Takes a serialised SendOneRequest of one record."""


async def one_at_a_time(context: Context, channel: aio.Channel, call: Call) -> list[float]:
    """Milliseconds of each call."""
    times: list[float] = []
    for frame in await _frames(context, channel, context.sizes.round_trips):
        began = time.perf_counter_ns()
        await call(frame)
        times.append((time.perf_counter_ns() - began) / 1e6)
    return times


async def at_once(context: Context, channel: aio.Channel, calls: Sequence[Call]) -> float:
    """Calls a second, where each of `calls` makes its next when its last is answered."""
    frames = iter(await _frames(context, channel, context.sizes.unary_calls))

    async def caller(call: Call) -> None:
        for frame in frames:
            await call(frame)

    began = time.perf_counter()
    await asyncio.gather(*map(caller, calls))
    return context.sizes.unary_calls / (time.perf_counter() - began)


async def _frames(context: Context, channel: aio.Channel, count: int) -> list[bytes]:
    (run_id,) = await attach_runs(channel, 1)
    # SendRequest and SendOneRequest have the same fields.
    return [send_request(run_id, 1, context.sizes.payload_bytes) for _ in range(count)]
