"""Sending, against a real server: receipts, values, order, refusals, lost servers, closing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import midstream
from midstream import Client, MidstreamError, Record, input_stream
from midstream_server.server import Server
from midstream_server.settings import Settings


class Approval(BaseModel):
    approved: bool


approval = input_stream("approval", Approval)
blob = input_stream("blob", bytes)

VALUES: list[Any] = [None, False, 0, "", "123", "😀", [], {}, b"", b"\x00\xff"]
NOWHERE = "grpc://127.0.0.1:1"


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with midstream.connect(server.url) as client:
        yield client


@pytest.fixture
async def run_id(client: Client) -> str:
    return (await client.start_run("research-agent")).id


async def stored(client: Client, run_id: str, stream: str) -> list[Record]:
    return [record async for record in client.list_records(run_id, stream)]


@contextlib.asynccontextmanager
async def restartable(directory: Path) -> AsyncIterator[tuple[Server, Callable[[], Awaitable[Server]]]]:
    """A server and how to replace it by a new one on the same port and database."""
    settings = Settings(
        database=directory / "midstream.db", listen="127.0.0.1:0", metrics_listen="", web_listen="", drain_seconds=1
    )
    async with contextlib.AsyncExitStack() as servers:
        first = await servers.enter_async_context(Server(settings))
        again = settings.model_copy(update={"listen": f"127.0.0.1:{first.port}"})

        async def restart() -> Server:
            await first.stop()
            return await servers.enter_async_context(Server(again))

        yield first, restart


async def test_a_receipt_says_where_the_record_stands(client: Client, run_id: str) -> None:
    first = await client.send(run_id, "chat", "one")
    second = await client.send(run_id, "chat", "two")
    assert (first.seq, second.seq) == (1, 2)
    assert first.offset < second.offset
    assert first.accept_time <= second.accept_time
    assert first.accept_time.tzinfo is not None
    assert not first.deduplicated


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_every_value_comes_back_as_it_was(client: Client, run_id: str, value: Any) -> None:
    await client.send(run_id, "chat", value)
    record = await client.peek(run_id, "chat")
    assert record is not None
    assert record.value == value
    assert type(record.value) is type(value)


async def test_a_declared_stream_checks_and_decodes(client: Client, run_id: str) -> None:
    await client.send(run_id, approval, Approval(approved=True), metadata={"from": "ann"})
    record = await client.peek(run_id, approval)
    assert record is not None
    assert approval.decode(record) == Approval(approved=True)
    assert (record.metadata, record.sender.kind) == ({"from": "ann"}, "ANONYMOUS")
    wrong: Any = {"approved": "perhaps"}
    with pytest.raises(midstream.PayloadError, match=r"approval.*approved"):
        await client.send(run_id, approval, wrong)
    assert len(await stored(client, run_id, "approval")) == 1


async def test_the_same_key_stores_once(client: Client, run_id: str) -> None:
    first = await client.send(run_id, "chat", "a", key="order-7")
    again = await client.send(run_id, "chat", "a", key="order-7")
    assert (again.seq, again.deduplicated) == (first.seq, True)
    with pytest.raises(MidstreamError) as caught:
        await client.send(run_id, "chat", "b", key="order-7")
    assert caught.value.reason == "IDEMPOTENCY_KEY_REUSED"


async def test_the_same_key_twice_at_once_stores_once(client: Client, run_id: str) -> None:
    receipts = await asyncio.gather(*(client.send(run_id, "chat", "a", key="k") for _ in range(20)))
    assert {receipt.seq for receipt in receipts} == {1}
    assert sorted(receipt.deduplicated for receipt in receipts) == [False] + [True] * 19


async def test_refusals_concern_their_own_record_only(client: Client, run_id: str) -> None:
    outcomes = await asyncio.gather(
        client.send(run_id, "chat", "fine"),
        client.send("run_unknown", "chat", "lost"),
        client.send(run_id, "not a name", "x"),
        client.send(run_id, "chat", "x" * (1024 * 1024 - 2)),
        client.send(run_id, "chat", "x" * (1024 * 1024 - 1)),
        client.send(run_id, "chat", "fine too"),
        return_exceptions=True,
    )
    reasons = [outcome.reason if isinstance(outcome, MidstreamError) else "" for outcome in outcomes]
    assert reasons == ["", "RUN_NOT_FOUND", "FIELD_INVALID", "", "PAYLOAD_TOO_LARGE", ""]
    assert isinstance(outcomes[1], midstream.RunNotFound)
    assert isinstance(outcomes[4], midstream.PayloadError)


async def test_what_no_server_takes_is_refused_before_it_is_sent(client: Client, run_id: str) -> None:
    with pytest.raises(midstream.PayloadError, match="reference"):
        await client.send(run_id, blob, b"x" * (5 * 1024 * 1024))
    assert await stored(client, run_id, "blob") == []


@pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}], ids=repr)
async def test_metadata_that_is_no_text_is_refused_and_harms_nobody(client: Client, run_id: str, metadata: Any) -> None:
    fine = asyncio.create_task(client.send(run_id, "chat", "fine"))
    with pytest.raises(TypeError):
        await client.send(run_id, "chat", "x", metadata=metadata)
    assert (await fine).seq == 1


async def test_a_finished_run_takes_no_more(client: Client, run_id: str) -> None:
    await client.send(run_id, "chat", "a", key="k")
    await client.cancel_run(run_id)
    with pytest.raises(midstream.RunFinished) as caught:
        await client.send(run_id, "chat", "b")
    assert caught.value.metadata["state"] == "CANCELLED"
    assert (await client.send(run_id, "chat", "a", key="k")).deduplicated  # a retry after the run has ended


async def test_many_records_keep_their_order_and_each_has_its_result(client: Client, run_id: str) -> None:
    values: list[Any] = [*range(2_500), object(), *range(2_500, 3_000)]
    results = await client.send_many(run_id, "numbers", values)
    assert [index for index, result in enumerate(results) if not result.ok] == [2_500]
    with pytest.raises(midstream.PayloadError, match="numbers"):
        results[2_500].unwrap()
    assert [result.unwrap().seq for result in results if result.ok] == list(range(1, 3_001))
    assert [record.value for record in await stored(client, run_id, "numbers")] == list(range(3_000))


async def test_many_records_may_come_from_an_async_generator(client: Client, run_id: str) -> None:
    async def values() -> AsyncIterator[int]:
        for number in range(50):
            await asyncio.sleep(0)
            yield number

    results = await client.send_many(run_id, "numbers", values())
    assert [result.unwrap().seq for result in results] == list(range(1, 51))
    assert await client.send_many(run_id, "numbers", []) == []


async def test_an_error_of_the_values_own_is_raised(client: Client, run_id: str) -> None:
    def values() -> Iterator[int]:
        yield 1
        raise LookupError("nothing left")

    with pytest.raises(LookupError):
        await client.send_many(run_id, "numbers", values())
    assert (await client.send(run_id, "numbers", 2)).seq == 2


async def test_sends_begun_in_order_are_stored_in_order(client: Client, run_id: str) -> None:
    receipts = await asyncio.gather(*(client.send(run_id, f"s{number % 3}", number) for number in range(3_000)))
    assert [receipt.seq for receipt in receipts] == [number // 3 + 1 for number in range(3_000)]


async def test_a_cancelled_send_leaves_the_others_alone(client: Client, run_id: str) -> None:
    sends = [asyncio.create_task(client.send(run_id, "chat", number)) for number in range(100)]
    await asyncio.sleep(0)
    for send in sends[::2]:
        send.cancel()
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    assert not any(isinstance(outcome, BaseException) for outcome in outcomes[1::2])
    values = [record.value for record in await stored(client, run_id, "chat")]
    assert values == sorted(values)


async def test_a_restarted_server_gets_everything_once_and_in_order(tmp_path: Path) -> None:
    async with restartable(tmp_path) as (server, restart), midstream.connect(server.url) as client:
        run = await client.start_run("research-agent")
        begun = asyncio.Event()

        async def values() -> AsyncIterator[int]:
            for number in range(5_000):
                if number == 2_000:
                    begun.set()
                if number % 100 == 0:
                    await asyncio.sleep(0)
                yield number

        sending = asyncio.create_task(client.send_many(run.id, "numbers", values()))
        await begun.wait()
        await restart()
        results = await sending
        assert [result.unwrap().seq for result in results] == list(range(1, 5_001))
        assert [record.value for record in await stored(client, run.id, "numbers")] == list(range(5_000))


async def test_an_idle_client_survives_a_restart(tmp_path: Path) -> None:
    async with restartable(tmp_path) as (server, restart), midstream.connect(server.url) as client:
        run = await client.start_run("research-agent")
        assert (await client.send(run.id, "chat", 1)).seq == 1
        await restart()
        assert (await client.send(run.id, "chat", 2)).seq == 2


async def test_without_a_server_a_send_fails_when_its_time_is_up() -> None:
    async with midstream.connect(NOWHERE, retry_timeout="50ms") as client:
        with pytest.raises(midstream.Unavailable):
            await client.send("run_1", "chat", 1)
        results = await client.send_many("run_1", "chat", [1, 2])
        assert [type(result.error) for result in results] == [midstream.Unavailable] * 2


async def test_closing_answers_what_is_under_way(server: Server) -> None:
    client = midstream.connect(server.url)
    run = await client.start_run("research-agent")
    sends = [asyncio.create_task(client.send(run.id, "chat", number)) for number in range(500)]
    await asyncio.sleep(0)
    await client.close()
    assert [receipt.seq for receipt in await asyncio.gather(*sends)] == list(range(1, 501))
    with pytest.raises(MidstreamError, match="closed"):
        await client.send(run.id, "chat", 1)
    await client.close()


async def test_closing_fails_what_cannot_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midstream.client._DRAIN_US", 1_000)
    client = midstream.connect(NOWHERE, retry_timeout=None)
    sending = asyncio.create_task(client.send("run_1", "chat", 1))
    await asyncio.sleep(0)
    await client.close()
    with pytest.raises(midstream.Unavailable, match="closed"):
        await sending


async def test_a_close_that_is_cancelled_still_fails_what_was_not_answered() -> None:
    client = midstream.connect(NOWHERE, retry_timeout=None)
    sending = asyncio.create_task(client.send("run_1", "chat", 1))
    await asyncio.sleep(0)
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    closing.cancel()
    outcomes = await asyncio.gather(closing, sending, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError, midstream.Unavailable]


async def test_more_than_may_be_unanswered_waits_in_order(
    client: Client, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midstream.sender.MAX_UNANSWERED_RECORDS", 3)
    sends = [asyncio.create_task(client.send(run_id, "chat", number)) for number in range(40)]
    await asyncio.sleep(0)
    sends[10].cancel()
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert [index for index, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)] == [10]
    values = [record.value for record in await stored(client, run_id, "chat")]
    assert values == [number for number in range(40) if number != 10]


async def test_another_event_loop_is_told_so(client: Client, run_id: str) -> None:
    await client.send(run_id, "chat", 1)

    def elsewhere() -> None:
        asyncio.run(client.get_run(run_id))

    with pytest.raises(MidstreamError, match="another event loop"):
        await asyncio.to_thread(elsewhere)


async def test_a_stream_sends_with_the_client_of_the_block(client: Client, run_id: str) -> None:
    assert (await approval.send(run_id, Approval(approved=False))).seq == 1


async def test_a_stream_sends_without_a_block(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSTREAM_URL", server.url)
    async with midstream.connect() as client:
        run = await client.start_run("research-agent")
    receipt = await approval.send(run.id, Approval(approved=False))
    assert receipt.seq == 1
    await midstream.ambient.current_client().close()


async def test_a_thread_s_own_loop_has_a_client_of_its_own(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDSTREAM_URL", server.url)

    async def elsewhere(run_id: str) -> int:
        receipt = await approval.send(run_id, Approval(approved=True))
        await midstream.ambient.current_client().close()
        return receipt.seq

    async with midstream.connect() as client:
        run = await client.start_run("research-agent")
        # The thread's context says that it is within the block.
        assert await asyncio.to_thread(lambda: asyncio.run(elsewhere(run.id))) == 1


async def test_the_blocking_send(client: Client, server: Server, run_id: str) -> None:
    def send(stream: Any, value: Any, **options: Any) -> midstream.Receipt:
        return midstream.send(run_id, stream, value, url=server.url, **options)

    first = await asyncio.to_thread(send, approval, Approval(approved=True), key="k", metadata={"a": "b"})
    again = await asyncio.to_thread(send, approval, Approval(approved=True), key="k")
    assert (first.seq, again.seq, again.deduplicated) == (1, 1, True)
    with pytest.raises(midstream.RunNotFound):
        await asyncio.to_thread(midstream.send, "run_unknown", "chat", 1, url=server.url)
    with pytest.raises(midstream.PayloadError):
        midstream.send(run_id, approval, {"approved": 5}, url=server.url)
    with pytest.raises(midstream.Unavailable):
        midstream.send(run_id, "chat", 1, url=NOWHERE, timeout="10ms")
