"""What subscriptions cost on which nothing happens: memory each, and time of a send to one among them."""

from grpc import aio

from bench.beside import send_among, server_in
from bench.context import Context
from bench.measure import Aim, Figure, values
from bench.processes import Child, child
from bench.runs import attach_runs

MEMORY_AIM = Aim(40, at_most=True)


async def measure(context: Context) -> list[Figure]:
    """Two servers alike, one with a single subscription and one with all of them, asked in turn."""
    sizes = context.sizes
    quiet, crowded = server_in(context, "quiet"), server_in(context, "crowded")
    kib_each = await _crowd(context, crowded)
    latency = await send_among(
        context,
        name="idle_subscription_latency",
        what=f"{sizes.idle_subscriptions:,} subscriptions",
        empty=quiet,
        full=crowded,
        empty_title="the only subscription of another server",
    )
    return [
        Figure(
            name="idle_subscription_memory",
            title=f"Idle subscription, one of {sizes.idle_subscriptions:,}: the server's memory",
            unit="KiB",
            ours=values([kib_each]),
            aim=MEMORY_AIM,
        ),
        latency,
    ]


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
