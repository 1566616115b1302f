"""A run that a worker executes and that stays warm: its steps, its handlers, and how fast it hears of a cancel."""

import itertools
import time
from functools import partial

import midstream
from bench.context import Context
from bench.figures.one_at_a_time import Listener, echo_and_commit
from bench.frames import STREAM
from bench.limits.sqlite import store_schema
from bench.managed import Ear, start_worker, until
from bench.managed_tasks import listener, steps, stuck
from bench.measure import Figure, Peer, interleave, latencies, latencies_beside
from bench.peers import restate
from bench.telling import STARTED, STOPPED
from midstream import Client
from midstream.models import RunState

LIMIT_TITLE = "bare bidi echo + one bare commit"


async def measure(context: Context) -> list[Figure]:
    start_worker(context)
    client = await context.cleanup.enter_async_context(midstream.connect(context.url))
    ear = context.cleanup.enter_context(Ear())
    return [
        await _steps(context, client),
        await handler(context, client, ear),
        await _cancel(context, client, ear),
    ]


async def _steps(context: Context, client: Client) -> Figure:
    """A step that does nothing: from awaiting it to having its recorded result."""
    sizes = context.sizes
    table = store_schema(context.directory / "bare_steps.db")
    context.cleanup.callback(table.close)

    async def limit() -> list[float]:
        return (await echo_and_commit(context.echo, table, sizes.round_trips, sizes.payload_bytes))[0]

    async def ours() -> list[float]:
        run = await until(client, (await steps.start(sizes.round_trips, client=client)).id, RunState.COMPLETED)
        times: list[float] = run.result
        return times

    limit_times, times = await interleave(sizes.repeats, limit, ours)
    return Figure(
        name="step",
        title="Round trip of a step that does nothing",
        unit="ms",
        ours=latencies(times),
        limit=latencies(limit_times),
        limit_title=LIMIT_TITLE,
    )


async def handler(context: Context, client: Client, ear: Ear) -> Figure:
    """The same message to a handler in a worker's process and to one in the sender's own; the peer's task waits."""
    sizes = context.sizes
    attached = await context.cleanup.enter_async_context(Listener(context.url, sizes.payload_bytes))
    run = await listener.start(ear.path, client=client)
    numbers = itertools.count(1)

    async def limit() -> list[float]:
        return (await attached.round_trips(sizes.round_trips))[0]

    async def ours() -> list[float]:
        times: list[float] = []
        for number in itertools.islice(numbers, sizes.round_trips):
            began = time.perf_counter_ns()
            await client.send(run.id, STREAM, number)
            times.append(((await ear.hears(number)).time_ns - began) / 1e6)
        return times

    peers = await _warm_peers(context)
    limit_spread, our_spread, beside = await latencies_beside(sizes.repeats, limit, ours, peers)
    return Figure(
        name="managed_handler",
        title="Send → handler of a warm managed run",
        unit="ms",
        ours=our_spread,
        limit=limit_spread,
        limit_title="handler of an attached run",
        peers=beside,
    )


async def _warm_peers(context: Context) -> list[Peer]:
    if not context.with_peers:
        return []
    senders = await context.cleanup.enter_async_context(restate.running(context.directory))
    return [Peer(sender.title, partial(sender.warm, context.sizes.round_trips)) for sender in senders]


async def _cancel(context: Context, client: Client, ear: Ear) -> Figure:
    """From calling `cancel_run` to the `finally` of a step that waits."""
    sizes = context.sizes
    table = store_schema(context.directory / "bare_cancel.db")
    context.cleanup.callback(table.close)

    async def limit() -> list[float]:
        return (await echo_and_commit(context.echo, table, sizes.round_trips, sizes.payload_bytes))[0]

    async def ours() -> list[float]:
        times: list[float] = []
        for _ in range(sizes.cancels):
            run = await stuck.start(ear.path, client=client)
            await ear.hears(STARTED)
            began = time.perf_counter_ns()
            await client.cancel_run(run.id)
            times.append(((await ear.hears(STOPPED)).time_ns - began) / 1e6)
            await until(client, run.id, RunState.CANCELLED)
        return times

    limit_times, times = await interleave(sizes.repeats, limit, ours)
    return Figure(
        name="cancel",
        title="Cancel → the running step is stopped",
        unit="ms",
        ours=latencies(times),
        limit=latencies(limit_times),
        limit_title=LIMIT_TITLE,
    )
