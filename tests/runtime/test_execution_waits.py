"""Receiving in a task: what a wait gets, what it leaves, and what it may race with."""

import asyncio
from typing import Any

from midstream import Context, input_stream, task, wait_any
from midstream.runtime.entries import timer_fired
from support.script import Script

message, approval, other = input_stream("message"), input_stream("approval"), input_stream("other")


def test_records_sent_while_queued_are_there_in_the_first_line() -> None:
    @task
    async def first_line(ctx: Context) -> Any:
        return [message.peek(), await message.drain(), message.peek("none")]

    script = Script(first_line, begin=False)
    script.send("message", 1)
    script.send("message", 2)
    script.begin()
    assert script.result == [2, [1, 2], "none"]


def test_every_value_round_trips_on_every_view() -> None:
    values: list[Any] = [None, False, 0, "", "ü\u0000", {"a": []}]

    @task
    async def views(ctx: Context) -> Any:
        heard: list[Any] = []
        other.on(heard.append)
        got = [(await message.wait()).unwrap() for _ in values]
        record = approval.peek_record()
        return [got, heard, record is not None, approval.peek("default")]

    script = Script(views)
    script.send("approval", None)
    for value in values:
        script.send("other", value)
        script.send("message", value)
    assert script.result == [values, values, True, None]


def test_on_before_a_wait_still_fires_after_it() -> None:
    @task
    async def both(ctx: Context) -> Any:
        heard: list[Any] = []
        message.on(heard.append)
        answer = (await approval.wait()).unwrap()
        await approval.wait()
        return [answer, heard]

    script = Script(both)
    script.send("message", 1)
    script.send("approval", "yes")
    script.send("message", 2)
    assert script.execution.suspendable
    assert script.execution.listening == {"approval", "message"}
    script.send("approval", "end")
    assert script.result == ["yes", [1, 2]]


def test_on_then_once_in_one_turn_both_get_it() -> None:
    @task
    async def both(ctx: Context) -> Any:
        heard: list[Any] = []
        message.on(heard.append)
        return [(await message.once()).unwrap(), heard]

    script = Script(both)
    assert not script.execution.suspendable, "once keeps the process"
    script.send("message", 7)
    assert script.result == [7, [7]]


def test_a_send_that_races_the_next_wait_is_kept_for_it() -> None:
    @task
    async def twice(ctx: Context) -> Any:
        return [(await approval.wait()).unwrap(), (await approval.wait()).unwrap()]

    script = Script(twice)
    script.send("approval", 1)
    script.send("approval", 2)
    assert script.result == [1, 2]


def test_two_sends_for_one_wait_leave_one_unconsumed() -> None:
    @task
    async def one(ctx: Context) -> Any:
        answer = (await approval.wait()).unwrap()
        await ctx.step(lambda: None, name="after")
        return answer

    script = Script(one)
    script.send("approval", 1)
    script.send("approval", 2)
    script.run_step("after")
    assert script.result == 1
    assert script.consumed == {"approval": 1}


def test_the_timeout_first_in_the_log_wins_and_swallows_nothing() -> None:
    @task
    async def late(ctx: Context) -> Any:
        first = await approval.wait(timeout=5)
        return [first.ok, ctx.now().timestamp(), (await approval.wait()).unwrap()]

    script = Script(late)
    script.fire()
    script.send("approval", "late", after=1)
    assert script.result == [False, 1767225605.0, "late"]


def test_data_first_in_the_log_wins_and_the_timer_that_fires_all_the_same_does_nothing() -> None:
    @task
    async def early(ctx: Context) -> Any:
        answer = await approval.wait(timeout=5)
        second = await approval.wait(timeout="1h")
        return [answer.unwrap(), second.ok]

    script = Script(early)
    script.now_us += 5_000_000
    [operation] = script.execution.timers
    script.send("approval", "in time")
    script.append(timer_fired(operation, script.now_us))
    script.fire()
    assert script.result == ["in time", False]


def test_a_timeout_of_zero_takes_what_is_there() -> None:
    @task
    async def now(ctx: Context) -> Any:
        return [(await message.wait(timeout=0)).ok, (await approval.once(timeout=0)).output]

    script = Script(now, begin=False)
    script.send("approval", 1)
    script.begin()
    assert script.result == [False, 1]


def test_wait_any_takes_the_lowest_offset_and_the_loser_loses_nothing() -> None:
    @task
    async def either(ctx: Context) -> Any:
        stream, result = await wait_any(message, approval)
        assert stream is not None
        rest = await message.drain()
        nothing, timed_out = await wait_any(message, approval, timeout="1m")
        return [stream.id, result.unwrap(), rest, nothing, timed_out.ok]

    script = Script(either, begin=False)
    script.send("approval", "first")
    script.send("message", "second")
    script.begin()
    assert script.execution.suspendable
    assert script.execution.listening == {"approval", "message"}
    script.fire()
    assert script.result == ["approval", "first", ["second"], None, False]


def test_a_cancelled_receive_consumes_nothing() -> None:
    @task
    async def cancels(ctx: Context) -> Any:
        waiting = asyncio.ensure_future(approval.wait())
        await message.once()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return (await approval.once()).unwrap()

    script = Script(cancels)
    script.send("message", "now")
    script.send("approval", 1)
    assert script.result == 1


def test_a_receive_cancelled_in_the_turn_that_delivers_gives_its_record_back() -> None:
    @task
    async def gives_back(ctx: Context) -> Any:
        waiting = asyncio.ensure_future(approval.once())
        await asyncio.sleep(0)
        subscription = approval.on(lambda _: waiting.cancel())
        await asyncio.wait([waiting])
        subscription.off()
        return [waiting.cancelled(), (await approval.once(timeout=0)).ok]

    script = Script(gives_back)
    script.send("approval", 1)
    assert script.result == [True, False], "the handler has consumed it"


def test_a_receive_cancelled_by_another_stream_s_handler_gives_its_record_to_the_next() -> None:
    @task
    async def gives_back(ctx: Context) -> Any:
        waiting = asyncio.ensure_future(approval.once())
        await asyncio.sleep(0)
        message.on(lambda _: waiting.cancel())
        await asyncio.wait([waiting])
        return [waiting.cancelled(), (await approval.once()).unwrap()]

    script = Script(gives_back)
    script.send("message", None)
    script.send("approval", "kept")
    assert script.result == [True, "kept"]


def test_a_failing_handler_is_reported_once_and_delivery_goes_on() -> None:
    @task
    async def fails(ctx: Context) -> Any:
        heard: list[Any] = []

        def handler(value: Any) -> None:
            heard.append(value)
            raise ValueError(f"cannot take {value}")

        message.on(handler)
        await approval.wait()
        return heard

    script = Script(fails)
    script.send("message", 1)
    [failure] = script.execution.checkpoint().handler_failures
    assert (failure.stream_id, failure.seq, failure.error_type) == ("message", 1, "ValueError")
    assert not script.execution.checkpoint().handler_failures
    script.send("message", 2)
    script.send("approval", None)
    assert script.result == [1, 2]


def test_handlers_in_progress_finish_and_what_was_not_begun_is_unconsumed() -> None:
    @task
    async def leaves(ctx: Context) -> Any:
        async def handler(value: Any) -> None:
            await ctx.step(lambda: None, name=f"audit {value}")

        message.on(handler)
        await approval.wait()
        return "left"

    script = Script(leaves)
    script.send("message", 1)
    script.send("message", 2)
    script.send("approval", None)
    assert not script.execution.ended
    script.run_step("audit 1")
    assert script.result == "left"
    assert script.consumed == {"message": 1, "approval": 1}
