"""Every vector against a real server over the wire, on each store; the round trips through the client as well."""

from collections.abc import Iterator

import pytest

import midstream
from support.conformance.play import play, to
from support.conformance.play_client import round_trip
from support.conformance.servers import STORES, PlayedServer, played_servers
from support.conformance.vector import Vector, load_vectors

VECTORS = load_vectors()


@pytest.fixture(scope="module", params=STORES)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, PlayedServer]]:
    """A server of each kind for all vectors, with the settings that they expect. They keep to runs of their own."""
    databases = None if request.param == "sqlite" else request.getfixturevalue("databases")
    with played_servers(tmp_path_factory.mktemp(request.param), databases) as servers:
        yield servers
        for kind in ("open", "keyed"):
            assert servers[kind].process.faults() == []
            assert servers[kind].process.stderr_path.read_text() == ""


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
async def test_vector(vector: Vector, servers: dict[str, PlayedServer]) -> None:
    server = servers[vector.server]
    if vector.server == "own":
        server.do("start")
    assert await play(vector, to(server.address), server.keys, server.do) == len(vector.steps) > 0


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector.client == "round_trip"], ids=lambda vector: vector.name
)
async def test_round_trip_through_the_client(vector: Vector, servers: dict[str, PlayedServer]) -> None:
    async with midstream.connect(servers["open"].process.url) as client:
        await round_trip(client, vector.variables)
