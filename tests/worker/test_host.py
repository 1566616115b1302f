"""What a host does with the frames of its run, turn by turn, on a log in memory."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from midstream import input_stream
from midstream.runtime.context import Context
from midstream.runtime.errors import StepFailed
from midstream.runtime.step_function import step_key
from midstream.task import Task, task
from midstream.v1.entry_pb2 import Entry
from support.host_on_memory import MemoryRun

go = input_stream("go")
calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


async def note(value: Any) -> Any:
    calls.append(value)
    return value


def note_in_thread(value: Any) -> Any:
    calls.append(threading.current_thread() is threading.main_thread())
    return value


def made(function: Callable[..., Any]) -> Task[Any, Any]:
    return task("made")(function)


def result_of(run: MemoryRun) -> str:
    (finish,) = run.frames("finish")
    json: str = finish.outcome.result.json
    return json


async def test_a_step_runs_once_however_often_the_run_is_assigned() -> None:
    @made
    async def body(ctx: Context) -> Any:
        value = await ctx.step(note, 1)
        return [value, await go.wait()]

    run = MemoryRun(body)
    run.assign()
    await run.until(lambda: len(run.log) == 3)
    run.assign()
    run.assign()
    run.record("go", '"x"')
    await run.frame("finish")
    assert calls == [1]


async def test_a_plain_function_runs_in_a_thread() -> None:
    @made
    async def body(ctx: Context) -> Any:
        return await ctx.step(note_in_thread, "value")

    run = MemoryRun(body)
    run.assign()
    await run.frame("finish")
    assert result_of(run) == '"value"'
    assert calls == [False]


async def test_what_was_lost_is_said_again_on_the_next_call() -> None:
    @made
    async def body(ctx: Context) -> Any:
        return await ctx.step(note, 1)

    run = MemoryRun(body)
    run.assign()
    run.lost = True
    await run.frame("append")
    assert len(run.log) == 2
    run.reopen()
    await run.frame("append", 2)
    run.reopen()  # an append said twice is answered once
    await run.frame("finish")
    assert calls == [1]
    run.reopen()
    assert [frame.outcome.result.json for frame in run.frames("finish")] == ["1", "1"]


async def test_an_entry_that_comes_twice_is_applied_once() -> None:
    @made
    async def body(ctx: Context) -> Any:
        return [(await go.wait()).unwrap() for _ in range(2)]

    run = MemoryRun(body)
    run.assign()
    run.record("go", "1")
    run.tell(run.log)
    run.record("go", "2")
    await run.frame("finish")
    assert result_of(run) == "[1,2]"


async def test_it_suspends_when_it_has_been_idle() -> None:
    @made
    async def body(ctx: Context) -> Any:
        return (await go.wait(timeout="1h")).ok

    run = MemoryRun(body, idle_timeout_us=5_000_000)
    run.assign()
    await asyncio.sleep(0)
    run.clock.advance(4_999_999)
    await asyncio.sleep(0)
    assert not run.frames("suspend")
    run.clock.advance(1)
    suspend = await run.frame("suspend")
    assert list(suspend.listening) == ["go"]
    (timer,) = suspend.timers
    assert timer.due_time.ToMicroseconds() == run.log[0].append_time.ToMicroseconds() + 3_600_000_000
    assert suspend.checkpoint.applied_offset == 2
    run.host.close()


async def test_a_refused_suspension_keeps_it_warm() -> None:
    @made
    async def body(ctx: Context) -> Any:
        return (await go.wait()).unwrap()

    run = MemoryRun(body, idle_timeout_us=0)
    run.assign()
    await run.frame("suspend")
    run.record("go", "7")
    assert not run.frames("finish")  # the answer to `suspend` has not come
    run.refuse_suspension()
    await run.frame("finish")
    assert result_of(run) == "7"


async def test_a_timer_is_asked_for_when_it_is_due_by_the_servers_time() -> None:
    @made
    async def body(ctx: Context) -> Any:
        await asyncio.sleep(60)

    run = MemoryRun(body, idle_timeout_us=10_000_000_000)
    run.assign()
    await asyncio.sleep(0)
    run.clock.advance(59_999_999)
    await asyncio.sleep(0)
    assert not run.frames("append")
    run.clock.advance(1)
    await run.frame("finish")
    assert [entry.WhichOneof("fact") for entry in run.log] == ["created", "started", "timer_fired"]


async def test_a_clock_ahead_of_the_servers_asks_again() -> None:
    @made
    async def body(ctx: Context) -> Any:
        await asyncio.sleep(60)

    run = MemoryRun(body, idle_timeout_us=10_000_000_000)
    for entry in run.log:
        entry.append_time.FromMicroseconds(run.clock.now_us() - 30_000_000)
    run.assign()
    await asyncio.sleep(0)
    run.clock.advance(30_000_000)
    (append,) = [await run.frame("append")]
    assert append.entry.HasField("timer_fired")
    await run.frame("finish")


async def test_a_cancelled_step_is_aborted_at_once() -> None:
    aborted = asyncio.Event()
    running = asyncio.Event()

    async def endless() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            aborted.set()

    @made
    async def body(ctx: Context) -> Any:
        step = asyncio.ensure_future(ctx.step(endless))
        go.on(lambda value: step.cancel())
        try:
            await step
        except asyncio.CancelledError:
            return "stopped"

    run = MemoryRun(body)
    run.assign()
    await running.wait()
    run.record("go", "1")
    await aborted.wait()
    await run.frame("finish")
    assert result_of(run) == '"stopped"'
    assert not run.frames("append")


async def test_cancelling_the_run_aborts_its_steps() -> None:
    running, aborted = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            aborted.set()

    @made
    async def body(ctx: Context) -> Any:
        await ctx.step(endless)

    run = MemoryRun(body)
    run.assign()
    await running.wait()
    run.append(Entry(cancel_requested=Entry.CancelRequested()))
    await aborted.wait()
    assert (await run.frame("finish")).outcome.HasField("cancelled")


async def test_an_at_most_once_step_begins_in_the_log_and_is_interrupted_by_its_loss() -> None:
    running = asyncio.Event()

    async def endless() -> None:
        calls.append("began")
        running.set()
        await asyncio.Event().wait()

    @made
    async def body(ctx: Context) -> Any:
        try:
            await ctx.step(endless, at_most_once=True)
        except StepFailed as error:
            return error.error_type

    run = MemoryRun(body)
    run.assign()
    await running.wait()
    assert run.log[2].HasField("step_began")
    run.assign()
    await run.frame("finish")
    assert result_of(run) == '"StepInterrupted"'
    assert calls == ["began"]


async def test_a_failed_step_is_tried_again_after_its_delay() -> None:
    async def fails_once() -> str:
        calls.append(step_key())
        if len(calls) == 1:
            raise ValueError("not yet")
        return "now"

    @made
    async def body(ctx: Context) -> Any:
        return await ctx.step(fails_once, retry=2)

    run = MemoryRun(body)
    run.assign()
    await run.until(lambda: len(run.log) == 3)
    assert len(calls) == 1
    await asyncio.sleep(0)
    run.clock.advance(1_000_000)
    await run.frame("finish")
    assert result_of(run) == '"now"'
    assert calls == ["run_1:0:0:fails_once"] * 2


async def test_a_step_has_its_timeout() -> None:
    async def endless() -> None:
        await asyncio.Event().wait()

    @made
    async def body(ctx: Context) -> Any:
        try:
            await ctx.step(endless, timeout="1ms")
        except StepFailed as error:
            return error.error_type

    run = MemoryRun(body)
    run.assign()
    await run.frame("finish")
    assert result_of(run) == '"TimeoutError"'


async def test_other_code_blocks_the_run_and_shows_both_sides() -> None:
    @made
    async def before(ctx: Context) -> Any:
        await ctx.step(note, 1, name="research")
        await go.wait()

    @made
    async def after(ctx: Context) -> Any:
        await go.wait()

    run = MemoryRun(before)
    run.assign()
    await run.until(lambda: len(run.log) == 3)
    run.assign(after)
    block = await run.frame("block")
    assert block.failure.error_type == "Diverged"
    assert "research" in block.failure.message
    assert "wait 'go'" in block.failure.message


async def test_a_restart_that_was_lost_is_left_to_the_log() -> None:
    @made
    async def body(ctx: Context, payload: int) -> Any:
        if payload == 0:
            ctx.restart_with(1)

    run = MemoryRun(body, "0")
    run.assign()
    assert (await run.frame("restart")).payload.json == "1"
    run.reopen()
    release = await run.frame("release")
    assert not release.died
    assert len(run.frames("restart")) == 1


async def test_what_was_consumed_is_reported_now_and_then() -> None:
    @made
    async def body(ctx: Context) -> Any:
        go.on(calls.append)
        await asyncio.Event().wait()

    run = MemoryRun(body)
    run.assign()
    for number in range(501):
        run.record("go", str(number))
    (progress,) = run.frames("progress")
    assert progress.checkpoint.consumed[0].cursor == 500
    await asyncio.sleep(0)
    run.lost = True
    run.clock.advance(1_000_000)
    assert (await run.frame("progress", 2)).checkpoint.consumed[0].cursor == 501
    run.reopen()  # that one was lost
    assert (await run.frame("progress", 3)).checkpoint.consumed[0].cursor == 501
    run.host.close()


async def test_logs_are_quiet_while_the_task_replays(caplog: pytest.LogCaptureFixture) -> None:
    from midstream.worker.run_log import RunFilter

    caplog.handler.addFilter(RunFilter())
    caplog.set_level(logging.INFO)

    @made
    async def body(ctx: Context) -> Any:
        logging.getLogger("mine").info("begun")
        ctx.log.info("begun too")
        for _ in range(2):
            await go.wait()
            logging.getLogger("mine").info("heard")

    run = MemoryRun(body, idle_timeout_us=0)
    run.assign()
    await run.frame("suspend")
    run.lost = True
    run.record("go", "1")
    run.assign()  # the run was suspended before that record: the turn that takes it is new
    run.record("go", "2")
    run.refuse_suspension()
    await run.frame("finish")
    assert [(record.message, getattr(record, "run_id", None)) for record in caplog.records] == [
        ("begun", "run_1"),
        ("begun too", "run_1"),
        ("heard", "run_1"),
        ("heard", "run_1"),
    ]
