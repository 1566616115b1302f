"""kill -9 of the server and of PostgreSQL under load: nothing acknowledged is lost, doubled or out of order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.chaos.client_load import ClientLoad
from support.chaos.scenario import chaos
from support.postgres import Postgres


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres(durable=True) as server:
        yield server


@pytest.mark.timeout(120)
async def test_kill9_of_server_and_database(tmp_path: Path, postgres: Postgres) -> None:
    """The client goes on by itself through all of it."""
    verdict = await chaos(
        tmp_path, seed="postgres", kills=1, crashes=2, max_answers=500, make_load=ClientLoad, database=postgres
    )
    assert not verdict.violations, str(verdict)
    for run in verdict.final.values():
        assert run.state == "COMPLETED"
