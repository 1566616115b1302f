"""Work: the life of runs through raw frames, under load, across restarts, and in races."""

import asyncio
import random
from collections.abc import AsyncIterator

import grpc
import pytest

from midstream.clock import ManualClock
from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.entry_pb2 import Checkpoint, Consumed, Entry, SeqRange
from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.run_pb2 import Run, RunSpec
from midstream.v1.run_service_pb2 import (
    CancelRunRequest,
    FirstRecord,
    GetRunRequest,
    ListEntriesRequest,
    StartRunRequest,
)
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2 import SendOneRequest
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from midstream_server.server import Server
from midstream_server.settings import Settings
from support.stubs import Stubs
from support.work_call import Lent, WorkCall, result, step, timer

SECOND_US = 1_000_000


async def start(stubs: Stubs, run_id: str = "run") -> None:
    await stubs.runs.StartRun(StartRunRequest(run_id=run_id, spec=RunSpec(task="task")))


async def send(stubs: Stubs, stream_id: str = "s", *, run_id: str = "run", count: int = 1) -> None:
    records = [NewRecord(payload=Payload(json=str(number))) for number in range(count)]
    response = await stubs.streams.SendOne(SendOneRequest(run_id=run_id, stream_id=stream_id, records=records))
    assert all(receipt.HasField("accepted") for receipt in response.receipts)


async def state(stubs: Stubs, run_id: str = "run") -> str:
    run = (await stubs.runs.GetRun(GetRunRequest(run_id=run_id))).run
    return Run.State.Name(run.state).removeprefix("STATE_")


async def whole_log(stubs: Stubs, run_id: str = "run", *, page_size: int = 1_000) -> list[Entry]:
    entries: list[Entry] = []
    request = ListEntriesRequest(run_id=run_id, page_size=page_size)
    while True:
        page = await stubs.runs.ListEntries(request)
        entries += page.entries
        if not page.next_page_token:
            return entries
        request.page_token = page.next_page_token


@pytest.fixture
async def call(channel: grpc.aio.Channel) -> AsyncIterator[WorkCall]:
    async with WorkCall(channel, credit=1_000) as call:
        yield call


async def test_the_whole_life_of_a_run(server: Server, stubs: Stubs, call: WorkCall, clock: ManualClock) -> None:
    request = StartRunRequest(run_id="run", spec=RunSpec(task="task", payload=Payload(json='"argument"')))
    request.records.append(FirstRecord(stream_id="s", record=NewRecord(payload=Payload(json="1"))))
    await stubs.runs.StartRun(request)
    lent = await call.lent()
    assert (lent.run_id, lent.epoch, lent.generation, lent.suspended) == ("run", 1, 0, None)
    assert lent.facts == ["created", "record", "started"]
    assert lent.entries[0].created.spec.payload.json == '"argument"'
    assert lent.entries[1].record.payload.json == "1"

    await call.append("run", 1, step(1, "2"), applied=3)
    (ended,) = await call.entries("run")
    assert (ended.step_ended.value.json, ended.checkpoint.applied_offset) == ("2", 3)
    due_us = clock.now_us() + SECOND_US
    await call.append("run", 1, timer(2, due_us))
    early = await call.hears("early")
    assert (early.operation, early.server_time.ToMicroseconds()) == (2, clock.now_us())
    await server.advance(SECOND_US)
    await call.append("run", 1, timer(2, due_us))
    (fired,) = await call.entries("run")
    assert fired.timer_fired.due_time.ToMicroseconds() == due_us

    await call.suspend(lent, listening=["s"], applied=4)
    refused = await call.hears("suspend_refused")
    assert refused.server_time.ToMicroseconds() == clock.now_us()
    await call.suspend(lent, listening=["s"], applied=5)
    assert (await call.hears("suspended")).epoch == 1
    assert await state(stubs) == "SUSPENDED"
    await send(stubs)
    again = await call.lent()
    assert (again.epoch, again.facts[3:]) == (2, ["step_ended", "timer_fired", "record"])
    assert again.suspended is not None
    assert again.suspended.applied_offset == 5

    checkpoint = Checkpoint(applied_offset=6)
    await call.say(
        restart=pb.WorkRequest.Restart(run_id="run", epoch=2, checkpoint=checkpoint, payload=Payload(json="3"))
    )
    anew = await call.lent()
    assert (anew.epoch, anew.generation, anew.facts) == (2, 1, ["record", "record", "restarted"])
    await call.append("run", 2, step(1), applied=6)
    await call.silent()
    await call.append("run", 2, step(1), applied=7)
    assert [entry.offset for entry in await call.entries("run")] == [8]
    await call.finish(anew, result('"done"'))
    await call.hears("finished")
    assert await state(stubs) == "COMPLETED"
    offsets = [entry.offset for entry in await whole_log(stubs)]
    assert offsets == list(range(1, 10))


