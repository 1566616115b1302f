"""Runs beyond the vectors: watching, callers at once, pages while runs come and go."""

import asyncio
from typing import Any

import grpc

from midstream.v1 import run_pb2, run_service_pb2
from midstream.v1.record_pb2 import Payload
from midstream_server.server import Server
from support.calls import attach, connected, finish, get_run, new_record, numbers, reason_in, receive, rest_of, send
from support.stubs import Stubs


async def cancel(stubs: Stubs, run_id: str) -> run_pb2.Run:
    return (await stubs.runs.CancelRun(run_service_pb2.CancelRunRequest(run_id=run_id))).run


async def test_a_watch_shows_the_run_at_once_and_ends_with_it(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call: Any = stubs.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run_id))
    assert (await call.read()).run == await get_run(stubs, run_id)
    ended = await finish(stubs, run_id, "42")
    assert (await call.read()).run == ended
    assert await call.read() is grpc.aio.EOF


async def test_changes_in_quick_succession_are_seen_as_one(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call: Any = stubs.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run_id))
    await call.read()
    for number in numbers(1, 200):
        await send(stubs, run_id, number)
    await finish(stubs, run_id)
    seen = [response.run for response in await rest_of(call)]
    assert len(seen) < 100
    assert seen[-1] == await get_run(stubs, run_id)
    offsets = [run.last_offset for run in seen]
    assert offsets == sorted(set(offsets))


async def test_a_watch_is_told_of_a_cancel_request(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call: Any = stubs.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run_id))
    await call.read()
    await cancel(stubs, run_id)
    run = (await call.read()).run
    assert run.HasField("cancel_time")
    assert run.state == run_pb2.Run.STATE_RUNNING
    call.cancel()


async def test_many_watch_one_run(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    calls: list[Any] = [stubs.runs.WatchRun(run_service_pb2.WatchRunRequest(run_id=run_id)) for _ in range(20)]
    for call in calls:
        await call.read()
    ended = await finish(stubs, run_id)
    for call in calls:
        assert (await rest_of(call))[-1].run == ended


async def test_attaching_at_once_makes_one_run(server: Server, stubs: Stubs) -> None:
    request = run_service_pb2.AttachRunRequest(run_id="job", spec=run_pb2.RunSpec(task="t"))
    async with connected(server.url) as others:
        calls = [(stubs if number % 2 else others).runs.AttachRun(request) for number in range(20)]
        responses = await asyncio.gather(*calls)
    assert sorted(response.created for response in responses) == [False] * 19 + [True]
    assert len({response.run.create_time.ToMicroseconds() for response in responses}) == 1


async def test_finishing_at_once_differently_ends_it_once(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    outcomes = await asyncio.gather(*(finish(stubs, run_id, text) for text in numbers(1, 20)), return_exceptions=True)
    (ended,) = [outcome for outcome in outcomes if isinstance(outcome, run_pb2.Run)]
    assert await get_run(stubs, run_id) == ended
    assert ended.last_offset == 2


async def test_pages_of_runs_are_not_disturbed_by_new_runs(stubs: Stubs) -> None:
    for number in range(1, 8):
        await attach(stubs, f"run-{number}")
    request = run_service_pb2.ListRunsRequest(page_size=3)
    seen: list[str] = []
    while True:
        page = await stubs.runs.ListRuns(request)
        seen += [run.run_id for run in page.runs]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        await attach(stubs, f"later-{len(seen)}")
    assert seen == [f"run-{number}" for number in range(7, 0, -1)]


async def test_a_run_of_another_state_is_not_listed_twice(stubs: Stubs) -> None:
    for number in range(1, 5):
        await attach(stubs, f"run-{number}")
    states = [run_pb2.Run.STATE_RUNNING, run_pb2.Run.STATE_COMPLETED, run_pb2.Run.STATE_RUNNING]
    request = run_service_pb2.ListRunsRequest(page_size=2, states=states)
    first = await stubs.runs.ListRuns(request)
    await finish(stubs, "run-4")
    request.page_token = first.next_page_token
    rest = await stubs.runs.ListRuns(request)
    assert [run.run_id for run in (*first.runs, *rest.runs)] == ["run-4", "run-3", "run-2", "run-1"]


async def test_a_list_is_brief(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1")
    await finish(stubs, run_id, "42")
    (run,) = (await stubs.runs.ListRuns(run_service_pb2.ListRunsRequest())).runs
    whole = await get_run(stubs, run_id)
    assert whole.result.json == "42"
    for field in ("payload", "result"):
        whole.ClearField(field)
    assert run == whole


async def test_long_failures_are_cut(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    failure = run_pb2.Failure(error_type="é" * 300, message="é" * 5_000, stack="a" * 70_000 + "the end")
    request = run_service_pb2.FinishRunRequest(run_id=run_id, outcome=run_pb2.Outcome(failure=failure))
    for _ in range(2):  # The same outcome again is the same, cut or not.
        kept = (await stubs.runs.FinishRun(request)).run.failure
        assert (len(kept.error_type), len(kept.message), len(kept.stack)) == (256, 4_096, 65_536)
        assert kept.stack.endswith("the end")


async def test_first_records_are_there_before_the_run_can_be_seen(server: Server, stubs: Stubs) -> None:
    records = [
        run_service_pb2.FirstRecord(stream_id=f"s{number % 3}", record=new_record(str(number))) for number in range(300)
    ]
    spec = run_pb2.RunSpec(task="t", payload=Payload(json="1"))
    request = run_service_pb2.StartRunRequest(run_id="mine", spec=spec, records=records)
    async with connected(server.url) as others:
        started, *again = await asyncio.gather(*(each.runs.StartRun(request) for each in (stubs, others, stubs)))
    assert sorted([started.created, *(each.created for each in again)]) == [False, False, True]
    assert [stream.last_seq for stream in started.run.streams] == [100, 100, 100]
    assert started.run.last_offset == 301


async def test_a_holder_is_told_of_the_end_by_everything_that_it_has_open(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    waiting = [asyncio.ensure_future(receive(stubs, run_id, stream_id=f"s{number}")) for number in range(5)]
    await finish(stubs, run_id)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    for end in ends:
        if isinstance(end, grpc.aio.AioRpcError):  # The call came after the end.
            assert reason_in(end) == "RUN_FINISHED"
        else:
            assert not isinstance(end, BaseException)
            assert end.run_ended
