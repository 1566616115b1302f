"""The behaviours through the Python client and its task runtime, on each store."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.conformance.behaviour import Behaviour, load_behaviours, play_behaviour
from support.conformance.play import Mismatch
from support.conformance.servers import PlayedServer
from support.worker_process import WorkerProcess

BEHAVIOURS = load_behaviours()
ON_EACH_STORE = [behaviour for behaviour in BEHAVIOURS if len(behaviour.stores) > 1]
ON_ONE_STORE = [behaviour for behaviour in BEHAVIOURS if len(behaviour.stores) == 1]


@pytest.fixture(scope="module")
def worker(servers: dict[str, PlayedServer]) -> Iterator[WorkerProcess]:
    """Executes the scripts of managed runs."""
    url = servers["open"].process.url
    with WorkerProcess(url, Path(__file__).parent, "support.conformance.script_task") as worker:
        worker.wait_for("connected")
        yield worker


@pytest.mark.parametrize("behaviour", ON_EACH_STORE, ids=lambda behaviour: behaviour.name)
async def test_behaviour(behaviour: Behaviour, servers: dict[str, PlayedServer], worker: WorkerProcess) -> None:
    server = servers[behaviour.server]
    if behaviour.server == "own":
        server.do("start")
    await play_behaviour(behaviour, server)


@pytest.mark.parametrize("servers", ["sqlite"], indirect=True)
@pytest.mark.parametrize("behaviour", ON_ONE_STORE, ids=lambda behaviour: behaviour.name)
async def test_behaviour_of_the_client(
    behaviour: Behaviour, servers: dict[str, PlayedServer], worker: WorkerProcess
) -> None:
    await play_behaviour(behaviour, servers[behaviour.server])


def test_names_are_unique() -> None:
    names = [behaviour.name for behaviour in BEHAVIOURS]
    assert len(set(names)) == len(names) == len(ON_EACH_STORE) + len(ON_ONE_STORE)


@pytest.mark.parametrize("servers", ["sqlite"], indirect=True)
async def test_what_comes_otherwise_is_found(servers: dict[str, PlayedServer], worker: WorkerProcess) -> None:
    for place in ("attached", "warm"):
        right = next(each for each in BEHAVIOURS if each.name == f"lives/unconsumed/{place}")
        for wrong in (
            replace(right, ends={"state": "COMPLETED", "unread": {"a": 2}}),
            replace(right, ends={"state": "CANCELLED"}),
            replace(right, run=[{"once": "a", "gives": 2}]),
            replace(right, run=[{"once": "a", "fails": "TIMEOUT"}]),
            replace(right, run=[{"together": [{"drain": "a", "gives": [1]}]}]),
            replace(right, outside=[{"peek": "b", "gives": 4}]),
        ):
            with pytest.raises(Mismatch):
                await play_behaviour(wrong, servers["open"])
