"""Looking without consuming, beyond the vectors: following, going on after a break, and that all ways agree."""

from typing import Any

import grpc
import pytest

from midstream.v1 import record_pb2
from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from support.calls import STREAM, ack, attach, connected, finish, listed, new_record, numbers, receive, send
from support.stubs import Stubs


async def tailed(stubs: Stubs, run_id: str, *, stream_id: str = "", after_offset: int = 0) -> list[record_pb2.Record]:
    """All records of a run that has ended."""
    request = pb.TailRequest(run_id=run_id, stream_id=stream_id, after_offset=after_offset)
    return [record async for response in stubs.streams.Tail(request) for record in response.records]


async def fill(stubs: Stubs, run_id: str, count: int) -> None:
    """Records of three streams, mixed."""
    for number in range(1, count + 1):
        await send(stubs, run_id, str(number), stream_id=f"s{number % 3}")


async def test_a_tail_follows_and_ends_with_the_run(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1")
    call: Any = stubs.streams.Tail(pb.TailRequest(run_id=run_id))
    assert [record.seq for record in (await call.read()).records] == [1]
    await send(stubs, run_id, "2")
    response = await call.read()
    assert ([record.seq for record in response.records], response.as_of_offset) == ([2], 3)
    await finish(stubs, run_id)
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_tail_of_one_stream_hears_of_no_other(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    call: Any = stubs.streams.Tail(pb.TailRequest(run_id=run_id, stream_id="s1"))
    await fill(stubs, run_id, 30)
    await finish(stubs, run_id)
    records = [record async for response in call for record in response.records]
    assert [record.payload.json for record in records] == [str(number) for number in range(1, 31, 3)]


async def test_a_broken_tail_goes_on_where_it_was(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await fill(stubs, run_id, 10)
    async with connected(server.url) as others:
        broken: Any = others.streams.Tail(pb.TailRequest(run_id=run_id))
        first = await broken.read()
    await fill(stubs, run_id, 5)
    await finish(stubs, run_id)
    rest = await tailed(stubs, run_id, after_offset=first.as_of_offset)
    assert [*first.records, *rest] == await listed(stubs, run_id)


@pytest.mark.parametrize("page_size", [1, 2, 7, 1_000])
@pytest.mark.parametrize("stream_id", ["", "s0", "s2"])
async def test_pages_equal_the_tail(stubs: Stubs, page_size: int, stream_id: str) -> None:
    run_id = await attach(stubs)
    await fill(stubs, run_id, 23)
    await finish(stubs, run_id)
    records = await listed(stubs, run_id, stream_id=stream_id, page_size=page_size)
    assert records == await tailed(stubs, run_id, stream_id=stream_id)
    assert [record.offset for record in records] == sorted({record.offset for record in records})


async def test_a_tail_from_every_offset_is_the_rest(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await fill(stubs, run_id, 12)
    await finish(stubs, run_id)
    everything = await tailed(stubs, run_id)
    for offset in range(16):
        for stream_id in ("", "s1"):
            rest = [each for each in everything if each.offset > offset and stream_id in ("", each.stream_id)]
            assert await tailed(stubs, run_id, stream_id=stream_id, after_offset=offset) == rest


async def test_pages_end_at_a_mebibyte(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    for number in range(5):
        text = f'"{number}{"x" * 400_000}"'
        await stubs.streams.SendOne(pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=[new_record(text)]))
    page = await stubs.streams.ListRecords(pb.ListRecordsRequest(run_id=run_id))
    assert [record.seq for record in page.records] == [1, 2]
    assert [record.seq for record in await listed(stubs, run_id)] == [1, 2, 3, 4, 5]


async def test_what_comes_between_two_pages_is_on_the_next_one(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1", "2", "3")
    request = pb.ListRecordsRequest(run_id=run_id, page_size=2)
    page = await stubs.streams.ListRecords(request)
    await send(stubs, run_id, "4")
    request.page_size, request.page_token = 1_000, page.next_page_token
    rest = await stubs.streams.ListRecords(request)
    assert [record.seq for record in rest.records] == [3, 4]
    assert rest.as_of_offset == 5


async def test_looking_consumes_nothing_and_consumed_records_stay_listed(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    await send(stubs, run_id, "1", "2", "3")
    before = await listed(stubs, run_id)
    epoch = (await receive(stubs, run_id)).holder_epoch
    await ack(stubs, run_id, epoch, 2)
    for _ in range(3):
        peeked = await stubs.streams.Peek(pb.PeekRequest(run_id=run_id, stream_id=STREAM))
        assert (peeked.record, peeked.unread_count) == (before[2], 1)
    assert await listed(stubs, run_id) == before


async def test_peek_tells_a_null_from_nothing(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    request = pb.PeekRequest(run_id=run_id, stream_id=STREAM)
    assert not (await stubs.streams.Peek(request)).HasField("record")
    await send(stubs, run_id, "null")
    peeked = await stubs.streams.Peek(request)
    assert peeked.record.payload.json == "null"
    await ack(stubs, run_id, (await receive(stubs, run_id)).holder_epoch, 1)
    assert not (await stubs.streams.Peek(request)).HasField("record")


async def test_tails_do_not_disturb_each_other_or_the_holder(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    tails = [stubs.streams.Tail(pb.TailRequest(run_id=run_id)) for _ in range(10)]
    await send(stubs, run_id, *numbers(1, 20))
    epoch = (await receive(stubs, run_id)).holder_epoch
    assert epoch == 1
    await finish(stubs, run_id)
    for tail in tails:
        assert [record.seq async for response in tail for record in response.records] == list(range(1, 21))
