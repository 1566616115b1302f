"""Output streams over the wire: what a worker or an attached process appends, and what readers of it see."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from midstream.v1 import stream_service_pb2 as pb
from midstream.v1 import worker_service_pb2 as work_pb
from midstream.v1.record_pb2 import DIRECTION_INPUT, DIRECTION_OUTPUT, Direction, Payload, Record, Sender
from midstream.v1.run_pb2 import RunSpec
from midstream.v1.run_service_pb2 import StartRunRequest
from support.calls import attach, finish, get_run, new_record, reason_of, send
from support.stubs import Stubs
from support.work_call import Lent, WorkCall, result, step


@pytest.fixture
async def call(channel: grpc.aio.Channel) -> AsyncIterator[WorkCall]:
    async with WorkCall(channel, credit=10) as call:
        yield call


async def lent(stubs: Stubs, call: WorkCall) -> Lent:
    await stubs.runs.StartRun(StartRunRequest(run_id="run", spec=RunSpec(task="task")))
    return await call.lent()


def said(text: str, *, operation: int = 0, attempt: int = 0, place: int = 0, **fields: Any) -> Any:
    fields.setdefault("stream_id", "out")
    fields.setdefault("payload", Payload(json=text))
    return work_pb.WorkRequest.OutputRecord(operation=operation, attempt=attempt, place=place, **fields)


async def output(call: WorkCall, run: Lent, *records: Any, number: int = 1) -> list[str]:
    """The messages of those that were refused."""
    frame = work_pb.WorkRequest.Output(run_id=run.run_id, epoch=run.epoch, records=records, number=number)
    await call.say(output=frame)
    stored = await call.hears("output_stored")
    assert (stored.run_id, stored.epoch, stored.number) == (run.run_id, run.epoch, number)
    return [status.message for status in stored.errors]


async def listed(
    stubs: Stubs,
    run_id: str,
    *,
    stream_id: str = "",
    direction: Direction.ValueType = DIRECTION_OUTPUT,
    page_size: int = 0,
) -> list[Record]:
    request = pb.ListRecordsRequest(run_id=run_id, stream_id=stream_id, page_size=page_size, direction=direction)
    records: list[Record] = []
    while True:
        page = await stubs.streams.ListRecords(request)
        records += page.records
        if not page.next_page_token:
            return records
        request.page_token = page.next_page_token


def shown(records: list[Record]) -> list[str]:
    """Each payload, or what a mark takes back."""
    return [
        " ".join(f"-{each.first_seq}..{each.last_seq}" for each in record.rewound.ranges) or record.payload.json
        for record in records
    ]


async def test_a_run_appends_and_a_tail_follows(stubs: Stubs, call: WorkCall) -> None:
    run = await lent(stubs, call)
    tail: Any = stubs.streams.Tail(pb.TailRequest(run_id="run", direction=DIRECTION_OUTPUT))
    assert await output(call, run, said('"a"', metadata={"k": "v"}), said('"b"', operation=1), number=5) == []
    response = await tail.read()
    assert (shown(response.records), response.as_of_offset) == (['"a"', '"b"'], 2)
    first = response.records[0]
    assert first.direction == DIRECTION_OUTPUT
    assert first.sender == Sender(kind=Sender.KIND_RUN, subject="run")
    assert (first.run_id, first.stream_id, first.seq, first.offset, first.metadata) == ("run", "out", 1, 1, {"k": "v"})
    assert first.HasField("accept_time")
    await output(call, run, said("1", operation=7, attempt=1), number=6)
    await output(call, run, said("1", operation=7, attempt=2), number=7)
    assert shown((await tail.read()).records) == ["1"]
    response = await tail.read()
    assert shown(response.records) == ["-3..3", "1"]
    mark = response.records[0]
    assert (mark.stream_id, mark.seq, mark.offset, mark.direction) == ("out", 4, 4, DIRECTION_OUTPUT)
    assert not mark.HasField("payload")
    await call.finish(run, result())
    await call.hears("finished")
    assert await tail.read() is grpc.aio.EOF


async def test_inputs_and_outputs_are_two_orders(stubs: Stubs, call: WorkCall) -> None:
    run = await lent(stubs, call)
    inputs: Any = stubs.streams.Tail(pb.TailRequest(run_id="run", stream_id="same"))
    outputs: Any = stubs.streams.Tail(pb.TailRequest(run_id="run", stream_id="same", direction=DIRECTION_OUTPUT))
    await output(call, run, said("1", stream_id="same"), said("2", stream_id="other", operation=1))
    await send(stubs, "run", "3", stream_id="same")
    await call.entries("run")
    assert [(each.payload.json, each.seq, each.direction) for each in (await inputs.read()).records] == [
        ("3", 1, DIRECTION_INPUT)
    ]
    assert [(each.payload.json, each.seq, each.direction) for each in (await outputs.read()).records] == [
        ("1", 1, DIRECTION_OUTPUT)
    ]
    assert shown(await listed(stubs, "run")) == ["1", "2"]
    assert shown(await listed(stubs, "run", page_size=1)) == ["1", "2"]
    assert shown(await listed(stubs, "run", stream_id="other")) == ["2"]
    assert shown(await listed(stubs, "run", direction=DIRECTION_INPUT)) == ["3"]
    shown_run = await get_run(stubs, "run")
    assert [(each.stream_id, each.last_seq) for each in shown_run.outputs] == [("other", 1), ("same", 1)]
    assert [each.stream_id for each in shown_run.streams] == ["same"]


async def test_outputs_are_followed_too(stubs: Stubs, call: WorkCall) -> None:
    run = await lent(stubs, call)
    request = pb.FollowRequest()
    for ref, direction in ((1, DIRECTION_OUTPUT), (2, DIRECTION_INPUT)):
        target = request.targets.add(ref=ref, run_id="run")
        target.records.direction = direction
    follow: Any = stubs.streams.Follow(request)
    await output(call, run, said('"out"'))
    news = await follow.read()
    assert (news.ref, shown(news.records.records), news.records.records[0].direction) == (
        1,
        ['"out"'],
        DIRECTION_OUTPUT,
    )
    await send(stubs, "run", '"in"')
    news = await follow.read()
    assert (news.ref, shown(news.records.records), news.records.records[0].direction) == (2, ['"in"'], DIRECTION_INPUT)


async def test_a_page_token_is_of_one_direction(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1", "2")
    page = await stubs.streams.ListRecords(pb.ListRecordsRequest(run_id=run_id, page_size=1))
    request = pb.ListRecordsRequest(
        run_id=run_id, page_size=1, page_token=page.next_page_token, direction=DIRECTION_OUTPUT
    )
    assert await reason_of(stubs.streams.ListRecords(request)) == "FIELD_INVALID"


async def test_an_unknown_direction_is_refused(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    wrong: Any = 7
    assert await reason_of(stubs.streams.ListRecords(pb.ListRecordsRequest(run_id=run_id, direction=wrong))) == (
        "FIELD_INVALID"
    )
    tail: Any = stubs.streams.Tail(pb.TailRequest(run_id=run_id, direction=wrong))
    assert await reason_of(tail.read()) == "FIELD_INVALID"


async def test_a_frame_said_again_is_stored_once(stubs: Stubs, call: WorkCall) -> None:
    run = await lent(stubs, call)
    frame = [said("1"), said("2", operation=3, attempt=1), said("3", operation=3, attempt=1, place=1)]
    assert await output(call, run, *frame) == await output(call, run, *frame, number=2) == []
    assert shown(await listed(stubs, "run")) == ["1", "2", "3"]


async def test_the_end_of_a_step_takes_back_what_former_attempts_said(stubs: Stubs, call: WorkCall) -> None:
    run = await lent(stubs, call)
    await output(call, run, said("1", operation=3, attempt=1))
    await call.append("run", run.epoch, step(3, attempt=2))
    await call.entries("run")
    assert shown(await listed(stubs, "run")) == ["1", "-1..1"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"stream_id": ""}, "stream_id"),
        ({"stream_id": "no name"}, "stream_id"),
        ({"payload": Payload()}, "is empty"),
        ({"payload": Payload(json="{")}, "not well-formed"),
        ({"payload": Payload(raw=b"x" * (1024 * 1024 + 1))}, "1048577 bytes"),
        ({"metadata": {"k": "x" * 9_000}}, "metadata"),
    ],
)
async def test_one_that_cannot_be_stored_is_told(
    stubs: Stubs, call: WorkCall, fields: dict[str, Any], problem: str
) -> None:
    run = await lent(stubs, call)
    (message,) = await output(call, run, said("1"), said("2", **{"operation": 1, **fields}), said("3", operation=2))
    assert problem in message
    assert shown(await listed(stubs, "run")) == ["1", "3"]


async def test_who_does_not_have_the_run_is_fenced(stubs: Stubs, call: WorkCall) -> None:
    run = await lent(stubs, call)
    for wrong in (run._replace(epoch=run.epoch + 1), run._replace(run_id="nobody")):
        frame = work_pb.WorkRequest.Output(run_id=wrong.run_id, epoch=wrong.epoch, records=[said("1")], number=1)
        await call.say(output=frame)
        assert (await call.hears("fenced")).run_id == wrong.run_id
    assert await listed(stubs, "run") == []


async def test_too_many_records_in_a_frame_end_the_call(stubs: Stubs, call: WorkCall) -> None:
    run = await lent(stubs, call)
    records = [said("1", operation=number) for number in range(1_001)]
    await call.say(output=work_pb.WorkRequest.Output(run_id="run", epoch=run.epoch, records=records))
    assert await call.ends() == "FIELD_INVALID"


@pytest.mark.parametrize("field", ["operation", "attempt", "place"])
async def test_a_negative_number_ends_the_call(stubs: Stubs, call: WorkCall, field: str) -> None:
    run = await lent(stubs, call)
    records = [said("1", **{"operation": 2, "attempt": 1, field: -1})]
    await call.say(output=work_pb.WorkRequest.Output(run_id="run", epoch=run.epoch, records=records))
    assert await call.ends() == "FIELD_INVALID"


async def test_an_attached_run_appends(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    records = [new_record("1", key="a", client_ref=7), new_record("{"), new_record("2")]
    request = pb.AppendOutputRequest(run_id=run_id, stream_id="out", records=records)
    receipts = (await stubs.streams.AppendOutput(request)).receipts
    assert [(each.client_ref, each.accepted.seq, each.accepted.offset) for each in receipts] == [
        (7, 1, 1),
        (0, 0, 0),
        (0, 2, 2),
    ]
    assert receipts[1].HasField("error")
    again = await stubs.streams.AppendOutput(
        pb.AppendOutputRequest(run_id=run_id, stream_id="out", records=[new_record("1", key="a")])
    )
    assert (again.receipts[0].accepted.seq, again.receipts[0].accepted.deduplicated) == (1, True)
    read = await listed(stubs, run_id)
    assert [(each.payload.json, each.idempotency_key, each.sender.kind) for each in read] == [
        ("1", "a", Sender.KIND_ANONYMOUS),
        ("2", "", Sender.KIND_ANONYMOUS),
    ]
    tail: Any = stubs.streams.Tail(pb.TailRequest(run_id=run_id, direction=DIRECTION_OUTPUT, after_offset=1))
    assert shown((await tail.read()).records) == ["2"]
    await finish(stubs, run_id)
    assert await tail.read() is grpc.aio.EOF
    assert shown(await listed(stubs, run_id)) == ["1", "2"], "they outlive the run's end"
    late = pb.AppendOutputRequest(run_id=run_id, stream_id="out", records=[new_record("3")])
    assert await reason_of(stubs.streams.AppendOutput(late)) == "RUN_FINISHED"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"run_id": "nobody"}, "RUN_NOT_FOUND"),
        ({"run_id": "run"}, "RUN_MANAGED"),
        ({"stream_id": ""}, "FIELD_INVALID"),
        ({"records": []}, "FIELD_INVALID"),
        ({"records": [new_record("1")] * 1_001}, "FIELD_INVALID"),
        ({"records": [new_record("{")]}, "PAYLOAD_INVALID"),
    ],
)
async def test_what_cannot_be_appended_is_refused(
    stubs: Stubs, call: WorkCall, fields: dict[str, Any], reason: str
) -> None:
    await lent(stubs, call)
    run_id = await attach(stubs)
    request = pb.AppendOutputRequest(**{"run_id": run_id, "stream_id": "out", "records": [new_record("1")], **fields})
    assert await reason_of(stubs.streams.AppendOutput(request)) == reason