async def test_what_was_consumed_out_of_turn_and_the_language_are_told_to_the_next_generation(
    stubs: Stubs, channel: grpc.aio.Channel
) -> None:
    await start(stubs)
    for _ in range(3):
        await send(stubs)
    async with WorkCall(channel, "first", credit=1) as first:
        lent = await first.lent()
        beyond = [SeqRange(first_seq=3, last_seq=3)]
        checkpoint = Checkpoint(applied_offset=5, consumed=[Consumed(stream_id="s", cursor=1, beyond=beyond)])
        await first.say(
            restart=pb.WorkRequest.Restart(
                run_id="run", epoch=lent.epoch, checkpoint=checkpoint, payload=Payload(json="1")
            )
        )
        own = await first.lent()
        begun = own.entries[-1]
        assert own.facts == ["record", "record", "restarted"]
        assert begun.restarted.runtime == "python3.11"
        assert begun.checkpoint == checkpoint


async def test_a_cancel_reaches_a_warm_run_and_a_suspended_one(stubs: Stubs, call: WorkCall) -> None:
    for run_id in ("warm", "suspended"):
        await start(stubs, run_id)
        lent = await call.lent()
        if run_id == "suspended":
            await call.suspend(lent, listening=["s"])
            await call.hears("suspended")
        await stubs.runs.CancelRun(CancelRunRequest(run_id=run_id))
        entries = (await call.lent()).entries if run_id == "suspended" else await call.entries(run_id)
        assert entries[-1].WhichOneof("fact") == "cancel_requested"


async def test_two_workers_get_each_run_once(stubs: Stubs, channel: grpc.aio.Channel) -> None:
    async with WorkCall(channel, "first", credit=30) as first, WorkCall(channel, "second", credit=30) as second:
        await asyncio.gather(*(start(stubs, f"run-{number}") for number in range(60)))
        lents = [[await call.lent() for _ in range(30)] for call in (first, second)]
        ids = [lent.run_id for each in lents for lent in each]
        assert len(set(ids)) == 60
        await asyncio.gather(first.silent(), second.silent())


async def test_records_that_race_a_wake_up_all_arrive_once(stubs: Stubs, call: WorkCall) -> None:
    """Some come with the assignment, the others behind it, whichever transaction they are in."""
    await start(stubs)
    for _ in range(20):
        lent = await call.lent()
        await call.suspend(lent, listening=["s"])
        await call.hears("suspended")
        await asyncio.gather(*(send(stubs) for _ in range(20)))
        woken = await call.lent()
        offsets = [entry.offset for entry in woken.entries]
        while len(offsets) < lent.last_offset + 20:
            offsets += [entry.offset for entry in await call.entries("run")]
        assert offsets == list(range(1, lent.last_offset + 21))
        await call.say(release=pb.WorkRequest.Release(run_id="run", epoch=woken.epoch))
        await call.say(credit=pb.WorkRequest.Credit(runs=1))


async def test_credit_is_what_a_worker_takes(stubs: Stubs, channel: grpc.aio.Channel) -> None:
    async with WorkCall(channel, credit=2) as call:
        for number in range(5):
            await start(stubs, f"run-{number}")
        assert {(await call.lent()).run_id for _ in range(2)} == {"run-0", "run-1"}
        await call.silent()
        await call.say(credit=pb.WorkRequest.Credit(runs=0))
        await call.silent()
        await call.say(credit=pb.WorkRequest.Credit(runs=2))
        assert [(await call.lent()).run_id for _ in range(2)] == ["run-2", "run-3"]
        await call.silent()


async def test_a_thousand_runs_at_once(stubs: Stubs, channel: grpc.aio.Channel) -> None:
    await asyncio.gather(*(start(stubs, f"run-{number}") for number in range(1_000)))
    async with WorkCall(channel, credit=1_000) as call:
        assigned: set[str] = set()
        finished = 0
        while finished < 1_000:
            frame = await call.next()
            match frame.WhichOneof("frame"):
                case "assigned":
                    run_id, entries = frame.assigned.run_id, list(frame.assigned.entries)
                    assert [entry.offset for entry in entries] == [1, 2]
                    assert frame.assigned.last_offset == 2
                    assigned.add(run_id)
                    await call.finish(Lent(run_id, frame.assigned.epoch, 0, entries, None), result())
                case "finished":
                    finished += 1
        assert len(assigned) == 1_000


