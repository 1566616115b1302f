"""Work: how a call begins, goes on and ends; and what a worker may not say."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest

from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.handler_failure_pb2 import HandlerFailure
from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.run_pb2 import Run, RunSpec
from midstream.v1.run_service_pb2 import CancelRunRequest, GetRunRequest, StartRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest
from midstream_server.server import Server
from support.stubs import Stubs
from support.work_call import Ended, Lent, WorkCall, at, result, step, timer

Frame = dict[str, Any]

TASK = pb.WorkRequest.TaskVersion(task="task")
NAMELESS = pb.WorkRequest.TaskVersion(task="no name")
LONG = pb.WorkRequest.TaskVersion(task="task", code_version="v" * 257)
LATE = Checkpoint(applied_offset=9)


async def start(stubs: Stubs, run_id: str = "run", *, task: str = "task") -> None:
    await stubs.runs.StartRun(StartRunRequest(run_id=run_id, spec=RunSpec(task=task)))


async def send(stubs: Stubs, run_id: str = "run", *, stream_id: str = "s", count: int = 1) -> None:
    records = [NewRecord(payload=Payload(json=str(number))) for number in range(count)]
    response = await stubs.streams.SendOne(SendOneRequest(run_id=run_id, stream_id=stream_id, records=records))
    assert all(receipt.HasField("accepted") for receipt in response.receipts)


async def get(stubs: Stubs, run_id: str = "run") -> Run:
    return (await stubs.runs.GetRun(GetRunRequest(run_id=run_id))).run


@pytest.fixture
async def lent(stubs: Stubs, call: WorkCall) -> Lent:
    """A run that `call` has got."""
    await start(stubs)
    return await call.lent()


@pytest.fixture
async def call(channel: grpc.aio.Channel) -> AsyncIterator[WorkCall]:
    async with WorkCall(channel, credit=10) as call:
        yield call


# The beginning and the end of a call.


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ({}, "FRAME_OUT_OF_ORDER"),
        ({"heartbeat": pb.WorkRequest.Heartbeat()}, "FRAME_OUT_OF_ORDER"),
        ({"credit": pb.WorkRequest.Credit(runs=1)}, "FRAME_OUT_OF_ORDER"),
        ({"open": pb.WorkRequest.Open()}, "FIELD_INVALID"),
        ({"open": pb.WorkRequest.Open(worker_id="w")}, "FIELD_INVALID"),
        ({"open": pb.WorkRequest.Open(worker_id="w", tasks=[NAMELESS])}, "FIELD_INVALID"),
        ({"open": pb.WorkRequest.Open(worker_id="-w", tasks=[TASK])}, "FIELD_INVALID"),
        ({"open": pb.WorkRequest.Open(worker_id="w", tasks=[TASK], credit=-1)}, "FIELD_INVALID"),
        ({"open": pb.WorkRequest.Open(worker_id="w", tasks=[TASK], credit=100_001)}, "FIELD_INVALID"),
        (
            {"open": pb.WorkRequest.Open(worker_id="w", tasks=[LONG])},
            "FIELD_INVALID",
        ),
    ],
)
async def test_a_wrong_first_frame_ends_the_call(channel: grpc.aio.Channel, frame: Frame, reason: str) -> None:
    call = WorkCall(channel)
    await call.say(**frame)
    assert await call.ends() == reason


async def test_a_worker_is_told_how_long_its_lease_lasts(channel: grpc.aio.Channel, server: Server) -> None:
    call = WorkCall(channel)
    await call.say(open=pb.WorkRequest.Open(worker_id="w", tasks=[TASK]))
    opened = await call.hears("opened")
    assert opened.lease.ToMicroseconds() == server.settings.lease
    await call.done()
    assert await call.ends() == "OK"


async def test_a_call_without_a_frame_ends(channel: grpc.aio.Channel) -> None:
    call = WorkCall(channel)
    await call.done()
    assert await call.ends() == "OK"


GARBAGE: dict[str, tuple[Frame, str]] = {
    "nothing": ({}, "FRAME_OUT_OF_ORDER"),
    "open again": (
        {"open": pb.WorkRequest.Open(worker_id="worker", tasks=[TASK])},
        "FRAME_OUT_OF_ORDER",
    ),
    "negative credit": ({"credit": pb.WorkRequest.Credit(runs=-1)}, "FIELD_INVALID"),
    "absurd credit": ({"credit": pb.WorkRequest.Credit(runs=2**31 - 1)}, "FIELD_INVALID"),
    "an entry without a fact": ({"append": pb.WorkRequest.Append(run_id="run", epoch=1)}, "FIELD_INVALID"),
    "an entry that is the server's": (
        {"append": pb.WorkRequest.Append(run_id="run", epoch=1, entry=Entry(started=Entry.Started()))},
        "FIELD_INVALID",
    ),
    "a step without a result": (
        {"append": pb.WorkRequest.Append(run_id="run", epoch=1, entry=Entry(step_ended=Entry.StepEnded(operation=1)))},
        "FIELD_INVALID",
    ),
    "a timer beyond time": (
        {"append": pb.WorkRequest.Append(run_id="run", epoch=1, entry=timer(1, 2**62))},
        "FIELD_INVALID",
    ),
    "a timer before time": (
        {
            "suspend": pb.WorkRequest.Suspend(
                run_id="run", epoch=1, timers=[pb.WorkRequest.Timer(operation=1, due_time=at(-1))]
            )
        },
        "FIELD_INVALID",
    ),
    "a stream that is no name": (
        {"suspend": pb.WorkRequest.Suspend(run_id="run", epoch=1, listening=["no name"])},
        "FIELD_INVALID",
    ),
    "no outcome": ({"finish": pb.WorkRequest.Finish(run_id="run", epoch=1)}, "FIELD_INVALID"),
    "a huge checkpoint": (
        {
            "suspend": pb.WorkRequest.Suspend(
                run_id="run", epoch=1, checkpoint=Checkpoint(operations_hash=bytes(600 * 1024))
            )
        },
        "FIELD_INVALID",
    ),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_ends_the_call_and_harms_nothing(stubs: Stubs, call: WorkCall, lent: Lent, name: str) -> None:
    frame, reason = GARBAGE[name]
    await call.say(**frame)
    assert await call.ends() == reason
    run = await get(stubs)
    assert (run.state, run.last_offset) == (Run.STATE_RUNNING, 2)


FRAMES: dict[str, Callable[[str, int], Frame]] = {
    "append": lambda run_id, epoch: {
        "append": pb.WorkRequest.Append(run_id=run_id, epoch=epoch, entry=step(1), checkpoint=LATE)
    },
    "progress": lambda run_id, epoch: {
        "progress": pb.WorkRequest.Progress(run_id=run_id, epoch=epoch, checkpoint=LATE)
    },
    "suspend": lambda run_id, epoch: {"suspend": pb.WorkRequest.Suspend(run_id=run_id, epoch=epoch, checkpoint=LATE)},
    "finish": lambda run_id, epoch: {
        "finish": pb.WorkRequest.Finish(run_id=run_id, epoch=epoch, outcome=result(), checkpoint=LATE)
    },
    "block": lambda run_id, epoch: {"block": pb.WorkRequest.Block(run_id=run_id, epoch=epoch)},
    "release": lambda run_id, epoch: {"release": pb.WorkRequest.Release(run_id=run_id, epoch=epoch)},
    "restart": lambda run_id, epoch: {
        "restart": pb.WorkRequest.Restart(run_id=run_id, epoch=epoch, payload=Payload(json="1"), checkpoint=LATE)
    },
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize(
    ("run_id", "epoch"),
    [("run", 0), ("run", 2), ("run", -1), ("run", 2**63 - 1), ("unknown", 1), ("", 1), ("no name", 1)],
)
async def test_a_frame_about_a_run_that_it_does_not_have_is_fenced(
    stubs: Stubs, call: WorkCall, lent: Lent, kind: str, run_id: str, epoch: int
) -> None:
    await call.say(**FRAMES[kind](run_id, epoch))
    fenced = await call.hears("fenced")
    assert (fenced.run_id, fenced.epoch) == (run_id, epoch)
    run = await get(stubs)
    assert (run.state, run.last_offset) == (Run.STATE_RUNNING, 2)
    await call.append("run", 1, step(1))
    assert [entry.offset for entry in await call.entries("run")] == [3], "and goes on with those that it has"


@pytest.mark.parametrize("kind", FRAMES)
async def test_a_frame_after_the_run_was_ended_by_others_is_fenced(
    server: Server, stubs: Stubs, call: WorkCall, lent: Lent, kind: str
) -> None:
    await stubs.runs.CancelRun(CancelRunRequest(run_id="run"))
    await call.entries("run")
    for _ in range(3):
        await call.say(heartbeat=pb.WorkRequest.Heartbeat())
        await call.silent()
        await server.advance(server.settings.cancel_grace // 3)
    assert (await call.hears("fenced")).epoch == 1
    await call.say(**FRAMES[kind]("run", 1))
    assert (await call.hears("fenced")).run_id == "run"
    assert (await get(stubs)).state == Run.STATE_CANCELLED


# Values that cannot be stored become failures.


async def test_a_step_s_result_that_cannot_be_stored_is_a_failure(call: WorkCall, lent: Lent) -> None:
    await call.append("run", 1, step(1, f'"{"x" * 1024 * 1024}"'))
    (entry,) = await call.entries("run")
    assert entry.step_ended.failure.error_type == "PAYLOAD_TOO_LARGE"
    await call.append("run", 1, step(2, "not json"))
    (entry,) = await call.entries("run")
    assert entry.step_ended.failure.error_type == "PAYLOAD_INVALID"


async def test_a_result_that_cannot_be_stored_fails_the_run(stubs: Stubs, call: WorkCall, lent: Lent) -> None:
    await call.finish(lent, result(f'"{"x" * 1024 * 1024}"'))
    await call.hears("finished")
    run = await get(stubs)
    assert (run.state, run.failure.error_type) == (Run.STATE_FAILED, "PAYLOAD_TOO_LARGE")


async def test_an_argument_of_a_restart_that_cannot_be_stored_fails_the_run(
    stubs: Stubs, call: WorkCall, lent: Lent
) -> None:
    payload = Payload(raw=bytes(1024 * 1024 + 1))
    checkpoint = Checkpoint(applied_offset=2)
    await call.say(restart=pb.WorkRequest.Restart(run_id="run", epoch=1, checkpoint=checkpoint, payload=payload))
    await call.hears("finished")
    assert (await get(stubs)).failure.error_type == "PAYLOAD_TOO_LARGE"


async def test_long_failures_and_names_are_cut(stubs: Stubs, call: WorkCall, lent: Lent) -> None:
    ended = Entry.StepEnded(operation=1, attempt=1, name="n" * 9_999)
    ended.failure.error_type, ended.failure.message, ended.failure.stack = "E" * 999, "m" * 9_999, "s" * 99_999
    await call.append("run", 1, Entry(step_ended=ended))
    (entry,) = await call.entries("run")
    cut = entry.step_ended
    assert [len(text) for text in (cut.name, cut.failure.error_type, cut.failure.message, cut.failure.stack)] == [
        *(256, 256, 4_096),
        65_536,
    ]
    await call.say(block=pb.WorkRequest.Block(run_id="run", epoch=1, failure=ended.failure))
    await call.hears("fenced")
    assert len((await get(stubs)).failure.message) == 4_096


async def test_any_number_of_handler_failures_is_taken(stubs: Stubs, call: WorkCall, lent: Lent) -> None:
    """A replay may have thousands; refused, the worker would say them again and again."""
    await send(stubs, count=1_000)
    await send(stubs, count=500)
    failures = [HandlerFailure(stream_id="s", seq=seq, handler="h", message="m") for seq in range(1, 1_501)]
    checkpoint = Checkpoint(applied_offset=1_502, handler_failures=failures)
    checkpoint.consumed.add(stream_id="s", cursor=1_500)
    await call.finish(lent, result(), checkpoint=checkpoint)
    while (await call.next()).WhichOneof("frame") != "finished":
        pass
    run = await get(stubs)
    assert (run.handler_failure_count, run.streams[0].cursor) == (1_500, 1_500)


# Leases.


async def test_a_worker_that_is_silent_loses_its_runs(
    server: Server, stubs: Stubs, channel: grpc.aio.Channel, call: WorkCall, lent: Lent
) -> None:
    await server.advance(server.settings.lease - 1)
    assert (await get(stubs)).state == Run.STATE_RUNNING
    await server.advance(1)
    assert (await get(stubs)).state == Run.STATE_QUEUED
    assert await call.ends() == "FENCED"
    async with WorkCall(channel, "another", credit=1) as another:
        assert (await another.lent()).epoch == 2
        async with WorkCall(channel, held=[("run", 1, 2)]) as back:
            fenced = await back.hears("fenced")
            assert (fenced.run_id, fenced.epoch) == ("run", 1)


async def test_heartbeats_keep_the_lease(server: Server, stubs: Stubs, call: WorkCall, lent: Lent) -> None:
    for _ in range(5):
        await call.say(heartbeat=pb.WorkRequest.Heartbeat())
        await call.silent()
        await server.advance(server.settings.lease - 1)
    assert (await get(stubs)).state == Run.STATE_RUNNING


async def test_a_new_connection_replaces_the_old_one(
    stubs: Stubs, channel: grpc.aio.Channel, call: WorkCall, lent: Lent
) -> None:
    async with WorkCall(channel, held=[("run", 1, 2)], credit=1) as again:
        assert await call.ends() == "FENCED"
        await again.append("run", 1, step(1))
        assert [entry.offset for entry in await again.entries("run")] == [3]
        await start(stubs, "next")
        assert (await again.lent()).run_id == "next"


async def test_what_a_worker_does_not_hold_any_more_goes_to_whoever_has_credit(
    stubs: Stubs, channel: grpc.aio.Channel, call: WorkCall, lent: Lent
) -> None:
    """The old connection has credit left; nobody listens there."""
    async with WorkCall(channel, credit=1) as again:
        back = await again.lent()
        assert (back.run_id, back.epoch) == ("run", 2)


@pytest.mark.parametrize("received", [0, 1, 2, 4, 7, 99])
async def test_a_worker_goes_on_from_what_it_has_received(
    stubs: Stubs, channel: grpc.aio.Channel, call: WorkCall, lent: Lent, received: int
) -> None:
    await send(stubs, count=5)
    async with WorkCall(channel, held=[("run", 1, received)]) as again:
        await send(stubs)
        offsets: list[int] = []
        while not offsets or offsets[-1] < 8:
            offsets += [entry.offset for entry in await again.entries("run")]
        assert offsets == list(range(min(received, 7) + 1, 9))


async def test_a_worker_that_drains_is_told(server: Server, call: WorkCall, lent: Lent) -> None:
    await server.stop()
    assert (await call.next()).WhichOneof("frame") == "drain"
    with pytest.raises(Ended, match="SERVER_DRAINING"):
        await call.next()
