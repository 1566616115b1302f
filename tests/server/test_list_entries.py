"""ListEntries: a run's log in pages, with the assignments under which it was executed."""

import grpc
import pytest

from midstream.v1.assignment_pb2 import Assignment
from midstream.v1.entry_pb2 import Entry
from midstream.v1.record_pb2 import NewRecord, Payload
from midstream.v1.run_pb2 import RunSpec
from midstream.v1.run_service_pb2 import AttachRunRequest, ListEntriesRequest, StartRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest
from support.stubs import Stubs
from support.work_call import WorkCall, result, step


async def send(stubs: Stubs, count: int, *, size: int = 1) -> None:
    records = [NewRecord(payload=Payload(raw=bytes(size))) for _ in range(count)]
    await stubs.streams.SendOne(SendOneRequest(run_id="run", stream_id="s", records=records))


async def pages(stubs: Stubs, page_size: int) -> list[list[Entry]]:
    found: list[list[Entry]] = []
    request = ListEntriesRequest(run_id="run", page_size=page_size)
    while True:
        page = await stubs.runs.ListEntries(request)
        assert bool(page.assignments) == (not found), "on the first page"
        found.append(list(page.entries))
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_every_page(stubs: Stubs, channel: grpc.aio.Channel) -> None:
    await stubs.runs.StartRun(StartRunRequest(run_id="run", spec=RunSpec(task="task")))
    await send(stubs, 5)
    async with WorkCall(channel, credit=2) as call:
        lent = await call.lent()
        await call.append("run", 1, step(1))
        await call.entries("run")
        await call.suspend(lent, listening=["s"], applied=8)
        await call.hears("suspended")
        await send(stubs, 1)
        await call.finish(await call.lent(), result())
        await call.hears("finished")
    facts = ["created", *["record"] * 5, "started", "step_ended", "record", "ended"]
    for size in (1, 3, 10, 1_000):
        found = await pages(stubs, size)
        assert {len(page) for page in found[:-1]} <= {size}
        entries = [entry for page in found for entry in page]
        assert [entry.offset for entry in entries] == list(range(1, 11))
        assert [entry.WhichOneof("fact") for entry in entries] == facts
    first = await stubs.runs.ListEntries(ListEntriesRequest(run_id="run", page_size=1))
    assert [(each.epoch, each.worker_id, each.code_version, each.end) for each in first.assignments] == [
        (1, "worker", "1", Assignment.END_SUSPENDED),
        (2, "worker", "1", Assignment.END_FINISHED),
    ]
    assert all(each.HasField("end_time") for each in first.assignments)


async def test_a_run_that_still_has_a_worker(stubs: Stubs, channel: grpc.aio.Channel) -> None:
    async with WorkCall(channel, credit=1) as call:
        await stubs.runs.StartRun(StartRunRequest(run_id="run", spec=RunSpec(task="task")))
        await call.lent()
        page = await stubs.runs.ListEntries(ListEntriesRequest(run_id="run"))
        (assignment,) = page.assignments
        assert (assignment.HasField("end_time"), assignment.end) == (False, Assignment.END_UNSPECIFIED)


async def test_pages_are_bounded_by_bytes(stubs: Stubs) -> None:
    await stubs.runs.AttachRun(AttachRunRequest(run_id="run", spec=RunSpec(task="task")))
    for _ in range(4):
        await send(stubs, 1, size=600 * 1024)
    request = ListEntriesRequest(run_id="run", page_size=1_000)
    sizes = []
    while True:
        page = await stubs.runs.ListEntries(request)
        assert not page.assignments, "nobody was assigned an attached run"
        sizes.append(len(page.entries))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert sizes == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ListEntriesRequest(run_id="unknown"), grpc.StatusCode.NOT_FOUND),
        (ListEntriesRequest(run_id="no name"), grpc.StatusCode.INVALID_ARGUMENT),
        (ListEntriesRequest(run_id="run", page_size=-1), grpc.StatusCode.INVALID_ARGUMENT),
        (ListEntriesRequest(run_id="run", page_size=1_001), grpc.StatusCode.INVALID_ARGUMENT),
        (ListEntriesRequest(run_id="run", page_token="nonsense"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_refusals(stubs: Stubs, request_: ListEntriesRequest, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stubs.runs.ListEntries(request_)
    assert refused.value.code() is code
