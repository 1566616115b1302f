"""Every vector against a real server over the wire, on each store; the round trips through the client as well."""

import pytest

import midstream
from support.conformance.play import play, to
from support.conformance.play_client import round_trip
from support.conformance.servers import PlayedServer
from support.conformance.vector import Vector, load_vectors

VECTORS = load_vectors()
ROUND_TRIPS = [vector for vector in VECTORS if vector.client == "round_trip"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
async def test_vector(vector: Vector, servers: dict[str, PlayedServer]) -> None:
    server = servers[vector.server]
    if vector.server == "own":
        server.do("start")
    assert await play(vector, to(server.address), server.keys, server.do) == len(vector.steps) > 0


@pytest.mark.parametrize("vector", ROUND_TRIPS, ids=lambda vector: vector.name)
async def test_round_trip_through_the_client(vector: Vector, servers: dict[str, PlayedServer]) -> None:
    async with midstream.connect(servers["open"].process.url) as client:
        await round_trip(client, vector.variables)
