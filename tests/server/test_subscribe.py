"""Subscribe on the wire: credit, holders, acknowledging, resuming, ends."""

import asyncio
import contextlib

import grpc
import pytest

from midstream.v1 import stream_service_pb2 as pb
from midstream.v1.handler_failure_pb2 import HandlerFailure
from midstream.v1.record_pb2 import Record
from support.raw_calls import RUN, STREAM, Holder, attach, finish, get, refused, send
from support.stubs import Stubs


@pytest.fixture(autouse=True)
async def run(stubs: Stubs) -> None:
    await attach(stubs)


def seqs(records: list[Record]) -> list[int]:
    return [record.seq for record in records]


async def ack(stubs: Stubs, epoch: int, through_seq: int) -> int:
    request = pb.AckRequest(run_id=RUN, stream_id=STREAM, holder_epoch=epoch, through_seq=through_seq)
    return (await stubs.streams.Ack(request)).cursor


async def receive(stubs: Stubs, epoch: int = 0) -> pb.ReceiveResponse:
    return await stubs.streams.Receive(pb.ReceiveRequest(run_id=RUN, stream_id=STREAM, holder_epoch=epoch))


# Records and credit


async def test_stored_records_come_first_then_new_ones(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    async with Holder(stubs) as holder:
        assert (holder.opened.cursor, holder.opened.last_seq) == (0, 2)
        assert seqs(await holder.take(2)) == [1, 2]
        await send(stubs, "3")
        (record,) = await holder.take(1)
        assert (record.run_id, record.stream_id, record.seq, record.payload.json) == (RUN, STREAM, 3, "3")


async def test_a_stream_without_a_record_can_be_held(stubs: Stubs) -> None:
    async with Holder(stubs) as holder:
        assert (holder.opened.cursor, holder.opened.last_seq) == (0, 0)
        await send(stubs, "1")
        await holder.take(1)


@pytest.mark.parametrize("credit", [1, 2, 7])
async def test_exactly_as_many_records_come_as_were_granted(stubs: Stubs, credit: int) -> None:
    await send(stubs, *["0"] * 50)
    async with Holder(stubs, credit=credit) as holder:
        assert seqs(await holder.take(credit)) == list(range(1, credit + 1))
        await holder.ack(1)
        assert await holder.acked() == 1  # Nothing came in between, though 50 are stored.
        await holder.grant(3)
        assert seqs(await holder.take(3)) == list(range(credit + 1, credit + 4))
        await send(stubs, "0")
        await holder.ack(2)
        assert await holder.acked() == 2


async def test_grants_add_up(stubs: Stubs) -> None:
    async with Holder(stubs, credit=1) as holder:
        for _ in range(4):
            await holder.grant(1)
        await holder.ack(0)
        await send(stubs, *["0"] * 10)
        await holder.take(5)
        await holder.ack(5)
        assert await holder.acked() == 5


async def test_a_large_record_travels_alone_and_frames_are_bounded(stubs: Stubs) -> None:
    half = '"' + "x" * 600_000 + '"'
    largest = '"' + "x" * ((1 << 20) - 2) + '"'
    for json in (half, half, largest, "1", "2"):
        await send(stubs, json)
    async with Holder(stubs) as holder:
        frames = [list((await holder.hears("records")).records) for _ in range(4)]
        assert [seqs(records) for records in frames] == [[1], [2], [3], [4, 5]]


async def test_a_slow_reader_holds_back_only_itself(stubs: Stubs) -> None:
    await attach(stubs, "slow")
    await attach(stubs, "quick")
    large = '"' + "x" * 100_000 + '"'
    async with (
        Holder(stubs, run_id="slow", credit=100_000) as slow,
        Holder(stubs, run_id="quick", credit=100_000) as quick,
    ):
        for seq in range(1, 101):
            await send(stubs, large, run_id="slow")
            await send(stubs, str(seq), run_id="quick")
            assert seqs(await quick.take(1)) == [seq]
        # What waited is complete, once it is read.
        taken: list[int] = []
        while len(taken) < 100:
            taken += seqs((await slow.hears("records")).records)
        assert taken == list(range(1, 101))


# Holders


async def test_the_newest_holder_wins_and_the_old_one_is_told(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    async with Holder(stubs) as old:
        await old.take(2)
        async with Holder(stubs) as new:
            assert new.epoch == old.epoch + 1
            assert await old.ends() == "FENCED"
            assert await refused(ack(stubs, old.epoch, 1)) == "FENCED"
            assert seqs(await new.take(2)) == [1, 2]
            assert (await get(stubs)).streams[0].cursor == 0


async def test_a_unary_holder_fences_a_subscription(stubs: Stubs) -> None:
    async with Holder(stubs) as old:
        await send(stubs, "1")
        await old.take(1)
        response = await receive(stubs)
        assert response.holder_epoch == old.epoch + 1
        assert await old.ends() == "FENCED"
        assert await ack(stubs, response.holder_epoch, 1) == 1


async def test_a_subscription_fences_a_unary_holder(stubs: Stubs) -> None:
    await send(stubs, "1")
    old = await receive(stubs)
    waiting = pb.ReceiveRequest(run_id=RUN, stream_id=STREAM, holder_epoch=old.holder_epoch, after_seq=1)
    pending = asyncio.ensure_future(stubs.streams.Receive(waiting))
    async with Holder(stubs) as new:
        assert await refused(pending) == "FENCED"
        assert await refused(receive(stubs, old.holder_epoch)) == "FENCED"
        assert await refused(ack(stubs, old.holder_epoch, 1)) == "FENCED"
        assert seqs(await new.take(1)) == [1]


async def test_an_old_epoch_cannot_be_opened_again(stubs: Stubs) -> None:
    async with Holder(stubs) as old:
        epoch = old.epoch
    async with Holder(stubs):
        again = Holder(stubs, holder_epoch=epoch)
        await again.say(open=pb.SubscribeRequest.Open(run_id=RUN, stream_id=STREAM, holder_epoch=epoch, credit=1))
        assert await again.ends() == "FENCED"


async def test_streams_of_one_run_have_their_own_holders(stubs: Stubs) -> None:
    async with Holder(stubs, stream_id="one") as one, Holder(stubs, stream_id="two") as two:
        await send(stubs, "1", stream_id="one")
        await send(stubs, "2", stream_id="two")
        assert [(await each.take(1))[0].payload.json for each in (one, two)] == ["1", "2"]


async def test_many_take_the_stream_from_each_other_at_once_and_one_remains(stubs: Stubs) -> None:
    await send(stubs, "1")
    holders = [Holder(stubs) for _ in range(20)]
    await asyncio.gather(*(holder.__aenter__() for holder in holders))
    assert len({holder.epoch for holder in holders}) == 20
    *lost, kept = sorted(holders, key=lambda holder: holder.epoch)
    assert [await holder.ends_after_records() for holder in lost] == ["FENCED"] * 19
    await kept.take(1)
    await kept.ack(1)
    assert await kept.acked() == 1
    kept.cancel()


# Acknowledging


async def test_the_cursor_moves_and_the_next_holder_begins_behind_it(stubs: Stubs) -> None:
    await send(stubs, "1", "2", "3")
    async with Holder(stubs) as holder:
        await holder.take(3)
        await holder.ack(2)
        assert await holder.acked() == 2
    async with Holder(stubs) as holder:
        assert (holder.opened.cursor, holder.opened.last_seq) == (2, 3)
        assert seqs(await holder.take(1)) == [3]


async def test_acknowledging_is_cumulative_and_never_goes_back(stubs: Stubs) -> None:
    await send(stubs, "1", "2", "3")
    async with Holder(stubs) as holder:
        await holder.take(3)
        for through_seq in (2, 1, 0, 2):
            await holder.ack(through_seq)
        await holder.ack(3)
        cursors = [await holder.acked()]
        while cursors[-1] < 3:
            cursors.append(await holder.acked())
        assert cursors in ([2, 3], [3])


async def test_acknowledging_what_was_not_delivered_ends_the_subscription(stubs: Stubs) -> None:
    await send(stubs, "1", "2", "3")
    async with Holder(stubs, credit=2) as holder:
        await holder.take(2)
        await holder.ack(3)
        assert await holder.ends() == "ACK_AHEAD"
    assert (await get(stubs)).streams[0].cursor == 0


async def test_the_end_of_the_requests_acknowledges_nothing(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    async with Holder(stubs) as holder:
        await holder.take(2)
        await holder.ack(1)
        assert await holder.acked() == 1
        await holder.leave()
        assert await holder.ends() == "OK"
    assert (await get(stubs)).streams[0].cursor == 1


async def test_what_was_acknowledged_just_before_leaving_is_kept(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    async with Holder(stubs) as holder:
        await holder.take(2)
        await holder.ack(2)
        await holder.leave()
        assert await holder.acked() == 2
        assert await holder.ends() == "OK"


async def test_a_broken_call_acknowledges_nothing(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    async with Holder(stubs) as holder:
        await holder.take(2)
    async with Holder(stubs) as holder:
        assert seqs(await holder.take(2)) == [1, 2]


async def test_handlers_that_raised_are_recorded_once(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    failure = HandlerFailure(seq=1, handler="heard", error_type="ValueError", message="no")
    async with Holder(stubs) as holder:
        await holder.take(2)
        await holder.ack(1, failures=[failure])
        await holder.ack(2, failures=[failure])
        while await holder.acked() < 2:
            pass
    run = await get(stubs)
    assert run.handler_failure_count == 1
    assert [(each.seq, each.stream_id, each.error_type) for each in run.handler_failures] == [(1, STREAM, "ValueError")]


# Resuming


async def test_a_broken_call_goes_on_with_its_epoch_behind_the_last_record(stubs: Stubs) -> None:
    await send(stubs, "1", "2", "3")
    async with Holder(stubs) as holder:
        await holder.take(3)
    async with Holder(stubs, holder_epoch=holder.epoch, after_seq=2) as again:
        assert again.epoch == holder.epoch
        assert seqs(await again.take(1)) == [3]
        await again.ack(3)
        assert await again.acked() == 3


async def test_below_the_cursor_the_cursor_counts(stubs: Stubs) -> None:
    await send(stubs, "1", "2", "3")
    async with Holder(stubs) as holder:
        await holder.take(3)
        await holder.ack(2)
        assert await holder.acked() == 2
    async with Holder(stubs, after_seq=0) as again:
        assert seqs(await again.take(1)) == [3]


async def test_what_an_earlier_call_delivered_may_be_acknowledged_after_resuming(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    async with Holder(stubs) as holder:
        await holder.take(2)
    async with Holder(stubs, holder_epoch=holder.epoch, after_seq=2) as again:
        await again.ack(1)
        assert await again.acked() == 1


async def test_beyond_the_last_stored_record_nobody_can_have_received(stubs: Stubs) -> None:
    await send(stubs, "1")
    holder = Holder(stubs)
    await holder.say(open=pb.SubscribeRequest.Open(run_id=RUN, stream_id=STREAM, credit=1, after_seq=2))
    assert await holder.ends() == "FIELD_INVALID"


# Ends


async def test_the_run_s_end_is_the_last_frame(stubs: Stubs) -> None:
    await send(stubs, "1", "2", "3")
    async with Holder(stubs) as holder:
        await holder.take(3)
        await holder.ack(1)
        assert await holder.acked() == 1
        ended = await finish(stubs)
        await holder.hears("run_ended")
        assert await holder.ends() == "OK"
    assert [(stream.stream_id, stream.unread_count) for stream in ended.streams] == [(STREAM, 2)]


async def test_an_ended_run_cannot_be_held(stubs: Stubs) -> None:
    await finish(stubs)
    holder = Holder(stubs)
    await holder.say(open=pb.SubscribeRequest.Open(run_id=RUN, stream_id=STREAM, credit=1))
    assert await holder.ends() == "RUN_FINISHED"


async def test_the_end_reaches_a_holder_without_credit(stubs: Stubs) -> None:
    await send(stubs, "1", "2")
    async with Holder(stubs, credit=1) as holder:
        await holder.take(1)
        await finish(stubs)
        await holder.hears("run_ended")
        assert await holder.ends() == "OK"
