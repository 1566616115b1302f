"""The vectors over the web edge, in both protocols: the same responses, the same errors with the same details."""

from collections.abc import Iterator
from typing import cast

import grpc
import pytest

from support.conformance.play import find_method, play
from support.conformance.vector import Vector, load_server_env, load_vectors
from support.keyed_server import KeyedServer
from support.server_process import ServerProcess
from support.web_channel import WebChannel


def callable_by_browsers(vector: Vector) -> bool:
    methods = [find_method(step["rpc"]) for step in vector.steps if "rpc" in step]
    return not any(each.client_streaming or each.containing_service.name == "WorkerService" for each in methods)


VECTORS = [vector for vector in load_vectors() if callable_by_browsers(vector)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ServerProcess(tmp_path_factory.mktemp("web"), env=load_server_env()) as server:
        yield server.web_url
        assert server.faults() == []
        assert server.stderr_path.read_text() == ""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    with KeyedServer(tmp_path_factory.mktemp("web-keyed"), env=load_server_env()) as server:
        yield server


def test_most_vectors_are_for_browsers_too() -> None:
    assert len(VECTORS) > 50


@pytest.mark.parametrize("way", ["connect", "grpc-web"])
@pytest.mark.parametrize("vector", [each for each in VECTORS if each.server == "open"], ids=lambda vector: vector.name)
async def test_vector(vector: Vector, way: str, url: str) -> None:
    await play(vector, lambda: cast(grpc.aio.Channel, WebChannel(url, way)), {})


@pytest.mark.parametrize("way", ["connect", "grpc-web"])
@pytest.mark.parametrize("vector", [each for each in VECTORS if each.server == "keyed"], ids=lambda vector: vector.name)
async def test_vector_with_credentials(vector: Vector, way: str, keyed: KeyedServer) -> None:
    keys = {"apiKey": keyed.key, "otherKey": keyed.other_key}
    await play(vector, lambda: cast(grpc.aio.Channel, WebChannel(keyed.web_url, way)), keys)
