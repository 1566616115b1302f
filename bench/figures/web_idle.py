"""What idle pages cost the web edge: memory each, and the time of a send to a handler on a server that has them."""

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
    """Three servers alike: with no page, with pages that tail, and with pages that follow over WebSockets."""
    sizes = context.sizes
    quiet, tailed, followed = [
        context.cleanup.enter_context(midstream_server(_directory(context, name)))
        for name in ("quiet", "tailed", "followed")
    ]
    tail_kib = await _crowd(context, tailed, "tail")
    socket_kib = await _crowd(context, followed, "socket")
    alone, among = [
        await context.cleanup.enter_async_context(Listener(str(server.ready["url"]), sizes.payload_bytes))
        for server in (quiet, followed)
    ]

    async def to(listener: Listener) -> list[float]:
        to_handler, _ = await listener.round_trips(sizes.round_trips)
        return to_handler

    limit, ours = await interleave(sizes.repeats, lambda: to(alone), lambda: to(among))
    return [
        Figure(
            name="web_idle_tail_memory",
            title=f"Idle Tail by Connect, one of {sizes.idle_pages:,}: the server's memory",
            unit="KiB",
            ours=values([tail_kib]),
            aim=MEMORY_AIM,
        ),
        Figure(
            name="web_idle_socket_memory",
            title=f"Idle Follow over a WebSocket, two targets, one of {sizes.idle_pages:,}: the server's memory",
            unit="KiB",
            ours=values([socket_kib]),
        ),
        Figure(
            name="web_idle_latency",
            title=f"Send → handler among {sizes.idle_pages:,} WebSockets",
            unit="ms",
            ours=latencies(ours),
            limit=latencies(limit),
            limit_title="another server without any",
            aim=TIME_AIM,
        ),
    ]


def _directory(context: Context, name: str) -> Path:
    directory = context.directory / name
    directory.mkdir()
    return directory


async def _crowd(context: Context, server: Child, way: str) -> float:
    """Opens the idle pages, from a process of their own, and returns the server's growth in KiB for each."""
    async with aio.insecure_channel(str(server.ready["url"]).removeprefix("grpc://")) as channel:
        run_ids = await attach_runs(channel, context.sizes.idle_pages)
    file = context.directory / f"idle_{way}"
    file.write_text("\n".join(run_ids))
    before = server.rss_kib()
    url = str(server.ready["web_url"])
    context.cleanup.enter_context(child("bench.idle_pages", way, url, str(file), ready_event="holding"))
    return (server.rss_kib() - before) / len(run_ids)
