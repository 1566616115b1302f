"""What time does to runs: deadline, unheld, cancel grace, retention; and that a restart forgets none of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from midstream.clock import ManualClock
from midstream.v1 import run_pb2, run_service_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.calls import (
    DAY_US,
    HOUR_US,
    SECOND_US,
    Subscriber,
    ack,
    attach,
    connected,
    finish,
    get_run,
    listed,
    reason_of,
    receive,
    rest_of,
    send,
    state_of,
)
from support.stubs import Stubs

Pass = Callable[[int], Awaitable[Stubs]]


@pytest.fixture(params=["while it runs", "while it is away"])
async def time_passes(request: pytest.FixtureRequest, settings: Settings) -> AsyncIterator[Pass]:
    """Lets microseconds pass and returns stubs: on the same server, or on one that was away and starts later."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Server(settings, clock=clock))
        stubs = await stack.enter_async_context(connected(server.url))

        async def goes_on(duration_us: int) -> Stubs:
            await server.advance(duration_us)
            return stubs

        async def restarts(duration_us: int) -> Stubs:
            nonlocal server, clock
            await server.stop()
            clock = ManualClock(clock.now_us() + duration_us)
            server = await stack.enter_async_context(Server(settings, clock=clock))
            await server.advance(0)
            return await stack.enter_async_context(connected(server.url))

        yield goes_on if request.param == "while it runs" else restarts


async def cancel(stubs: Stubs, run_id: str) -> None:
    await stubs.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=run_id))


async def test_a_deadline_expires_the_run(time_passes: Pass) -> None:
    stubs = await time_passes(0)
    run_id = await attach(stubs, max_seconds=60)
    stubs = await time_passes(60 * SECOND_US - 1)
    assert await state_of(stubs, run_id) == "RUNNING"
    stubs = await time_passes(1)
    run = await get_run(stubs, run_id)
    assert run.state == run_pb2.Run.STATE_EXPIRED
    assert run.finish_time == run.deadline
    assert await reason_of(send(stubs, run_id, "1")) == "RUN_FINISHED"


async def test_a_run_that_ended_in_time_does_not_expire(time_passes: Pass) -> None:
    stubs = await time_passes(0)
    run_id = await attach(stubs, max_seconds=60)
    ended = await finish(stubs, run_id)
    stubs = await time_passes(2 * DAY_US)
    assert await get_run(stubs, run_id) == ended


async def test_a_cancelled_run_that_goes_on_is_cancelled_after_its_grace(time_passes: Pass) -> None:
    stubs = await time_passes(0)
    run_id = await attach(stubs)
    await cancel(stubs, run_id)
    stubs = await time_passes(30 * SECOND_US - 1)
    assert await state_of(stubs, run_id) == "RUNNING"
    await cancel(stubs, run_id)  # Asking again gives it no more time.
    stubs = await time_passes(1)
    assert await state_of(stubs, run_id) == "CANCELLED"
    outcome = run_pb2.Outcome(cancelled=run_pb2.Outcome.Cancelled())
    await stubs.runs.FinishRun(run_service_pb2.FinishRunRequest(run_id=run_id, outcome=outcome))
    assert await reason_of(finish(stubs, run_id)) == "RUN_FINISHED"


async def test_an_ended_run_is_deleted_after_its_retention_and_its_id_is_free(time_passes: Pass) -> None:
    stubs = await time_passes(0)
    await attach(stubs, "mine")
    await send(stubs, "mine", *(str(number) for number in range(700)))
    ended = await finish(stubs, "mine")
    assert ended.delete_time.ToMicroseconds() - ended.finish_time.ToMicroseconds() == 7 * DAY_US
    stubs = await time_passes(7 * DAY_US - 1)
    assert len(await listed(stubs, "mine")) == 700
    stubs = await time_passes(1)
    for call in (get_run(stubs, "mine"), send(stubs, "mine", "1"), receive(stubs, "mine"), listed(stubs, "mine")):
        assert await reason_of(call) == "RUN_NOT_FOUND"
    assert not (await stubs.runs.ListRuns(run_service_pb2.ListRunsRequest())).runs
    await attach(stubs, "mine", task="other")
    (receipt,) = await send(stubs, "mine", "0")
    assert (receipt.accepted.seq, receipt.accepted.deduplicated) == (1, False)


