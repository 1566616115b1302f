"""One record in flight: from calling `send` to the first line of the handler, in one client process."""

import asyncio
import os
import time
from contextlib import AsyncExitStack
from types import TracebackType

import midstream
from bench.context import Context
from bench.frames import RUN_ID, STREAM, send_request
from bench.limits.echo import EchoClient
from bench.limits.sqlite import BareTable, store_schema
from bench.measure import Aim, Figure, Peer, latencies, latencies_beside
from bench.peers import nats
from midstream import input_stream

AIM = Aim(2, at_most=True)

events = input_stream(STREAM, bytes)


class Listener:
    """An attached run whose handler notes when it was entered, and a client that sends to it."""

    def __init__(self, url: str, payload_bytes: int, *, send_url: str | None = None) -> None:
        """`send_url`: another server, to which it sends."""
        self._url = url
        self._send_url = send_url
        self._payload = os.urandom(payload_bytes)
        self._entered = 0
        self._heard = asyncio.Event()
        self._open = AsyncExitStack()

    async def __aenter__(self) -> "Listener":
        client = await self._open.enter_async_context(midstream.connect(self._url))
        self._run = await self._open.enter_async_context(client.attach(task="bench"))
        self._sender = client
        if self._send_url is not None:
            self._sender = await self._open.enter_async_context(midstream.connect(self._send_url))
        events.on(self._handle)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def _handle(self, _payload: bytes) -> None:
        self._entered = time.perf_counter_ns()
        self._heard.set()

    async def round_trips(self, count: int) -> tuple[list[float], list[float]]:
        """Milliseconds from send to handler, and from send to receipt."""
        to_handler: list[float] = []
        to_receipt: list[float] = []
        for _ in range(count):
            self._heard.clear()
            began = time.perf_counter_ns()
            await self._sender.send(self._run.id, STREAM, self._payload)
            to_receipt.append((time.perf_counter_ns() - began) / 1e6)
            await self._heard.wait()
            to_handler.append((self._entered - began) / 1e6)
        return to_handler, to_receipt


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    table = store_schema(context.directory / "bare_one.db")
    context.cleanup.callback(table.close)
    listener = await context.cleanup.enter_async_context(Listener(context.url, sizes.payload_bytes))
    receipts: list[list[float]] = []
    echoes: list[list[float]] = []

    async def limit() -> list[float]:
        both, echo = await echo_and_commit(context.echo, table, sizes.round_trips, sizes.payload_bytes)
        echoes.append(echo)
        return both

    async def ours() -> list[float]:
        to_handler, to_receipt = await listener.round_trips(sizes.round_trips)
        receipts.append(to_receipt)
        return to_handler

    peers = await _peers(context)
    limit_spread, our_spread, beside = await latencies_beside(sizes.repeats, limit, ours, peers)
    return [
        Figure(
            name="one_at_a_time",
            title="Send → handler, one at a time",
            unit="ms",
            ours=our_spread,
            limit=limit_spread,
            limit_title="bare bidi echo + one bare commit",
            peers=beside,
            aim=AIM,
            details={
                "of the limit the echo alone, p50": latencies(echoes[1:]).p50,
                "send → receipt, p50": latencies(receipts[1:]).p50,
            },
        )
    ]


async def _peers(context: Context) -> list[Peer]:
    if not context.with_peers:
        return []
    sizes = context.sizes
    stream = await context.cleanup.enter_async_context(nats.running(context.directory, sizes.payload_bytes))
    return [Peer(nats.TITLE, lambda: stream.round_trips(sizes.round_trips))]


async def echo_and_commit(
    echo: EchoClient, table: BareTable, count: int, payload_bytes: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of an echo followed by a commit, and of the echo alone."""
    frame = send_request(RUN_ID, 1, payload_bytes)
    transactions = [table.rows(1, payload_bytes) for _ in range(count)]
    both: list[float] = []
    echoes: list[float] = []
    for rows in transactions:
        began = time.perf_counter_ns()
        await echo.ping(frame)
        echoed = time.perf_counter_ns()
        table.commit(rows)
        both.append((time.perf_counter_ns() - began) / 1e6)
        echoes.append((echoed - began) / 1e6)
    return both, echoes
