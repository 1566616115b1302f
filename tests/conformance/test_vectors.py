"""Every vector against a real server over the wire; the round trips through the Python client as well."""

from collections.abc import Iterator

import grpc
import pytest

import midstream
from support.conformance.play import play
from support.conformance.play_client import round_trip
from support.conformance.vector import Vector, load_server_env, load_vectors
from support.keyed_server import KeyedServer
from support.server_process import ServerProcess

VECTORS = load_vectors()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all vectors, with the settings that they expect. They keep to runs of their own."""
    with ServerProcess(tmp_path_factory.mktemp("conformance"), env=load_server_env()) as server:
        yield server.url
        assert server.faults() == []
        assert server.stderr_path.read_text() == ""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    """Another one, which asks for credentials."""
    with KeyedServer(tmp_path_factory.mktemp("keyed"), env=load_server_env()) as server:
        yield server


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.server == "open"], ids=lambda vector: vector.name)
async def test_vector(vector: Vector, url: str) -> None:
    async with grpc.aio.insecure_channel(url.removeprefix("grpc://")) as channel:
        await play(vector, channel, {})


@pytest.mark.parametrize("vector", [each for each in VECTORS if each.server == "keyed"], ids=lambda vector: vector.name)
async def test_vector_with_credentials(vector: Vector, keyed: KeyedServer) -> None:
    async with grpc.aio.insecure_channel(keyed.url.removeprefix("grpc://")) as channel:
        await play(vector, channel, {"apiKey": keyed.key, "otherKey": keyed.other_key})


@pytest.mark.parametrize(
    "vector", [vector for vector in VECTORS if vector.client == "round_trip"], ids=lambda vector: vector.name
)
async def test_round_trip_through_the_client(vector: Vector, url: str) -> None:
    async with midstream.connect(url) as client:
        await round_trip(client, vector.variables)
