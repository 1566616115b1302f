"""What subscriptions cost on which nothing happens: memory each, and time of a send to one among them."""

from pathlib import Path

from grpc import aio

from bench.context import Context
from bench.figures.one_at_a_time import Listener
from bench.measure import Aim, Figure, interleave, latencies, values
from bench.processes import Child, child, midstream_server
from bench.runs import attach_runs

MEMORY_AIM = Aim(40, at_most=True)
TIME_AIM = Aim(1.2, at_most=True)


async def measure(context: Context) -> list[Figure]:
    """Two servers alike, one with a single subscription and one with all of them, asked in turn."""
    sizes = context.sizes
    quiet = context.cleanup.enter_context(midstream_server(_directory(context, "quiet")))
    crowded = context.cleanup.enter_context(midstream_server(_directory(context, "crowded")))
    kib_each = await _crowd(context, crowded)
    alone, among = [
        await context.cleanup.enter_async_context(Listener(str(server.ready["url"]), sizes.payload_bytes))
        for server in (quiet, crowded)
    ]

    async def to(listener: Listener) -> list[float]:
        to_handler, _ = await listener.round_trips(sizes.round_trips)
        return to_handler

    limit, ours = await interleave(sizes.repeats, lambda: to(alone), lambda: to(among))
    return [
        Figure(
            name="idle_subscription_memory",
            title=f"Idle subscription, one of {sizes.idle_subscriptions:,}: the server's memory",
            unit="KiB",
            ours=values([kib_each]),
            aim=MEMORY_AIM,
        ),
        Figure(
            name="idle_subscription_latency",
            title=f"Send → handler among {sizes.idle_subscriptions:,} subscriptions",
            unit="ms",
            ours=latencies(ours),
            limit=latencies(limit),
            limit_title="the only subscription of another server",
            aim=TIME_AIM,
        ),
    ]


def _directory(context: Context, name: str) -> Path:
    directory = context.directory / name
    directory.mkdir()
    return directory


async def _crowd(context: Context, server: Child) -> float:
    """Opens the idle subscriptions, from a process of their own, and returns the server's growth in KiB for each."""
    target = str(server.ready["url"]).removeprefix("grpc://")
    channel = aio.insecure_channel(target)
    run_ids = await attach_runs(channel, context.sizes.idle_subscriptions)
    await channel.close()
    file = context.directory / "idle_runs"
    file.write_text("\n".join(run_ids))
    before = server.rss_kib()
    context.cleanup.enter_context(child("bench.idle_holder", target, str(file), ready_event="holding"))
    return (server.rss_kib() - before) / len(run_ids)
