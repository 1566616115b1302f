"""Send → resumed and consumed: a suspended run gets a process, replays its log, and its task has the record."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

import midstream
from bench.context import Context
from bench.figures.one_at_a_time import echo_and_commit
from bench.frames import STREAM
from bench.limits.sqlite import store_schema
from bench.managed import REST_SECONDS, Ear, PipeEar, start_worker, until
from bench.managed_tasks import waiter
from bench.measure import Aim, Figure, Peer, latencies_beside
from bench.peers import restate
from bench.telling import SILENT
from midstream import Client
from midstream.models import RunState

AIM = Aim(5, at_most=True, unit="ms")
AIM_ENTRIES = 10
FIRST_ENTRIES = 2
"""Created and started."""
PEER_ENTRIES = 1_000
"""At most: it takes the peer minutes to fill a longer journal."""

OfOneRun = Callable[[int, int], Awaitable[list[float]]]
"""Milliseconds of so many resumes of one run; in the middle of them its log has so many entries, which come first."""


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    start_worker(context)
    ear = context.cleanup.enter_context(Ear())
    client = await context.cleanup.enter_async_context(midstream.connect(context.url))
    table = store_schema(context.directory / "bare_resume.db")
    context.cleanup.callback(table.close)
    counter = itertools.count(1)

    async def limit() -> list[float]:
        return (await echo_and_commit(context.echo, table, sizes.resumes, sizes.payload_bytes))[0]

    def ours(entries: int, count: int) -> Awaitable[list[float]]:
        return resumes_of_one_run(client, waiter.name, ear, counter, entries, count)

    senders: Sequence[restate.Sender] = ()
    if context.with_peers:
        senders = await context.cleanup.enter_async_context(restate.running(context.directory))

    figures: list[Figure] = []
    for entries in sizes.log_entries:
        # A replay of a long log takes long: fewer samples.
        count = max(2, sizes.resumes * 10 // (10 + entries // 25))
        peers = [Peer(sender.title, _resumes(sender.resumes, entries, count)) for sender in senders]
        limit_spread, our_spread, beside = await latencies_beside(
            sizes.repeats, limit, _resumes(ours, entries, count), peers if entries <= PEER_ENTRIES else ()
        )
        figures.append(
            Figure(
                name=f"resume_{entries}",
                title=f"Send → resumed and consumed, a log of {entries:,} entries",
                unit="ms",
                ours=our_spread,
                limit=limit_spread,
                limit_title="bare bidi echo + one bare commit",
                peers=beside,
                aim=AIM if entries == AIM_ENTRIES else None,
            )
        )
    return figures


def _resumes(of_one_run: OfOneRun, entries: int, count: int) -> Callable[[], Awaitable[list[float]]]:
    """A new run for every few samples, so that its log stays about as long as is said."""

    async def measured() -> list[float]:
        times: list[float] = []
        while len(times) < count:
            times += await of_one_run(entries, min(count - len(times), max(1, entries // 3)))
        return times

    return measured


async def resumes_of_one_run(
    client: Client, task: str, ear: Ear | PipeEar, numbers: "itertools.count[int]", entries: int, count: int
) -> list[float]:
    """Milliseconds of resumes of a run of `task`; in the middle of them its log has so many entries."""
    run = await client.start_run(task, ear.path)
    await client.send_many(run.id, STREAM, [SILENT] * (entries - FIRST_ENTRIES - count // 2 - 1))
    times: list[float] = []
    # The first one only shows that the records before it are consumed.
    for number in itertools.islice(numbers, count + 1):
        await until(client, run.id, RunState.SUSPENDED)
        await asyncio.sleep(REST_SECONDS)
        began = time.perf_counter_ns()
        await client.send(run.id, STREAM, number)
        told = await ear.hears(number)
        times.append((told.time_ns - began) / 1e6)
    await client.cancel_run(run.id)
    await until(client, run.id, RunState.CANCELLED)
    return times[1:]
