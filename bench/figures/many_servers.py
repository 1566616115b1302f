"""Several servers on one PostgreSQL: how fast they append together, and what the way from one to another costs."""

import asyncio
import time
from functools import partial

import asyncpg
from grpc import aio

from bench.context import Context
from bench.figures.one_at_a_time import Listener
from bench.figures.pipelined_send import send_frames
from bench.limits.postgres import BareEntries
from bench.measure import Figure, interleave, latencies, values
from bench.postgres import database, server_on, start_postgres
from bench.processes import Child
from bench.runs import attach_runs

SERVERS = 3
COMMIT_SIZE = 1_000


async def measure(context: Context) -> list[Figure]:
    url = await database(start_postgres(context), "bench")
    servers = [server_on(context, url) for _ in range(SERVERS)]
    return [*await _appends(context, url, servers), await _across(context, servers)]


async def _appends(context: Context, url: str, servers: list[Child]) -> list[Figure]:
    """Records a second through one, two and three servers, beside one bare connection; as many records each time."""
    sizes = context.sizes
    connection = await asyncpg.connect(url)
    context.cleanup.push_async_callback(connection.close)
    table = BareEntries(connection)
    channels = [aio.insecure_channel(_address(server)) for server in servers]
    for channel in channels:
        context.cleanup.push_async_callback(channel.close)

    async def bare() -> float:
        transactions = [
            table.rows(min(COMMIT_SIZE, sizes.pipelined_records - first), sizes.payload_bytes)
            for first in range(0, sizes.pipelined_records, COMMIT_SIZE)
        ]
        began = time.perf_counter()
        for rows in transactions:
            await table.commit(rows)
        return sizes.pipelined_records / (time.perf_counter() - began)

    async def through(count: int) -> float:
        run_ids = await attach_runs(channels[0], 2 * SERVERS)
        began = time.perf_counter()
        shares = [run_ids[number::count] for number in range(count)]
        await asyncio.gather(
            *(send_frames(sizes, channel, share) for channel, share in zip(channels, shares, strict=False) if share)
        )
        return len(run_ids) * sizes.records_per_run / (time.perf_counter() - began)

    counts = range(1, SERVERS + 1)
    bare_rates, *rates = await interleave(sizes.repeats, bare, *(partial(through, count) for count in counts))
    return [
        Figure(
            name=f"append_{count}_servers",
            title=f"Append through {count} server{'s' * (count > 1)} on PostgreSQL",
            unit="records/s",
            ours=values(ours),
            limit=values(bare_rates),
            limit_title=f"bare PostgreSQL, the store's table, {COMMIT_SIZE:,} records a commit",
        )
        for count, ours in zip(counts, rates, strict=True)
    ]


async def _across(context: Context, servers: list[Child]) -> Figure:
    sizes = context.sizes
    here, there = [str(server.ready["url"]) for server in servers[:2]]
    same = await context.cleanup.enter_async_context(Listener(here, sizes.payload_bytes))
    across = await context.cleanup.enter_async_context(Listener(here, sizes.payload_bytes, send_url=there))

    async def to(listener: Listener) -> list[float]:
        return (await listener.round_trips(sizes.round_trips))[0]

    limit, ours = await interleave(sizes.repeats, partial(to, same), partial(to, across))
    return Figure(
        name="across_servers",
        title="Send to one server → handler at another",
        unit="ms",
        ours=latencies(ours),
        limit=latencies(limit),
        limit_title="handler at the same server",
    )


def _address(server: Child) -> str:
    return str(server.ready["url"]).removeprefix("grpc://")