async def test_a_running_run_is_kept_for_as_long_as_it_runs(server: Server, stubs: Stubs) -> None:
    run_id = (await stubs.runs.StartRun(run_service_pb2.StartRunRequest(spec=run_pb2.RunSpec(task="t")))).run.run_id
    await server.advance(365 * DAY_US)
    assert await state_of(stubs, run_id) == "QUEUED"


async def test_an_attached_run_that_nobody_holds_expires(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await server.advance(DAY_US - 1)
    assert await state_of(stubs, run_id) == "RUNNING"
    await server.advance(1)
    assert await state_of(stubs, run_id) == "EXPIRED"


async def test_it_does_not_expire_while_it_is_held_and_then_a_day_later(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    reader = await Subscriber(stubs, run_id).open()
    for _ in range(3):
        await server.advance(23 * HOUR_US)
    await reader.half_closes()
    await reader.ends()
    await server.advance(DAY_US - 1)
    assert await state_of(stubs, run_id) == "RUNNING"
    await server.advance(1)
    assert await state_of(stubs, run_id) == "EXPIRED"


@pytest.mark.parametrize("kind", ["receive", "attach"])
async def test_asking_for_something_gives_it_another_day(server: Server, stubs: Stubs, kind: str) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1")
    for _ in range(3):
        await server.advance(23 * HOUR_US)
        await (receive(stubs, run_id) if kind == "receive" else attach(stubs, run_id))
    assert await state_of(stubs, run_id) == "RUNNING"
    await server.advance(DAY_US)
    assert await state_of(stubs, run_id) == "EXPIRED"


async def test_a_server_that_was_away_gives_every_run_another_day(settings: Settings) -> None:
    clock = ManualClock()
    async with Server(settings, clock=clock) as server, connected(server.url) as stubs:
        run_id = await attach(stubs)
    clock.advance(10 * DAY_US)
    async with Server(settings, clock=clock) as server, connected(server.url) as stubs:
        await server.advance(DAY_US - 1)
        assert await state_of(stubs, run_id) == "RUNNING"
        await server.advance(1)
        assert await state_of(stubs, run_id) == "EXPIRED"


async def test_a_restart_keeps_positions_keys_and_holders(settings: Settings) -> None:
    clock = ManualClock()
    async with Server(settings, clock=clock) as server, connected(server.url) as stubs:
        run_id = await attach(stubs)
        await send(stubs, run_id, "1", "2", "3")
        epoch = (await receive(stubs, run_id)).holder_epoch
        await ack(stubs, run_id, epoch, 1)
        before = await listed(stubs, run_id)
    async with Server(settings, clock=clock) as server, connected(server.url) as stubs:
        assert await listed(stubs, run_id) == before
        (again,) = await send(stubs, run_id, "2")
        assert (again.accepted.seq, again.accepted.deduplicated) == (2, True)
        (new,) = await send(stubs, run_id, "4")
        assert new.accepted.seq == 4
        reader = await Subscriber(stubs, run_id).open(epoch=epoch)
        assert (reader.epoch, reader.cursor) == (epoch, 1)
        assert await reader.takes(3) == [2, 3, 4]


async def test_a_clock_that_goes_backwards_does_not_turn_a_log_round(settings: Settings) -> None:
    async with Server(settings, clock=ManualClock()) as server, connected(server.url) as stubs:
        run_id = await attach(stubs)
        await send(stubs, run_id, "1")
    earlier = ManualClock(ManualClock().now_us() - DAY_US)
    async with Server(settings, clock=earlier) as server, connected(server.url) as stubs:
        await send(stubs, run_id, "2")
        first, second = await listed(stubs, run_id)
        assert first.accept_time == second.accept_time
        ended = await finish(stubs, run_id)
        assert ended.finish_time == first.accept_time


async def test_an_end_by_time_reaches_those_who_follow(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs, max_seconds=60)
    reader = await Subscriber(stubs, run_id).open()
    tail = stubs.streams.Tail(pb.TailRequest(run_id=run_id))
    watch = stubs.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run_id))
    await watch.read()
    await server.advance(60 * SECOND_US)
    await reader.hears("run_ended")
    assert [response async for response in tail] == []
    assert [response.run.state for response in await rest_of(watch)] == [run_pb2.Run.STATE_EXPIRED]
