"""What idle pages cost the web edge: memory each, and the time of a send to a handler on a server that has them."""

from grpc import aio

from bench.beside import send_among, server_in
from bench.context import Context
from bench.measure import Aim, Figure, values
from bench.processes import Child, child
from bench.runs import attach_runs

MEMORY_AIM = Aim(40, at_most=True)


async def measure(context: Context) -> list[Figure]:
    """Three servers alike: with no page, with pages that tail, and with pages that follow over WebSockets."""
    sizes = context.sizes
    quiet, tailed, followed = (server_in(context, name) for name in ("quiet", "tailed", "followed"))
    tail_kib = await _crowd(context, tailed, "tail")
    socket_kib = await _crowd(context, followed, "socket")
    latency = await send_among(
        context,
        name="web_idle_latency",
        what=f"{sizes.idle_pages:,} WebSockets",
        empty=quiet,
        full=followed,
        empty_title="another server without any",
    )
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
        latency,
    ]


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