async def test_a_long_log_comes_in_pages_without_gaps(stubs: Stubs, call: WorkCall) -> None:
    """10,001 records and 10,000 entries of a worker."""
    await start(stubs)
    lent = await call.lent()
    for batch in range(10):
        await send(stubs, f"s{batch}", count=1_000)
    await send(stubs)
    for number in range(10_000):
        await call.append("run", 1, step(number))
    offset = lent.last_offset
    while offset < 20_003:
        frame: pb.WorkResponse.Entries = await call.hears("entries")
        assert len(frame.entries) <= 1_000
        assert [entry.offset for entry in frame.entries] == list(range(offset + 1, offset + 1 + len(frame.entries)))
        offset = frame.entries[-1].offset
    await call.say(release=pb.WorkRequest.Release(run_id="run", epoch=1))
    again = await call.lent()
    assert [entry.offset for entry in again.entries] == list(range(1, 20_004))
    assert [entry.offset for entry in await whole_log(stubs)] == list(range(1, 20_004))


async def test_a_slow_worker_does_not_fill_the_server(stubs: Stubs, call: WorkCall) -> None:
    """What it says is heard only as it listens, and then nothing is missing."""
    await start(stubs)
    lent = await call.lent()

    async def ask() -> None:
        for number in range(5_000):
            await call.append(f"nobody-{number}", 1, step(1))

    asking = asyncio.create_task(ask())
    for number in range(5_000):
        assert (await call.hears("fenced")).run_id == f"nobody-{number}"
    await asking
    await call.finish(lent, result())
    await call.hears("finished")


async def test_leases_outlive_a_restart_of_the_server(settings: Settings, clock: ManualClock) -> None:
    async with (
        Server(settings, clock=clock) as server,
        _channel(server) as channel,
        WorkCall(channel, credit=1) as call,
    ):
        await start(_stubs(channel))
        lent = await call.lent()
    clock.advance(10 * settings.lease)
    async with Server(settings, clock=clock) as server, _channel(server) as channel:
        stubs = _stubs(channel)
        assert await state(stubs) == "RUNNING", "nobody could renew a lease while the server was away"
        await send(stubs)
        async with WorkCall(channel, held=[("run", 1, lent.last_offset)]) as call:
            assert [entry.offset for entry in await call.entries("run")] == [3]
            await call.append("run", 1, step(1))
            assert [entry.offset for entry in await call.entries("run")] == [4]
        await server.advance(settings.lease)
        assert await state(stubs) == "QUEUED"


def _channel(server: Server) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.url.removeprefix("grpc://"))


def _stubs(channel: grpc.aio.Channel) -> Stubs:
    return Stubs(streams=StreamServiceStub(channel), runs=RunServiceStub(channel))


@pytest.mark.parametrize("seed", range(3))
async def test_send_against_suspend(stubs: Stubs, call: WorkCall, seed: int) -> None:
    """In whatever order they come, no run stays suspended with a record that it listens to."""
    randomness = random.Random(seed)
    await start(stubs)
    lent = await call.lent()
    applied, sent, suspensions = lent.last_offset, 0, 0
    epoch = lent.epoch
    for _ in range(60):
        streams = [randomness.choice(["s", "other"]) for _ in range(randomness.randint(0, 2))]
        asked = Lent("run", epoch, 0, [Entry(offset=applied)], None)
        things = [*(send(stubs, stream_id) for stream_id in streams), call.suspend(asked, listening=["s"])]
        randomness.shuffle(things)
        begun = []
        for thing in things:
            begun.append(asyncio.create_task(thing))
            if randomness.random() < 0.5:
                await begun[-1]
        await asyncio.gather(*begun)
        sent += len(streams)
        answer = await _answer(call)
        if answer == "suspended":
            suspensions += 1
            if await state(stubs) == "SUSPENDED":
                unapplied = (await whole_log(stubs))[applied:]
                assert all(entry.record.stream_id == "other" for entry in unapplied), "it sleeps, and should not"
                await send(stubs)
                sent += 1
            again = await call.lent()
            epoch, applied = again.epoch, again.last_offset
        else:
            applied = len(await whole_log(stubs))
    assert len(await whole_log(stubs)) == 2 + sent
    assert 0 < suspensions < 60


async def _answer(call: WorkCall) -> str:
    """To a suspension; entries may come before."""
    while True:
        kind = (await call.next()).WhichOneof("frame") or ""
        if kind in ("suspended", "suspend_refused"):
            return kind
        assert kind == "entries"
