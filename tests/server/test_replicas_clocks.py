"""Servers whose machines' clocks differ by an hour: they go by the database's, so leases and timers are right."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from midstream.clock import SystemClock
from midstream.v1.run_pb2 import RunSpec
from midstream.v1.run_service_pb2 import ListEntriesRequest, StartRunRequest
from midstream_server.agreed_clock import AgreedClock
from midstream_server.settings import Settings
from support.calls import SECOND_US, send
from support.postgres import Databases
from support.replicas import Replica, replica
from support.work_call import WorkCall, result

HOUR_US = 3600 * SECOND_US
LEASE_US = 15 * SECOND_US


class WrongClock(SystemClock):
    def __init__(self, ahead_us: int) -> None:
        self._ahead_us = ahead_us

    def now_us(self) -> int:
        return super().now_us() + self._ahead_us


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    with databases.one() as url:
        yield url


@pytest.fixture
async def pair(url: str) -> AsyncIterator[list[Replica]]:
    """One an hour ahead, the other an hour behind."""
    settings = Settings(store=url, listen="127.0.0.1:0", web_listen="", metrics_listen="")
    async with AsyncExitStack() as running:
        clocks = [AgreedClock(system=WrongClock(ahead_us)) for ahead_us in (HOUR_US, -HOUR_US)]
        yield [await running.enter_async_context(replica(settings, clock=clock)) for clock in clocks]


async def test_they_agree(pair: list[Replica]) -> None:
    ahead, behind = (each.server.clock.now_us() for each in pair)
    assert abs(ahead - behind) < LEASE_US


async def test_a_lease_given_by_one_is_not_over_for_the_other(pair: list[Replica]) -> None:
    """By their own clocks it would be, two hours ago."""
    ahead, behind = pair
    async with WorkCall(behind.channel, credit=1) as worker:
        await ahead.stubs.runs.StartRun(StartRunRequest(run_id="run", spec=RunSpec(task="task")))
        lent = await worker.lent()
        assert not await ahead.server._timekeeper.run_due(), "nothing is due"
        await send(ahead.stubs, "run", "1")
        await worker.entries("run")
        await worker.finish(lent, result())
        await worker.hears("finished")
    log = await ahead.stubs.runs.ListEntries(ListEntriesRequest(run_id="run", page_size=100))
    times = [entry.append_time.ToMicroseconds() for entry in log.entries]
    assert times[-1] - times[0] < HOUR_US
    assert [each.epoch for each in log.assignments] == [1], "nobody took the run away"
