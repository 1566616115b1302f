"""Fixtures for tests of the web edge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from midstream_server.server import Server
from midstream_server.settings import Settings
from support.web import Page, opened

ORIGIN = "https://app.example.com"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        database=tmp_path / "midstream.db",
        listen="127.0.0.1:0",
        metrics_listen="",
        web_listen="127.0.0.1:0",
        web_origins=f"{ORIGIN},http://localhost:5173",
        drain_seconds=5,
    )


@pytest.fixture
async def page(server: Server) -> AsyncIterator[Page]:
    """Of an allowed origin."""
    async with opened(server, origin=ORIGIN) as page:
        yield page
