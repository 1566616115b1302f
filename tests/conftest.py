"""Fixtures for tests that need a server: in this process, or as a process of its own."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from midstream.clock import ManualClock
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.postgres import Databases, Postgres
from support.server_process import ServerProcess
from support.stubs import Stubs


def pytest_configure() -> None:
    """A suite that runs in the background inherits an ignored SIGINT, and so would every process that it interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Free ports and a database of the test's own. Override it in a module or class for other settings."""
    return Settings(
        database=tmp_path / "midstream.db", listen="127.0.0.1:0", metrics_listen="", web_listen="", drain_seconds=5
    )


@pytest.fixture
def clock() -> ManualClock:
    """The time of `server`, which only the test moves: through `server.advance`, so that timers have fired after it."""
    return ManualClock()


@pytest.fixture
async def server(settings: Settings, clock: ManualClock) -> AsyncIterator[Server]:
    """A server on the test's own loop."""
    async with Server(settings, clock=clock) as server:
        yield server


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        yield channel


@pytest.fixture
def stubs(channel: grpc.aio.Channel) -> Stubs:
    return Stubs(streams=StreamServiceStub(channel), runs=RunServiceStub(channel))


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[ServerProcess]:
    """A started server in a process of its own."""
    with ServerProcess(tmp_path) as process:
        yield process


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """Databases on a PostgreSQL of the session's own, which starts with the first test that asks."""
    with Postgres() as server:
        yield Databases(server)
