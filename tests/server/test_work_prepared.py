"""Work: a run is assigned while its claim is on the way to the disk, without the entries that are on the way too."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import grpc
import pytest

from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.run_pb2 import Run, RunSpec
from midstream.v1.run_service_pb2 import GetRunRequest, StartRunRequest
from midstream_server.server import Server
from midstream_server.settings import Settings
from midstream_server.store.sqlite.database import open_writer
from support.calls import send
from support.stubs import Stubs
from support.work_call import WorkCall, result


class SlowDisk:
    """The writing connection, whose commits a test holds up or lets fail."""

    def __init__(self, real: apsw.Connection) -> None:
        self._real = real
        self.free = threading.Event()
        self.free.set()
        self.fault: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *bindings: Any) -> apsw.Cursor:
        if sql == "COMMIT":
            self.free.wait()
            fault, self.fault = self.fault, None
            if fault is not None:
                raise fault
        return self._real.execute(sql, *bindings)


@pytest.fixture
async def disk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[SlowDisk]]:
    """What the server below writes to."""
    disks: list[SlowDisk] = []

    def open_slow(path: Path) -> SlowDisk:
        disks.append(SlowDisk(open_writer(path)))
        return disks[-1]

    monkeypatch.setattr("midstream_server.store.sqlite.store.open_writer", open_slow)
    yield disks
    for each in disks:
        each.free.set()


@pytest.fixture
async def server(settings: Settings, disk: list[SlowDisk]) -> AsyncIterator[Server]:
    async with Server(settings) as server:
        yield server


@pytest.fixture
async def call(channel: grpc.aio.Channel) -> AsyncIterator[WorkCall]:
    async with WorkCall(channel, credit=10) as call:
        yield call


@pytest.fixture
async def suspended(stubs: Stubs, call: WorkCall) -> None:
    """A run with two entries that waits for records of `s`."""
    await stubs.runs.StartRun(StartRunRequest(run_id="run", spec=RunSpec(task="task")))
    await call.suspend(await call.lent(), listening=["s"])
    await call.hears("suspended")


async def run_of(stubs: Stubs) -> Run:
    return (await stubs.runs.GetRun(GetRunRequest(run_id="run"))).run


@pytest.mark.usefixtures("suspended")
async def test_the_known_entries_come_before_the_commit_and_the_new_one_after_it(
    stubs: Stubs, call: WorkCall, disk: list[SlowDisk]
) -> None:
    disk[0].free.clear()
    sending = asyncio.create_task(send(stubs, "run", "1", stream_id="s"))
    assigned = await call.hears("assigned")
    assert ([entry.offset for entry in assigned.entries], assigned.last_offset, assigned.epoch) == ([1, 2], 3, 2)
    assert (await run_of(stubs)).state == Run.STATE_SUSPENDED
    await call.silent()
    assert not sending.done()
    disk[0].free.set()
    (entry,) = await call.entries("run")
    assert (entry.offset, entry.record.payload.json) == (3, "1")
    await sending
    await call.say(finish=pb.WorkRequest.Finish(run_id="run", epoch=2, outcome=result()))
    await call.hears("finished")


@pytest.mark.usefixtures("suspended")
async def test_a_run_whose_claim_fails_is_taken_back(
    stubs: Stubs, call: WorkCall, channel: grpc.aio.Channel, disk: list[SlowDisk]
) -> None:
    disk[0].fault = apsw.FullError("database or disk is full")
    disk[0].free.clear()
    sending = asyncio.create_task(send(stubs, "run", "1", stream_id="s"))
    assert (await call.hears("assigned")).epoch == 2
    disk[0].free.set()
    with pytest.raises(grpc.aio.AioRpcError):
        await sending
    assert await call.ends() == "STORE_UNAVAILABLE"
    assert (await run_of(stubs)).state == Run.STATE_SUSPENDED
    async with WorkCall(channel, credit=10, held=[("run", 2, 2)]) as again:
        assert (await again.hears("fenced")).epoch == 2
        await send(stubs, "run", "2", stream_id="s")
        lent = await again.lent()
        assert (lent.epoch, lent.facts, lent.entries[-1].record.payload.json) == (
            2,
            ["created", "started", "record"],
            "2",
        )


@pytest.mark.usefixtures("suspended")
async def test_a_run_that_is_given_back_before_the_commit_is_assigned_again(
    stubs: Stubs, call: WorkCall, disk: list[SlowDisk]
) -> None:
    """Its process may die in the replay."""
    disk[0].free.clear()
    sending = asyncio.create_task(send(stubs, "run", "1", stream_id="s"))
    assert (await call.hears("assigned")).epoch == 2
    await call.say(release=pb.WorkRequest.Release(run_id="run", epoch=2, died=True))
    await call.silent()
    disk[0].free.set()
    lent = await call.lent()
    assert (lent.epoch, lent.facts) == (3, ["created", "started", "record"])
    await sending
