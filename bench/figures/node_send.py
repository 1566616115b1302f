"""One record in flight from Node to a handler in Python, over gRPC and over Connect, beside the same from Python."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import midstream
from bench.context import Context
from bench.figures.one_at_a_time import Listener
from bench.frames import STREAM
from bench.measure import Figure, interleave, latencies
from bench.processes import ROOT, build_client
from midstream import input_stream

events = input_stream(STREAM, bytes)


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    await build_client()
    python = await context.cleanup.enter_async_context(Listener(context.url, sizes.payload_bytes))
    figures = []
    for name, title, url in (
        ("node_send_grpc", "Send from Node → handler in Python, gRPC", context.url),
        ("node_send_connect", "Send from Node → handler in Python, Connect", str(context.server.ready["web_url"])),
    ):
        node = await context.cleanup.enter_async_context(_sending_from_node(context, url))

        async def limit() -> list[float]:
            return (await python.round_trips(sizes.round_trips))[0]

        async def ours(node: "NodeSender" = node) -> list[float]:
            return await node.one_way(sizes.round_trips)

        limit_times, times = await interleave(sizes.repeats, limit, ours)
        figures.append(
            Figure(
                name=name,
                title=title,
                unit="ms",
                ours=latencies(times),
                limit=latencies(limit_times),
                limit_title="the same from Python, gRPC",
            )
        )
    return figures


class NodeSender:
    """A Node process that sends to an attached run of ours when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._entered = 0.0
        self._heard = asyncio.Event()

    def handle(self, _payload: bytes) -> None:
        self._entered = time.time_ns() / 1e6
        self._heard.set()

    async def one_way(self, count: int) -> list[float]:
        """Milliseconds from calling `send` there to the handler's first line here, by the clock that both read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        times: list[float] = []
        for _ in range(count):
            self._heard.clear()
            self._process.stdin.write(b"\n")
            began_ms = float(await self._process.stdout.readline()) / 1e3
            await self._heard.wait()
            times.append(self._entered - began_ms)
        return times


@asynccontextmanager
async def _sending_from_node(context: Context, url: str) -> AsyncIterator[NodeSender]:
    async with midstream.connect(context.url) as client, client.attach(task="bench") as run:
        process = await asyncio.create_subprocess_exec(
            *("node", "bench/node_sender.mjs", url, run.id, STREAM, str(context.sizes.payload_bytes)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        node = NodeSender(process)
        events.on(node.handle)
        try:
            yield node
        finally:
            assert process.stdin is not None
            process.stdin.close()  # which is its end
            await process.wait()
