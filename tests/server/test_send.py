"""Sending beyond the vectors: order in the pipe, broken calls, equal keys at once, a disk that is full."""

import asyncio
import resource

import grpc

from midstream.v1 import stream_service_pb2 as pb
from midstream_server.server import Server
from support.calls import (
    STREAM,
    Sending,
    attach,
    connected,
    finish,
    get_run,
    listed,
    new_record,
    numbers,
    reason_in,
    reason_of,
    send,
)
from support.server_process import ServerProcess
from support.stubs import Stubs

BATCHES = 200


async def test_batches_are_stored_and_answered_in_the_order_of_their_arrival(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    sending = Sending(stubs, run_id)
    for number in range(1, BATCHES + 1):
        await sending.writes([new_record(f"{number}", client_ref=number), new_record("0", client_ref=-number)])
    await sending.call.done_writing()
    for number in range(1, BATCHES + 1):
        first, second = await sending.hears()
        assert (first.client_ref, first.accepted.seq) == (number, 2 * number - 1)
        assert (second.client_ref, second.accepted.seq) == (-number, 2 * number)
    assert await sending.call.read() is grpc.aio.EOF
    stored = [record.payload.json for record in await listed(stubs, run_id)]
    assert stored[::2] == numbers(1, BATCHES)


async def test_streams_and_runs_share_a_call(stubs: Stubs) -> None:
    runs = [await attach(stubs) for _ in range(3)]
    call = stubs.streams.Send()
    for number in range(30):
        records = [new_record(str(number))]
        await call.write(pb.SendRequest(run_id=runs[number % 3], stream_id=f"s{number % 2}", records=records))
    await call.done_writing()
    seqs = [response.receipts[0].accepted.seq async for response in call]
    assert seqs == [number // 6 + 1 for number in range(30)]


async def test_a_bad_record_among_good_ones_takes_no_place(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    sending = Sending(stubs, run_id)
    await sending.writes(new_record("nonsense" if number % 7 == 3 else str(number)) for number in range(700))
    receipts = await sending.hears()
    accepted = [receipt.accepted.seq for receipt in receipts if receipt.HasField("accepted")]
    assert accepted == list(range(1, 601))
    assert [record.seq for record in await listed(stubs, run_id)] == accepted
    assert all(receipts[number].HasField("error") for number in range(3, 700, 7))


async def test_a_run_that_ends_in_the_middle_of_a_call_refuses_the_rest_of_it(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    sending = Sending(stubs, run_id)
    await sending.writes([new_record("1", key="k")])
    assert (await sending.hears())[0].accepted.seq == 1
    await finish(stubs, run_id)
    await sending.writes([new_record("2"), new_record("1", key="k")])
    refused, again = await sending.hears()
    assert refused.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert again.accepted.deduplicated


async def test_a_broken_call_is_retried_with_the_same_keys(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    texts = numbers(1, BATCHES)
    async with connected(server.url) as others:
        broken = Sending(others, run_id)
        for text in texts:
            await broken.writes([new_record(text, key=text)])
        before = [(await broken.hears())[0].accepted.seq for _ in range(20)]
        broken.call.cancel()
    again = Sending(stubs, run_id)
    for text in texts:
        await again.writes([new_record(text, key=text)])
    receipts = [(await again.hears())[0].accepted for _ in texts]
    assert [accepted.seq for accepted in receipts] == list(range(1, BATCHES + 1))
    assert before == list(range(1, 21))
    assert all(accepted.deduplicated for accepted in receipts[:20])
    assert [record.payload.json for record in await listed(stubs, run_id)] == texts


async def test_the_same_key_twice_at_once_from_two_callers(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)
    async with connected(server.url) as others:
        for number in numbers(1, 50):
            (one,), (other,) = await asyncio.gather(send(stubs, run_id, number), send(others, run_id, number))
            assert one.accepted.seq == other.accepted.seq == int(number)
            assert one.accepted.accept_time == other.accepted.accept_time
            assert {one.accepted.deduplicated, other.accepted.deduplicated} == {True, False}


async def test_the_same_key_with_two_payloads_at_once_stores_one(server: Server, stubs: Stubs) -> None:
    run_id = await attach(stubs)

    async def stored(through: Stubs, text: str) -> bool:
        request = pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=[new_record(text, key="k")])
        try:
            await through.streams.SendOne(request)
        except grpc.aio.AioRpcError as error:
            if reason_in(error) != "IDEMPOTENCY_KEY_REUSED":
                raise
            return False
        return True

    async with connected(server.url) as others:
        wins = await asyncio.gather(*(stored(stubs if number % 2 else others, str(number)) for number in range(20)))
    assert sum(wins) == 1
    (record,) = await listed(stubs, run_id)
    assert record.payload.json == str(wins.index(True))


async def test_callers_at_once_get_seqs_without_gaps(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    receipts = await asyncio.gather(*(send(stubs, run_id, number) for number in numbers(1, 500)))
    assert sorted(receipt.accepted.seq for (receipt,) in receipts) == list(range(1, 501))
    assert sorted(receipt.accepted.offset for (receipt,) in receipts) == list(range(2, 502))


async def test_an_invalid_batch_ends_the_call_after_what_came_before(stubs: Stubs) -> None:
    run_id = await attach(stubs)
    sending = Sending(stubs, run_id)
    await sending.writes([new_record("1")])
    await sending.writes([])
    assert (await sending.hears())[0].accepted.seq == 1
    assert await reason_of(sending.call.read()) == "FIELD_INVALID"
    assert (await get_run(stubs, run_id)).streams[0].last_seq == 1


async def test_a_full_disk_is_said_and_nothing_is_acknowledged(server_process: ServerProcess) -> None:
    process = server_process
    async with connected(process.url) as stubs:
        run_id = await attach(stubs)
        await send(stubs, run_id, '"before"')
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        wal = process.database.with_name(process.database.name + "-wal")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (wal.stat().st_size + 4_096, hard))
        big = f'"{"x" * 500_000}"'
        request = pb.SendOneRequest(run_id=run_id, stream_id=STREAM, records=[new_record(big, key="big")])
        assert await reason_of(stubs.streams.SendOne(request)) == "STORE_UNAVAILABLE"
        assert [record.payload.json for record in await listed(stubs, run_id)] == ['"before"']
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        (receipt,) = (await stubs.streams.SendOne(request)).receipts
        assert (receipt.accepted.seq, receipt.accepted.deduplicated) == (2, False)
    assert process.terminate() == 0
