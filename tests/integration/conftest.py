"""A server in the test's own process, through the module that users' tests use."""

from collections.abc import AsyncIterator

import pytest

from midstream.testing import LocalServer, local_server


@pytest.fixture
async def local() -> AsyncIterator[LocalServer]:
    async with local_server() as server:
        yield server
