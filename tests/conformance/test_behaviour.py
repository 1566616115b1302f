"""The behaviours through the Python client and its task runtime, on each store."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.conformance.behaviour import Behaviour, load_behaviours, play_behaviour
from support.conformance.servers import PlayedServer
from support.worker_process import WorkerProcess

BEHAVIOURS = load_behaviours()


@pytest.fixture(scope="module")
def worker(servers: dict[str, PlayedServer]) -> Iterator[WorkerProcess]:
    """Executes the scripts of managed runs."""
    url = servers["open"].process.url
    with WorkerProcess(url, Path(__file__).parent, "support.conformance.script_task") as worker:
        worker.wait_for("connected")
        yield worker


@pytest.mark.parametrize(
    ("servers", "behaviour"),
    [pytest.param(store, each, id=f"{store}-{each.name}") for each in BEHAVIOURS for store in each.stores],
    indirect=["servers"],
)
async def test_behaviour(behaviour: Behaviour, servers: dict[str, PlayedServer], worker: WorkerProcess) -> None:
    server = servers[behaviour.server]
    if behaviour.server == "own":
        server.do("start")
    await play_behaviour(behaviour, server)


def test_names_are_unique() -> None:
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(set(names)) == len(names)
