"""A store of each engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from midstream_server.store import Store
from store.engines import ENGINES, Engine


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    return ENGINES[request.param](tmp_path)


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    store = await engine.open()
    yield store
    await store.close()
