"""Fixtures for tests that need a server: in this process, or as a process of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from midstream_server.server import Server
from midstream_server.settings import Settings
from support.server_process import ServerProcess


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Free ports and a database of the test's own. Override it in a module or class for other settings."""
    return Settings(database=tmp_path / "midstream.db", listen="127.0.0.1:0", metrics_listen="", drain_seconds=5)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    """A server on the test's own loop."""
    async with Server(settings) as server:
        yield server


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(server.url.removeprefix("grpc://")) as channel:
        yield channel


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[ServerProcess]:
    """A started server in a process of its own."""
    with ServerProcess(tmp_path) as process:
        yield process
