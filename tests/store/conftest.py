"""A store of each engine."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from store.engines import ENGINES, Engine, WholeStore
from store.managed_runs import Yard, open_yard
from support.postgres import Databases


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path, databases: Databases) -> Iterator[Engine]:
    with ENGINES[request.param](tmp_path, databases) as engine:
        yield engine


@pytest.fixture
async def store(engine: Engine) -> AsyncIterator[WholeStore]:
    store = await engine.open()
    yield store
    await store.close()


@pytest.fixture
async def yard(engine: Engine) -> AsyncIterator[Yard]:
    yard = await open_yard(engine)
    yield yard
    await yard.store.close()
