"""Servers of this process on one database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import grpc

from midstream.clock import Clock
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.stubs import Stubs


class Replica(NamedTuple):
    """A server with a connection of its own."""

    server: Server
    channel: grpc.aio.Channel
    stubs: Stubs


@asynccontextmanager
async def replicas(store: str, count: int, *, clock: Clock | None = None) -> AsyncIterator[list[Replica]]:
    """So many servers on the store, all with the same clock."""
    settings = Settings(store=store, listen="127.0.0.1:0", web_listen="", metrics_listen="", drain_seconds=5)
    async with AsyncExitStack() as running:
        yield [await running.enter_async_context(replica(settings, clock=clock)) for _ in range(count)]


@asynccontextmanager
async def replica(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Replica]:
    async with Server(settings, clock=clock) as server:
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = server.url.removeprefix("grpc://")
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            yield Replica(server, channel, Stubs(streams=StreamServiceStub(channel), runs=RunServiceStub(channel)))
