"""What a step has to say, on its way to a reader, beside records that are sent into a run."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import midstream
from bench.context import Context
from bench.frames import STREAM
from bench.managed import start_worker
from bench.managed_tasks import talker
from bench.measure import Figure, interleave, latencies, values
from midstream import Client, Record


async def measure(context: Context) -> list[Figure]:
    start_worker(context)
    client = await context.cleanup.enter_async_context(midstream.connect(context.url))
    return [await _one_at_a_time(context, client), await _as_fast_as_it_goes(context, client)]


async def _one_at_a_time(context: Context, client: Client) -> Figure:
    """A record says when it was appended: the monotonic clock is one for the machine."""
    count = context.sizes.round_trips

    async def limit() -> list[float]:
        times: list[float] = []
        async with client.attach(task="bench") as run, aclosing(client.tail(run.id)) as records:
            await client.send(run.id, STREAM, "first")
            await anext(records)
            for _ in range(count):
                began = time.perf_counter_ns()
                await client.send(run.id, STREAM, began)
                await anext(records)
                times.append((time.perf_counter_ns() - began) / 1e6)
        return times

    async def ours() -> list[float]:
        run = await talker.start((count, True), client=client)
        return [taken async for taken in _taken(client.tail_output(run.id))]

    limit_times, times = await interleave(context.sizes.repeats, limit, ours)
    return Figure(
        name="output_latency",
        title="A token of a step → a reader, one at a time",
        unit="ms",
        ours=latencies(times),
        limit=latencies(limit_times),
        limit_title="send → Tail of an input stream",
    )


async def _taken(events: Any) -> AsyncIterator[float]:
    async for event in events:
        if isinstance(event, Record):
            yield (time.perf_counter_ns() - event.value) / 1e6


async def _as_fast_as_it_goes(context: Context, client: Client) -> Figure:
    count = context.sizes.records_per_run

    async def limit() -> float:
        async with client.attach(task="bench") as run:
            began = time.perf_counter()
            sending = asyncio.ensure_future(client.send_many(run.id, STREAM, range(count)))
            await _read(client.tail(run.id), count)
            took = time.perf_counter() - began
            await sending
            return count / took

    async def ours() -> float:
        """From the first record that comes: what precedes it is the start of a run."""
        run = await talker.start((count, False), client=client)
        events = client.tail_output(run.id)
        await anext(events)
        began = time.perf_counter()
        await _read(events, count - 1)
        return (count - 1) / (time.perf_counter() - began)

    limit_rates, rates = await interleave(context.sizes.repeats, limit, ours)
    return Figure(
        name="output_rate",
        title="Tokens of a step → a reader, as fast as it goes",
        unit="records/s",
        ours=values(rates),
        limit=values(limit_rates),
        limit_title="send_many → Tail of an input stream",
    )


async def _read(events: Any, count: int) -> None:
    async with aclosing(events):
        for _ in range(count):
            await anext(events)
