"""PostgreSQL goes away and comes back, or another takes over: the server stays, and decides nothing meanwhile."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from midstream.clock import ManualClock, SystemClock
from midstream.v1.run_pb2 import RunSpec
from midstream.v1.run_service_pb2 import GetRunRequest, StartRunRequest
from midstream.v1.stream_service_pb2 import Receipt
from support.calls import SECOND_US, Sending, Subscriber, attach, listed, new_record, reason_in, send
from support.postgres import Postgres, asked
from support.replicas import Replica, replicas
from support.stubs import Stubs
from support.work_call import WorkCall, result, step


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
async def server(postgres: Postgres) -> AsyncIterator[Replica]:
    async with replicas(postgres.url(), 1, clock=SystemClock()) as (replica,):
        yield replica


async def refusal(stubs: Stubs, run_id: str) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.runs.GetRun(GetRunRequest(run_id=run_id))
    return caught.value


async def sent(stubs: Stubs, run_id: str, text: str) -> int:
    """As a client does: until it is accepted, with the same key. Returns its seq."""
    async with asyncio.timeout(30):
        while True:
            receipt = await tried(stubs, run_id, text)
            if receipt is not None:
                return receipt.accepted.seq
            await asyncio.sleep(0.05)


async def tried(stubs: Stubs, run_id: str, text: str) -> Receipt | None:
    try:
        (receipt,) = await send(stubs, run_id, text)
    except grpc.aio.AioRpcError as error:
        if reason_in(error) != "STORE_UNAVAILABLE":
            raise
        return None
    return receipt


async def test_calls_are_refused_until_it_is_back(postgres: Postgres, server: Replica) -> None:
    run_id = await attach(server.stubs)
    postgres.stop()
    error = await refusal(server.stubs, run_id)
    assert (error.code(), reason_in(error)) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    status = Status.FromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details)
    assert await tried(server.stubs, run_id, "1") is None
    postgres.start()
    assert await sent(server.stubs, run_id, "1") == 1


@pytest.mark.parametrize("crash", [False, True])
async def test_subscriptions_stay_and_go_on(postgres: Postgres, server: Replica, crash: bool) -> None:
    run_id = await attach(server.stubs)
    reader = await Subscriber(server.stubs, run_id).open()
    await send(server.stubs, run_id, "1")
    assert await reader.takes(1) == [1]
    for number in (2, 3):
        postgres.kill9() if crash else postgres.stop()
        sending = asyncio.create_task(sent(server.stubs, run_id, str(number)))
        await refusal(server.stubs, run_id)
        postgres.start()
        assert await sending == number
        assert await reader.takes(1) == [number]
    await reader.acks(3)
    assert (await reader.hears("acked")).acked.cursor == 3
    assert [record.seq for record in await listed(server.stubs, run_id)] == [1, 2, 3]


async def test_a_broken_connection_is_not_noticed(postgres: Postgres, server: Replica) -> None:
    """Idle connections are cut by firewalls and restarts: the next call uses others."""
    run_id = await attach(server.stubs)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'midstream-server'"
    for number in range(1, 4):
        assert asked(postgres.url(), lambda connection: connection.fetchval(cut)) >= 2
        (receipt,) = await send(server.stubs, run_id, str(number))
        assert receipt.accepted.seq == number, receipt
        await server.stubs.runs.GetRun(GetRunRequest(run_id=run_id))


async def test_workers_keep_their_runs_however_long_it_was_away(postgres: Postgres) -> None:
    """Nobody could renew a lease meanwhile."""
    clock = ManualClock()
    async with replicas(postgres.url(), 2, clock=clock) as (one, two):
        run_id = await attach(one.stubs)
        async with WorkCall(one.channel, credit=1) as worker:
            await one.stubs.runs.StartRun(StartRunRequest(run_id="run", spec=RunSpec(task="task")))
            lent = await worker.lent()
            postgres.stop()
            await worker.append("run", lent.epoch, step(0))
            assert await worker.ends() == "STORE_UNAVAILABLE"
        clock.advance(3600 * SECOND_US)
        postgres.start()
        await sent(one.stubs, run_id, "1")
        await sent(two.stubs, run_id, "2")
        async with WorkCall(two.channel, held=[("run", lent.epoch, lent.last_offset)]) as again:
            await again.finish(lent, result())
            await again.hears("finished")


@contextmanager
def standby_of(primary: Postgres) -> Iterator[Postgres]:
    """A server that follows the primary, and answers those who only read."""
    standby = Postgres()
    standby.follow(primary)
    try:
        yield standby.start()
    finally:
        standby.delete()


@pytest.mark.slow
async def test_nothing_is_read_from_a_standby_until_it_is_the_primary() -> None:
    with Postgres() as primary, standby_of(primary) as standby:
        hosts = f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}"
        url = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=any"
        async with replicas(url, 1, clock=SystemClock()) as (server,):
            run_id = await attach(server.stubs)
            reader = await Subscriber(server.stubs, run_id).open()
            await send(server.stubs, run_id, "1")
            assert await reader.takes(1) == [1]
            primary.stop()
            for _ in range(5):
                assert reason_in(await refusal(server.stubs, run_id)) == "STORE_UNAVAILABLE"
            standby.promote()
            assert await sent(server.stubs, run_id, "2") == 2
            assert await reader.takes(1) == [2]
            assert [record.seq for record in await listed(server.stubs, run_id)] == [1, 2]


async def test_a_stream_of_sends_ends_and_is_sent_again(postgres: Postgres, server: Replica) -> None:
    """A client repeats what got no receipt; a receipt with an error would be the last word on its record."""
    run_id = await attach(server.stubs)
    sending = Sending(server.stubs, run_id)
    await sending.writes([new_record("1", key="1")])
    assert [receipt.accepted.seq for receipt in await sending.hears()] == [1]
    postgres.stop()
    await sending.writes([new_record("2", key="2")])
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await sending.hears()
    assert reason_in(caught.value) == "STORE_UNAVAILABLE"
    postgres.start()
    assert await sent(server.stubs, run_id, "2") == 2


async def test_a_host_that_does_not_even_refuse_keeps_nobody_from_the_others(postgres: Postgres) -> None:
    """A machine that is gone answers nothing: it must not take the time in which another one would be found."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        hosts = f"127.0.0.1:{gone.getsockname()[1]},127.0.0.1:{postgres.port}"
        url = f"postgresql://postgres@{hosts}/postgres"
        async with replicas(url, 1, clock=SystemClock()) as (server,):
            run_id = await attach(server.stubs)
            assert await sent(server.stubs, run_id, "1") == 1
            assert await listed(server.stubs, run_id)
