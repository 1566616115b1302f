"""How a send fares on a server that holds much that is idle, beside the same send on one that holds nothing."""

from pathlib import Path

from bench.context import Context
from bench.figures.one_at_a_time import Listener
from bench.measure import Aim, Figure, interleave, latencies
from bench.processes import Child, midstream_server

_AIM = Aim(1.2, at_most=True)


def server_in(context: Context, name: str) -> Child:
    """A server with a database of its own, for as long as the measurement lasts."""
    directory: Path = context.directory / name
    directory.mkdir()
    return context.cleanup.enter_context(midstream_server(directory))


async def send_among(context: Context, *, name: str, what: str, empty: Child, full: Child, empty_title: str) -> Figure:
    """Send → handler, on both in turn."""
    sizes = context.sizes
    alone, among = [
        await context.cleanup.enter_async_context(Listener(str(server.ready["url"]), sizes.payload_bytes))
        for server in (empty, full)
    ]

    async def to(listener: Listener) -> list[float]:
        to_handler, _ = await listener.round_trips(sizes.round_trips)
        return to_handler

    limit, ours = await interleave(sizes.repeats, lambda: to(alone), lambda: to(among))
    return Figure(
        name=name,
        title=f"Send → handler among {what}",
        unit="ms",
        ours=latencies(ours),
        limit=latencies(limit),
        limit_title=empty_title,
        aim=_AIM,
    )
