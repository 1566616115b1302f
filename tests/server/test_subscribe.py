"""Subscribe on the wire: credit, holders, acknowledging, resuming, ends."""

import asyncio

import pytest

from midstream.v1 import stream_service_pb2 as pb
from midstream.v1.handler_failure_pb2 import HandlerFailure
from support.calls import STREAM, Subscriber, ack, attach, finish, get_run, numbers, reason_of, receive, send
from support.stubs import Stubs


@pytest.fixture
async def run_id(stubs: Stubs) -> str:
    return await attach(stubs)


async def cursor_of(stubs: Stubs, run_id: str) -> int:
    return (await get_run(stubs, run_id)).streams[0].cursor


async def acked(reader: Subscriber) -> int:
    return (await reader.hears("acked")).acked.cursor


# Records and credit


async def test_stored_records_come_first_then_new_ones(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2")
    reader = await Subscriber(stubs, run_id).open()
    assert (reader.cursor, reader.last_seq) == (0, 2)
    assert await reader.takes(2) == [1, 2]
    await send(stubs, run_id, "3")
    (record,) = (await reader.hears("records")).records.records
    assert (record.run_id, record.stream_id, record.seq, record.payload.json) == (run_id, STREAM, 3, "3")


async def test_a_stream_without_a_record_can_be_held(stubs: Stubs, run_id: str) -> None:
    reader = await Subscriber(stubs, run_id).open()
    assert (reader.cursor, reader.last_seq) == (0, 0)
    await send(stubs, run_id, "1")
    assert await reader.takes(1) == [1]


@pytest.mark.parametrize("credit", [1, 2, 7])
async def test_exactly_as_many_records_come_as_were_granted(stubs: Stubs, run_id: str, credit: int) -> None:
    await send(stubs, run_id, *numbers(1, 50))
    reader = await Subscriber(stubs, run_id).open(credit=credit)
    assert await reader.takes(credit) == list(range(1, credit + 1))
    await reader.acks(1)
    assert await acked(reader) == 1  # Nothing came in between, though 50 are stored.
    await reader.grants(3)
    assert await reader.takes(3) == list(range(credit + 1, credit + 4))
    await send(stubs, run_id, "51")
    await reader.acks(2)
    assert await acked(reader) == 2


async def test_grants_add_up(stubs: Stubs, run_id: str) -> None:
    reader = await Subscriber(stubs, run_id).open(credit=1)
    for _ in range(4):
        await reader.grants(1)
    await send(stubs, run_id, *numbers(1, 10))
    await reader.takes(5)
    await reader.acks(5)
    assert await acked(reader) == 5


async def test_a_large_record_travels_alone_and_frames_are_bounded(stubs: Stubs, run_id: str) -> None:
    half = '"' + "x" * 600_000 + '"'
    largest = '"' + "x" * ((1 << 20) - 2) + '"'
    request = pb.SendOneRequest(run_id=run_id, stream_id=STREAM)
    for text in (half, half, largest, "1", "2"):
        request.records.add().payload.json = text
    await stubs.streams.SendOne(request)
    reader = await Subscriber(stubs, run_id).open()
    frames = [(await reader.hears("records")).records.records for _ in range(4)]
    assert [[record.seq for record in frame] for frame in frames] == [[1], [2], [3], [4, 5]]


async def test_a_slow_reader_holds_back_only_itself(stubs: Stubs) -> None:
    slow_id, quick_id = await attach(stubs), await attach(stubs)
    slow = await Subscriber(stubs, slow_id).open()
    quick = await Subscriber(stubs, quick_id).open()
    large = pb.SendOneRequest(run_id=slow_id, stream_id=STREAM)
    large.records.add().payload.raw = bytes(100_000)
    for seq in range(1, 101):
        await stubs.streams.SendOne(large)
        await send(stubs, quick_id, str(seq))
        assert await quick.takes(1) == [seq]
    assert await slow.takes(100) == list(range(1, 101))  # What waited is complete, once it is read.


# Holders


async def test_the_newest_holder_wins_and_the_old_one_is_told(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2")
    old = await Subscriber(stubs, run_id).open()
    await old.takes(2)
    new = await Subscriber(stubs, run_id).open()
    assert new.epoch == old.epoch + 1
    assert await old.is_refused() == "FENCED"
    assert await reason_of(ack(stubs, run_id, old.epoch, 1)) == "FENCED"
    assert await new.takes(2) == [1, 2]
    assert await cursor_of(stubs, run_id) == 0


async def test_a_unary_holder_fences_a_subscription(stubs: Stubs, run_id: str) -> None:
    old = await Subscriber(stubs, run_id).open()
    await send(stubs, run_id, "1")
    await old.takes(1)
    response = await receive(stubs, run_id)
    assert response.holder_epoch == old.epoch + 1
    assert await old.is_refused() == "FENCED"
    assert await ack(stubs, run_id, response.holder_epoch, 1) == 1


async def test_a_subscription_fences_a_unary_holder(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1")
    epoch = (await receive(stubs, run_id)).holder_epoch
    waiting = asyncio.ensure_future(receive(stubs, run_id, holder_epoch=epoch, after_seq=1))
    new = await Subscriber(stubs, run_id).open()
    assert await reason_of(waiting) == "FENCED"
    assert await reason_of(receive(stubs, run_id, holder_epoch=epoch)) == "FENCED"
    assert await reason_of(ack(stubs, run_id, epoch, 1)) == "FENCED"
    assert await new.takes(1) == [1]


async def test_an_old_epoch_cannot_be_opened_again(stubs: Stubs, run_id: str) -> None:
    old = await Subscriber(stubs, run_id).open()
    await Subscriber(stubs, run_id).open()
    assert await reason_of(Subscriber(stubs, run_id).open(epoch=old.epoch)) == "FENCED"


async def test_streams_of_one_run_have_their_own_holders(stubs: Stubs, run_id: str) -> None:
    readers = [await Subscriber(stubs, run_id, stream_id).open() for stream_id in ("one", "two")]
    await send(stubs, run_id, "1", stream_id="one")
    await send(stubs, run_id, "1", "2", stream_id="two")
    assert await readers[0].takes(1) == [1]
    assert await readers[1].takes(2) == [1, 2]


async def test_many_take_the_stream_from_each_other_at_once_and_one_remains(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1")
    readers = await asyncio.gather(*(Subscriber(stubs, run_id).open() for _ in range(20)))
    assert len({reader.epoch for reader in readers}) == 20
    *lost, kept = sorted(readers, key=lambda reader: reader.epoch)
    assert [await reader.is_refused() for reader in lost] == ["FENCED"] * 19
    assert await kept.takes(1) == [1]
    await kept.acks(1)
    assert await acked(kept) == 1


# Acknowledging


async def test_the_cursor_moves_and_the_next_holder_begins_behind_it(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2", "3")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(3)
    await reader.acks(2)
    assert await acked(reader) == 2
    again = await Subscriber(stubs, run_id).open()
    assert (again.cursor, again.last_seq) == (2, 3)
    assert await again.takes(1) == [3]


async def test_acknowledging_is_cumulative_and_never_goes_back(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2", "3")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(3)
    for through_seq in (2, 1, 0, 2, 3):
        await reader.acks(through_seq)
    cursors = [await acked(reader)]
    while cursors[-1] < 3:
        cursors.append(await acked(reader))
    assert cursors in ([2, 3], [3])


async def test_acknowledging_what_was_not_delivered_ends_the_subscription(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2", "3")
    reader = await Subscriber(stubs, run_id).open(credit=2)
    await reader.takes(2)
    await reader.acks(3)
    assert await reader.is_refused() == "ACK_AHEAD"
    assert await cursor_of(stubs, run_id) == 0


async def test_the_end_of_the_requests_acknowledges_nothing(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(2)
    await reader.half_closes()
    await reader.ends()
    assert await cursor_of(stubs, run_id) == 0


async def test_what_was_acknowledged_just_before_leaving_is_kept(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(2)
    await reader.acks(2)
    await reader.half_closes()
    assert await acked(reader) == 2
    await reader.ends()


async def test_a_broken_call_acknowledges_nothing(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(2)
    reader.cancel()
    assert await (await Subscriber(stubs, run_id).open()).takes(2) == [1, 2]


async def test_handlers_that_raised_are_recorded_once(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2")
    failure = HandlerFailure(seq=1, handler="heard", error_type="ValueError", message="no")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(2)
    for through_seq in (1, 2):
        request = pb.AckRequest(
            run_id=run_id, stream_id=STREAM, holder_epoch=reader.epoch, through_seq=through_seq, failures=[failure]
        )
        await stubs.streams.Ack(request)
    run = await get_run(stubs, run_id)
    assert run.handler_failure_count == 1
    assert [(each.seq, each.stream_id, each.error_type) for each in run.handler_failures] == [(1, STREAM, "ValueError")]


# Resuming


async def test_a_broken_call_goes_on_with_its_epoch_behind_the_last_record(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2", "3")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(3)
    reader.cancel()
    again = await Subscriber(stubs, run_id).open(epoch=reader.epoch, after_seq=2)
    assert again.epoch == reader.epoch
    assert await again.takes(1) == [3]
    await again.acks(3)
    assert await acked(again) == 3


async def test_below_the_cursor_the_cursor_counts(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2", "3")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(3)
    await reader.acks(2)
    assert await acked(reader) == 2
    assert await (await Subscriber(stubs, run_id).open(after_seq=0)).takes(1) == [3]


async def test_what_an_earlier_call_delivered_may_be_acknowledged_after_resuming(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1", "2")
    reader = await Subscriber(stubs, run_id).open()
    await reader.takes(2)
    reader.cancel()
    again = await Subscriber(stubs, run_id).open(epoch=reader.epoch, after_seq=2)
    await again.acks(1)
    assert await acked(again) == 1


async def test_beyond_the_last_stored_record_nobody_can_have_received(stubs: Stubs, run_id: str) -> None:
    await send(stubs, run_id, "1")
    assert await reason_of(Subscriber(stubs, run_id).open(after_seq=2)) == "FIELD_INVALID"


# Ends


@pytest.mark.parametrize("credit", [3, 1_000])
async def test_the_end_of_the_run_is_the_last_frame(stubs: Stubs, run_id: str, credit: int) -> None:
    """With credit left, and without."""
    await send(stubs, run_id, "1", "2", "3")
    reader = await Subscriber(stubs, run_id).open(credit=credit)
    await reader.takes(3)
    await reader.acks(1)
    assert await acked(reader) == 1
    ended = await finish(stubs, run_id)
    await reader.hears("run_ended")
    await reader.ends()
    assert [(stream.stream_id, stream.unread_count) for stream in ended.streams] == [(STREAM, 2)]


async def test_an_ended_run_cannot_be_held(stubs: Stubs, run_id: str) -> None:
    await finish(stubs, run_id)
    assert await reason_of(Subscriber(stubs, run_id).open()) == "RUN_FINISHED"
