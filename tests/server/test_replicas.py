"""Several servers on one PostgreSQL: any of them takes any call, and what one commits the others act upon."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest

from midstream.clock import ManualClock
from midstream.v1 import worker_service_pb2
from midstream.v1.run_pb2 import RunSpec
from midstream.v1.run_service_pb2 import CancelRunRequest, StartRunRequest, WatchRunRequest
from support.calls import DAY_US, SECOND_US, Subscriber, attach, connected, get_run, numbers, rest_of, send, state_of
from support.postgres import Databases, asked
from support.replicas import Replica, replicas
from support.server_process import ServerProcess
from support.work_call import Ended, WorkCall, result, step

HEARTBEAT = worker_service_pb2.WorkRequest.Heartbeat()


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    with databases.one() as url:
        yield url


@pytest.fixture
def clock() -> ManualClock:
    """Of both servers."""
    return ManualClock()


@pytest.fixture
async def pair(url: str, clock: ManualClock) -> AsyncIterator[list[Replica]]:
    async with replicas(url, 2, clock=clock) as pair:
        yield pair


@pytest.fixture
def first(pair: list[Replica]) -> Replica:
    return pair[0]


@pytest.fixture
def second(pair: list[Replica]) -> Replica:
    return pair[1]


async def start(replica: Replica, run_id: str = "run") -> None:
    await replica.stubs.runs.StartRun(StartRunRequest(run_id=run_id, spec=RunSpec(task="task")))


async def fire(pair: list[Replica], clock: ManualClock, duration_us: int) -> None:
    """Moves the time of both; both look for timers, at once."""
    clock.advance(duration_us)
    await asyncio.gather(*(each.server.advance(0) for each in pair))


async def test_a_record_sent_through_one_reaches_the_holder_at_the_other(first: Replica, second: Replica) -> None:
    run_id = await attach(first.stubs)
    reader = await Subscriber(second.stubs, run_id).open()
    for number in numbers(1, 20):
        await send(first.stubs, run_id, number)
        assert await reader.takes(1) == [int(number)]
    await reader.acks(20)
    assert (await reader.hears("acked")).acked.cursor == 20
    assert (await get_run(first.stubs, run_id)).streams[0].cursor == 20


async def test_the_newest_holder_wins_wherever_it_is(first: Replica, second: Replica) -> None:
    run_id = await attach(first.stubs)
    old = await Subscriber(first.stubs, run_id).open()
    new = await Subscriber(second.stubs, run_id).open()
    assert await old.is_refused() == "FENCED"
    await send(first.stubs, run_id, "1")
    assert await new.takes(1) == [1]


async def test_senders_through_both_get_one_order(first: Replica, second: Replica) -> None:
    run_id = await attach(first.stubs)
    sending = [send([first, second][number % 2].stubs, run_id, str(number)) for number in range(60)]
    receipts = [receipt for receipts in await asyncio.gather(*sending) for receipt in receipts]
    assert sorted(receipt.accepted.seq for receipt in receipts) == list(range(1, 61))
    reader = await Subscriber(second.stubs, run_id).open()
    assert await reader.takes(60) == list(range(1, 61))


async def test_the_same_key_through_both_is_stored_once(first: Replica, second: Replica) -> None:
    run_id = await attach(first.stubs)
    sending = [send(each.stubs, run_id, *numbers(1, 10)) for each in (first, second) for _ in range(5)]
    receipts = [receipt.accepted for receipts in await asyncio.gather(*sending) for receipt in receipts]
    assert {receipt.seq for receipt in receipts} == set(range(1, 11))
    assert sum(not receipt.deduplicated for receipt in receipts) == 10


async def test_the_same_run_through_both_is_created_once(first: Replica, second: Replica) -> None:
    request = StartRunRequest(run_id="run", spec=RunSpec(task="task"))
    starting = [each.stubs.runs.StartRun(request) for each in (first, second) for _ in range(8)]
    assert [(await each).created for each in starting].count(True) == 1


async def test_a_worker_at_one_executes_what_was_started_at_the_other(first: Replica, second: Replica) -> None:
    async with WorkCall(second.channel, credit=2) as worker:
        await start(first)
        lent = await worker.lent()
        assert lent.facts == ["created", "started"]
        await worker.suspend(lent, listening=["s"])
        await worker.hears("suspended")
        await send(first.stubs, "run", "1")
        lent = await worker.lent()
        assert (lent.epoch, lent.facts) == (2, ["created", "started", "record"])
        await send(first.stubs, "run", "2")
        assert [entry.record.seq for entry in await worker.entries("run")] == [2]
        watching = first.stubs.runs.WatchRun(WatchRunRequest(run_id="run"))
        await watching.read()
        await worker.finish(lent, result("7"))
        await worker.hears("finished")
        *_, last = await rest_of(watching)
        assert last.run.result.json == "7"


async def test_runs_that_waited_go_to_a_worker_wherever_it_comes(first: Replica, second: Replica) -> None:
    for number in range(5):
        await start([first, second][number % 2], f"run{number}")
    async with WorkCall(first.channel, "one", credit=2) as one, WorkCall(second.channel, "two", credit=3) as two:
        lent = [await one.lent(), await one.lent(), await two.lent(), await two.lent(), await two.lent()]
        assert sorted(each.run_id for each in lent) == [f"run{number}" for number in range(5)]


async def test_a_cancel_through_one_reaches_the_worker_at_the_other(first: Replica, second: Replica) -> None:
    async with WorkCall(second.channel, credit=1) as worker:
        await start(first)
        await worker.lent()
        await first.stubs.runs.CancelRun(CancelRunRequest(run_id="run"))
        assert [entry.WhichOneof("fact") for entry in await worker.entries("run")] == ["cancel_requested"]


async def test_a_lease_ends_at_whichever_looks_first(
    pair: list[Replica], first: Replica, second: Replica, clock: ManualClock
) -> None:
    async with WorkCall(first.channel, "lost", credit=1) as lost, WorkCall(second.channel, "other") as other:
        await start(first)
        lent = await lost.lent()
        clock.advance(10 * SECOND_US)
        await other.say(heartbeat=HEARTBEAT)
        await other.say(credit=worker_service_pb2.WorkRequest.Credit(runs=1))
        await fire(pair, clock, 6 * SECOND_US)
        again = await other.lent()
        assert (again.run_id, again.epoch) == ("run", lent.epoch + 1)
        assert await lost.ends() == "FENCED"


async def test_a_worker_that_comes_to_another_server_keeps_its_runs(first: Replica, second: Replica) -> None:
    async with WorkCall(first.channel, credit=1) as before:
        await start(first)
        lent = await before.lent()
        held = [("run", lent.epoch, lent.last_offset)]
        async with WorkCall(second.channel, held=held) as now:
            assert await before.ends() == "FENCED", "its lease is over, and it hears of it"
            await now.append("run", lent.epoch, step(0))
            assert [entry.WhichOneof("fact") for entry in await now.entries("run")] == ["step_ended"]
            await now.finish(lent, result())
            await now.hears("finished")
    assert await state_of(first.stubs, "run") == "COMPLETED"


async def test_timers_fire_once(pair: list[Replica], second: Replica, clock: ManualClock) -> None:
    async with WorkCall(second.channel, credit=20) as worker:
        for number in range(10):
            await start(pair[number % 2], f"run{number}")
        for lent in [await worker.lent() for _ in range(10)]:
            await worker.suspend(lent, timers={1: clock.now_us() + 5 * SECOND_US})
            await worker.hears("suspended")
        await fire(pair, clock, 5 * SECOND_US)
        woken = [await worker.lent() for _ in range(10)]
        assert {each.epoch for each in woken} == {2}
        assert {tuple(each.facts) for each in woken} == {("created", "started", "timer_fired")}


async def test_a_run_that_is_held_at_one_does_not_expire_at_the_other(
    pair: list[Replica], first: Replica, second: Replica, clock: ManualClock
) -> None:
    held, unheld = await attach(first.stubs, "held"), await attach(first.stubs, "unheld")
    reader = await Subscriber(first.stubs, held).open()
    for _ in range(12):
        clock.advance(DAY_US // 8)
        for each in (first, second):
            await each.server.advance(0)
    assert await state_of(second.stubs, unheld) == "EXPIRED"
    assert await state_of(second.stubs, held) == "RUNNING"
    reader.cancel()


async def test_a_server_that_starts_prolongs_nothing_while_others_are_there(
    url: str, pair: list[Replica], first: Replica, clock: ManualClock
) -> None:
    """One that fails and starts over and over must not keep the runs of a dead worker from the others."""
    async with WorkCall(first.channel, "dead", credit=1) as worker:
        await start(first)
        await worker.lent()
        clock.advance(10 * SECOND_US)
        async with replicas(url, 1, clock=clock):
            await fire(pair, clock, 6 * SECOND_US)
        assert await state_of(first.stubs, "run") == "QUEUED"


async def test_what_was_missed_while_it_could_not_hear_is_looked_for(url: str, first: Replica, second: Replica) -> None:
    run_id = await attach(first.stubs)
    reader = await Subscriber(second.stubs, run_id).open()
    async with WorkCall(second.channel, credit=1) as worker:
        cut = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%advisory%' "
            "AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        assert asked(url, lambda connection: connection.fetchval(cut)) == 2
        await send(first.stubs, run_id, "1")
        await start(first)
        assert await reader.takes(1) == [1]
        assert (await worker.lent()).run_id == "run"


@pytest.mark.slow
async def test_a_killed_server_leaves_everything_to_the_others(url: str, tmp_path: Path) -> None:
    """The worker and the holder go to the other server, with what they have."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with (
        ServerProcess(tmp_path / "a", args=["--store", url]) as killed,
        ServerProcess(tmp_path / "b", args=["--store", url]) as other,
    ):
        async with connected(killed.url) as one, connected(other.url) as two:
            run_id = await attach(one)
            reader = await Subscriber(one, run_id).open()
            address = other.url.removeprefix("grpc://")
            async with (
                grpc.aio.insecure_channel(killed.url.removeprefix("grpc://")) as here,
                grpc.aio.insecure_channel(address) as there,
                WorkCall(here, credit=1) as worker,
            ):
                await one.runs.StartRun(StartRunRequest(run_id="run", spec=RunSpec(task="task")))
                lent = await worker.lent()
                await send(one, run_id, "1", "2")
                assert await reader.takes(2) == [1, 2]
                killed.kill9()
                with pytest.raises(Ended):
                    await worker.next()
                await send(two, run_id, "3")
                async with WorkCall(there, held=[("run", lent.epoch, lent.last_offset)]) as again:
                    await again.finish(lent, result())
                    await again.hears("finished")
                reader = await Subscriber(two, run_id).open(epoch=reader.epoch)
                assert await reader.takes(3) == [1, 2, 3], "nothing was acknowledged"
                assert await state_of(two, "run") == "COMPLETED"
