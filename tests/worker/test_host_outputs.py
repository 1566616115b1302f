"""What a host does with output records: in order, batched, before anything that comes behind them, and said again."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from midstream import PayloadError, StepFailed, input_stream, output, output_stream
from midstream.runtime.context import Context
from midstream.task import Task, task
from midstream.worker import outputs as outputs_module
from support.host_on_memory import MemoryRun

go = input_stream("go")
tokens = output_stream("tokens", str)


def made(function: Callable[..., Any]) -> Task[Any, Any]:
    return task("made")(function)


def said(run: MemoryRun) -> list[tuple[int, int, int, str]]:
    """Each record's operation, attempt, place and value, in the order in which they left."""
    return [
        (record.operation, record.attempt, record.place, record.payload.json)
        for frame in run.frames("output")
        for record in frame.records
    ]


def kinds(run: MemoryRun) -> list[str]:
    return [request.WhichOneof("frame") or "" for request in run.asked]


async def tell(text: str) -> str:
    for letter in text:
        tokens.append(letter)
    return text


async def test_what_a_task_appends_is_an_operation() -> None:
    @made
    async def body(ctx: Context) -> Any:
        ctx.output("status").append({"at": 1})
        await ctx.step(tell, "ab")
        ctx.output(tokens).append("c")

    run = MemoryRun(body)
    run.assign()
    await run.frame("finish")
    assert said(run) == [(0, 0, 0, '{"at":1}'), (1, 1, 0, '"a"'), (1, 1, 1, '"b"'), (2, 0, 0, '"c"')]
    assert [record.stream_id for frame in run.frames("output") for record in frame.records][:2] == ["status", "tokens"]


async def test_records_go_out_before_what_comes_behind_them() -> None:
    @made
    async def body(ctx: Context) -> Any:
        tokens.append("begin")
        await ctx.step(tell, "ab")
        tokens.append("end")

    run = MemoryRun(body)
    run.assign()
    await run.frame("finish")
    assert kinds(run) == ["output", "output", "append", "output", "finish"]


async def test_a_run_neither_ends_nor_is_suspended_before_all_is_stored() -> None:
    @made
    async def body(ctx: Context) -> Any:
        tokens.append("begin")
        await go.wait()
        tokens.append("end")

    run = MemoryRun(body, idle_timeout_us=0)
    run.stores_outputs = False
    run.assign()
    await run.frame("output")
    assert kinds(run) == ["output"]
    run.store_outputs()
    assert kinds(run) == ["output", "suspend"]
    run.lost = True
    run.record("go", "1")
    run.reopen()
    run.refuse_suspension()
    await run.frame("output", 2)
    assert run.frames("finish") == []
    run.store_outputs()
    await run.frame("finish")


async def test_a_replay_says_again_what_the_last_suspension_has_not_covered() -> None:
    @made
    async def body(ctx: Context) -> Any:
        tokens.append("a")
        await go.wait()
        tokens.append("b")
        await go.wait()

    run = MemoryRun(body)
    run.assign()
    run.record("go", "1")
    await run.until(lambda: len(said(run)) == 2)
    run.asked.clear()
    run.assign()
    await run.until(lambda: len(said(run)) == 2)
    assert [value for *_, value in said(run)] == ['"a"', '"b"']
    run.clock.advance(1_000_000)
    await run.frame("suspend")
    run.asked.clear()
    run.assign()
    run.record("go", "2")
    await run.frame("finish")
    assert said(run) == []


async def test_what_was_lost_is_said_again_in_front_of_what_followed() -> None:
    @made
    async def body(ctx: Context) -> Any:
        tokens.append("a")
        return await ctx.step(tell, "b")

    run = MemoryRun(body)
    run.stores_outputs = False
    run.assign()
    run.lost = True
    await run.frame("append")
    lost = kinds(run)
    run.asked.clear()
    run.stores_outputs = True
    run.reopen()
    await run.frame("finish")
    assert kinds(run)[: len(lost)] == lost == ["output", "output", "append"]
    assert [value for *_, value in said(run)] == ['"a"', '"b"']


async def test_each_attempt_counts_its_places_anew() -> None:
    attempts = 0

    async def flaky() -> None:
        nonlocal attempts
        attempts += 1
        await tell("ab")
        if attempts == 1:
            raise OSError("once")

    @made
    async def body(ctx: Context) -> Any:
        await ctx.step(flaky, retry=2)

    run = MemoryRun(body)
    run.assign()
    await run.until(lambda: len(run.log) == 3)
    run.clock.advance(10_000_000)
    await run.frame("finish")
    assert [(attempt, place) for _, attempt, place, _ in said(run)] == [(1, 0), (1, 1), (2, 0), (2, 1)]


