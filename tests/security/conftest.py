"""Real servers that ask for credentials, and certificates."""

from collections.abc import AsyncIterator, Iterator

import pytest

import midstream
from support.certificates import Authority
from support.keyed_server import KeyedServer


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    """One server for a module. Its log must hold neither a fault nor a secret."""
    with KeyedServer(tmp_path_factory.mktemp("keyed")) as server:
        yield server
        assert not [event for event in server.log if event["level"] not in ("debug", "info")]
        assert server.stderr_path.read_text() == ""


@pytest.fixture
async def backend(keyed: KeyedServer) -> AsyncIterator[midstream.Client]:
    async with midstream.connect(keyed.url, api_key=keyed.key) as client:
        yield client


@pytest.fixture
async def run_id(backend: midstream.Client) -> str:
    """A run that goes on."""
    async with backend.attach(task="t") as run:
        run.detach()
    return run.id


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "other")
