"""on, once, peek, async for and drain on one stream of an attached run, against a server."""

import asyncio

import pytest
from pydantic import BaseModel

from midstream import PayloadError
from midstream.attached.subscription import WINDOW
from midstream.input_stream import input_stream
from midstream.receiving import ReceiveTimeout
from midstream.testing import LocalServer
from support.heard import Heard


class Order(BaseModel):
    item: str
    count: int = 1


numbers = input_stream("numbers", int)
orders = input_stream("orders", Order)
anything = input_stream("anything")


async def test_a_record_from_before_the_run_attached_is_seen_in_the_first_line(local: LocalServer) -> None:
    async with local.client.attach("early", task="t") as run:
        run.detach()
    await local.client.send_many("early", numbers, [1, 2, 3])
    async with local.client.attach("early"):
        assert numbers.peek() == 3
        heard = Heard[int]()
        numbers.on(heard)
        assert await heard.first(3) == [1, 2, 3]
        assert numbers.peek() is None


async def test_two_handlers_share_the_backlog(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        await local.client.send_many(run.id, numbers, [1, 2])
        first, second = Heard[int](), Heard[int]()
        numbers.on(first)
        numbers.on(second)
        assert await first.first(2) == await second.first(2) == [1, 2]


async def test_on_once_and_peek_on_one_stream(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        await local.client.send(run.id, numbers, 1)
        heard = Heard[int]()
        numbers.on(heard)
        assert (await numbers.once()).unwrap() == 1
        assert heard.values == [1]
        assert numbers.peek() is None

        pending = asyncio.ensure_future(numbers.once())
        await local.client.send(run.id, numbers, 2)
        assert (await pending).unwrap() == 2
        assert heard.values == [1, 2]


async def test_a_handler_switched_off_leaves_the_rest_to_others(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        heard = Heard[int]()
        subscription = numbers.on(heard)
        await local.client.send(run.id, numbers, 1)
        await heard.first(1)
        subscription.off()
        subscription.off()
        await local.client.send(run.id, numbers, 2)
        assert (await numbers.once()).unwrap() == 2
        assert heard.values == [1]


async def test_an_async_handler_handles_one_record_at_a_time(local: LocalServer) -> None:
    log: list[str] = []
    heard = Heard[int]()

    async def handle(number: int) -> None:
        log.append(f"begin {number}")
        await asyncio.sleep(0)
        log.append(f"end {number}")
        heard(number)

    async with local.client.attach(task="t") as run:
        numbers.on(handle)
        await local.client.send_many(run.id, numbers, [1, 2, 3])
        await heard.first(3)
    assert log == ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]


async def test_a_raising_handler_is_recorded_on_the_run_and_delivery_goes_on(local: LocalServer) -> None:
    begun = Heard[int]()

    async def bad(number: int) -> None:
        begun(number)
        raise ValueError(f"cannot do {number}")

    async with local.client.attach(task="t") as run:
        heard = Heard[int]()
        numbers.on(bad)
        numbers.on(heard)
        await local.client.send_many(run.id, numbers, [1, 2])
        await heard.first(2)
        await begun.first(2)
    info = await local.client.get_run(run.id)
    assert info.handler_failure_count == 2
    failure = info.handler_failures[0]
    assert (failure.stream_id, failure.seq, failure.error_type) == ("numbers", 1, "ValueError")
    assert failure.message == "cannot do 1"
    assert failure.handler.endswith("test_a_raising_handler_is_recorded_on_the_run_and_delivery_goes_on.<locals>.bad")
    assert info.stream("numbers").unread_count == 0


async def test_a_record_that_does_not_fit_the_type_fails_each_view_in_its_own_way(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        await local.client.send_many(run.id, "orders", [{"item": "tea"}, {"count": 2}, {"item": "milk"}, 7])
        assert await orders.drain() == [Order(item="tea")]
        result = await orders.once()
        assert not result.ok
        assert isinstance(result.error, PayloadError)
        assert result.record is not None
        assert result.record.value == {"count": 2}
        assert await orders.drain() == [Order(item="milk")]
        with pytest.raises(PayloadError):
            await orders.drain()
        assert await orders.drain() == []

        heard = Heard[Order]()
        orders.on(heard)
        await local.client.send_many(run.id, "orders", [None, {"item": "bread"}])
        assert await heard.first(1) == [Order(item="bread")]
    info = await local.client.get_run(run.id)
    assert [(failure.seq, failure.error_type) for failure in info.handler_failures] == [(5, "RecordInvalid")]


async def test_once_times_out_by_the_clock_and_never_swallows_the_next_record(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        assert (await numbers.once(timeout=0)).error is not None
        pending = asyncio.ensure_future(numbers.once(timeout="7d"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await local.advance("7d")
        result = await pending
        assert isinstance(result.error, ReceiveTimeout)
        with pytest.raises(TimeoutError, match="numbers"):
            result.unwrap()
        await local.client.send(run.id, numbers, 1)
        assert (await numbers.once()).unwrap() == 1


async def test_nonsense_is_no_timeout(local: LocalServer) -> None:
    async with local.client.attach(task="t"):
        for nonsense in ("soon", -1, float("nan"), True):
            with pytest.raises((ValueError, TypeError)):
                await numbers.once(timeout=nonsense)


async def test_timeout_zero_sees_the_backlog_that_is_still_on_its_way(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        await local.client.send(run.id, numbers, 5)
        assert (await numbers.once(timeout=0)).unwrap() == 5
        assert (await numbers.once(timeout=0)).error is not None


async def test_drain_takes_more_than_one_window(local: LocalServer) -> None:
    count = 3 * WINDOW + 7
    async with local.client.attach(task="t") as run:
        await local.client.send_many(run.id, numbers, range(count))
        assert await numbers.drain() == list(range(count))
        assert await numbers.drain() == []
    assert (await local.client.get_run(run.id)).stream("numbers").cursor == count


async def test_a_slow_consumer_holds_a_window_of_records_and_gets_them_all(local: LocalServer) -> None:
    count = 2 * WINDOW + 500
    gate = asyncio.Event()
    heard = Heard[int]()

    async def slow(number: int) -> None:
        await gate.wait()
        heard(number)

    async with local.client.attach(task="t") as run:
        numbers.on(slow)
        await local.client.send_many(run.id, numbers, range(count))
        inbox = run.inbox("numbers")
        assert inbox._buffer.backlog <= WINDOW
        gate.set()
        assert await heard.first(count) == list(range(count))
        assert inbox._buffer.backlog <= WINDOW


async def test_peek_sees_beyond_a_full_window(local: LocalServer) -> None:
    count = WINDOW + 500
    async with local.client.attach("full", task="t") as run:
        run.detach()
    await local.client.send_many("full", numbers, range(count))
    async with local.client.attach("full"):
        assert numbers.peek() == count - 1
        assert (await numbers.once()).unwrap() == 0
        assert numbers.peek() == count - 1


async def test_iterating_until_a_word_comes(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        await local.client.send_many(run.id, anything, ["a", "b", "stop", "c"])
        got = []
        async for value in anything:
            got.append(value)
            if value == "stop":
                break
        assert got == ["a", "b", "stop"]
        assert anything.peek() == "c"


async def test_receives_are_served_first_come_first_served(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        pending = [asyncio.ensure_future(numbers.once()) for _ in range(5)]
        await asyncio.sleep(0)
        await local.client.send_many(run.id, numbers, range(5))
        assert [(await each).unwrap() for each in pending] == [0, 1, 2, 3, 4]


async def test_a_receive_cancelled_in_the_turn_that_delivers_gives_its_record_back(local: LocalServer) -> None:
    async with local.client.attach(task="t") as run:
        receiving = asyncio.ensure_future(numbers.once())
        await asyncio.sleep(0)
        (delivery,) = run.inbox("numbers")._pending
        sending = asyncio.ensure_future(local.client.send_many(run.id, numbers, [1, 2]))
        # This task gets its turn between the hand-over and the receiver's wake-up.
        while not delivery.done():  # noqa: ASYNC110 - an event would come a turn too late
            await asyncio.sleep(0)
        assert receiving.cancel()
        await sending
        with pytest.raises(asyncio.CancelledError):
            await receiving
        heard = Heard[int]()
        numbers.on(heard)
        assert await heard.first(2) == [1, 2]


async def test_waiting_is_not_for_attached_runs(local: LocalServer) -> None:
    async with local.client.attach(task="t"):
        with pytest.raises(RuntimeError, match="nothing could restart this process"):
            await numbers.wait(timeout="7d")


async def test_outside_a_run_the_error_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"async with client\.attach"):
        numbers.peek()
    with pytest.raises(ValueError, match="cannot name a stream"):
        input_stream("no blanks")