async def test_many_records_share_frames_and_few_frames_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "_FRAME_RECORDS", 10)

    async def much() -> None:
        for number in range(100):
            output("out").append(number)
            if number % 20 == 0:
                await asyncio.sleep(0)
        await output("out").flush()

    @made
    async def body(ctx: Context) -> Any:
        await ctx.step(much)

    run = MemoryRun(body)
    run.stores_outputs = False
    run.assign()
    await run.frame("output", 4)
    assert len((await run.frame("output")).records) == 1
    while not run.frames("finish"):
        run.store_outputs()
        await asyncio.sleep(0)
    assert [place for _, _, place, _ in said(run)] == list(range(100))
    assert [frame.number for frame in run.frames("output")] == list(range(1, len(run.frames("output")) + 1))
    assert max(len(frame.records) for frame in run.frames("output")) == 10


async def test_a_frame_is_bounded_and_a_large_record_travels_alone() -> None:
    async def large() -> None:
        for size in (10, 700_000, 700_000, 10):
            output("out").append("x" * size)

    @made
    async def body(ctx: Context) -> Any:
        await ctx.step(large)

    run = MemoryRun(body)
    run.assign()
    await run.frame("finish")
    assert [len(frame.records) for frame in run.frames("output")] == [2, 2]


async def test_a_thread_waits_while_too_much_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "_FULL_BYTES", 1_000)
    told = 0

    def much() -> None:
        nonlocal told
        for _ in range(50):
            output("out").append("x" * 100)
            told += 1

    @made
    async def body(ctx: Context) -> Any:
        await ctx.step(much)

    run = MemoryRun(body)
    run.stores_outputs = False
    run.assign()
    await run.frame("output")
    while not run.frames("finish"):
        assert told <= run.outputs_stored + 10
        run.store_outputs()
        await asyncio.sleep(0)
    assert [place for _, _, place, _ in said(run)] == list(range(50))


async def test_async_code_is_refused_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs_module, "_TOO_MUCH_BYTES", 1_000)

    async def greedy() -> None:
        while True:
            output("out").append("x" * 100)

    async def patient() -> None:
        for _ in range(50):
            output("out").append("x" * 100)
            await output("out").flush()

    @made
    async def body(ctx: Context) -> Any:
        await ctx.step(patient)
        try:
            await ctx.step(greedy)
        except StepFailed as error:
            return error.message

    run = MemoryRun(body)
    run.assign()
    finish = await run.frame("finish")
    assert "await output.flush()" in finish.outcome.result.json


async def test_what_has_ended_appends_no_more() -> None:
    left: list[threading.Thread] = []
    gate = threading.Event()
    problems: list[str] = []

    def leave_a_thread() -> None:
        import contextvars

        def late() -> None:
            gate.wait()
            try:
                output("out").append("late")
            except RuntimeError as error:
                problems.append(str(error))

        thread = threading.Thread(target=contextvars.copy_context().run, args=(late,))
        thread.start()
        left.append(thread)

    @made
    async def body(ctx: Context) -> Any:
        await ctx.step(leave_a_thread)

    run = MemoryRun(body)
    run.assign()
    await run.frame("finish")
    gate.set()
    left[0].join()
    assert said(run) == []
    assert "the step has ended" in problems[0]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("x" * (1024 * 1024 + 1), PayloadError, "too large"),
        (object(), PayloadError, "stream 'out'"),
        (b"x" * (1024 * 1024 + 1), PayloadError, "1048577 bytes"),
    ],
)
async def test_what_cannot_be_stored_is_an_error_at_the_append(
    value: Any, error: type[Exception], message: str
) -> None:
    @made
    async def body(ctx: Context) -> Any:
        with pytest.raises(error, match=message):
            ctx.output("out").append(value)
        with pytest.raises(ValueError, match="metadata"):
            ctx.output("out").append(1, metadata={"k": "x" * 9_000})
        ctx.output("out").append(b"x" * 1024 * 1024)
        return "went on"

    run = MemoryRun(body)
    run.assign()
    assert (await run.frame("finish")).outcome.result.json == '"went on"'
    assert len(said(run)) == 1


async def test_outside_of_steps_nothing_is_flushed() -> None:
    @made
    async def body(ctx: Context) -> Any:
        await tokens.flush()

    run = MemoryRun(body)
    run.assign()
    assert "is for the code of steps" in (await run.frame("finish")).outcome.failure.message


def test_outside_of_runs_nothing_is_appended() -> None:
    with pytest.raises(RuntimeError, match="outside a run"):
        tokens.append("x")
    with pytest.raises(ValueError, match="cannot name a stream"):
        output_stream("no name")


async def test_what_the_server_refuses_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    @made
    async def body(ctx: Context) -> Any:
        tokens.append("x")

    run = MemoryRun(body)
    run.stores_outputs = False
    run.assign()
    await run.frame("output")
    run.store_outputs(refusal="payload: is wrong")
    await run.frame("finish")
    assert "payload: is wrong" in caplog.text
