"""Steps: recorded once, the same live and replayed, tried again, run at most once, cancelled."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from midstream import Context, Retry, StepFailed, StepInterrupted, input_stream, step, step_key, task
from midstream.runtime.execution import Execution
from midstream.runtime.pending_step import FunctionCall
from midstream.v1.run_service_pb2 import StartRunRequest
from midstream.v1.stream_service_pb2 import SendOneRequest
from support.script import START_US, Script

stop = input_stream("stop")


class Draft(BaseModel):
    text: str


@step
async def research(topic: str) -> Draft:
    return Draft(text=topic)


@step(retry=Retry(max_attempts=3, first_delay="1s", factor=3), raises=(ValueError,))
def flaky() -> int:
    raise ValueError("flaky")


def test_a_result_is_typed_and_has_been_through_its_serial_form() -> None:
    @task
    async def steps(ctx: Context) -> Any:
        plain = await ctx.step(lambda: {"pair": (1, 2)}, name="plain")
        draft = await research("tea")
        raw = await ctx.step(lambda: b"\x00", name="raw")
        return [plain, type(draft).__name__, draft.text, type(raw).__name__]

    script = Script(steps)
    script.run_step("plain")
    step = script.step("research")
    assert isinstance(step.call, FunctionCall)
    assert step.call.args == ("tea",)
    assert step.key == "run_1:0:1:research"
    script.append(step.returned(Draft(text="leaves")))
    script.run_step("raw")
    assert script.result == [{"pair": [1, 2]}, "Draft", "leaves", "bytes"]


def test_a_step_called_outside_a_run_is_just_the_function() -> None:
    assert asyncio.run(research("tea")) == Draft(text="tea")
    with pytest.raises(RuntimeError, match="in a step's own code"):
        step_key()


def test_arguments_are_copied_when_the_step_is_issued_and_for_each_attempt() -> None:
    def grow(items: list[int]) -> int:
        items.append(0)
        if len(items) < 5:
            raise ValueError(len(items))
        return len(items)

    @task
    async def copies(ctx: Context) -> Any:
        notes = [1, 2]
        growing = asyncio.create_task(ctx.step(grow, notes, retry=2))
        await asyncio.sleep(0)
        notes.append(3)
        try:
            await growing
        except StepFailed as failed:
            return [notes, failed.message]

    script = Script(copies)
    script.run_step("grow")
    script.run_step("grow")
    assert script.result == [[1, 2, 3], "3"]


def test_arguments_that_cannot_be_copied_are_refused() -> None:
    @task
    async def holds_a_lock(ctx: Context) -> Any:
        import threading

        await ctx.step(print, threading.Lock())

    kind, message = Script(holds_a_lock).error
    assert kind == "TypeError"
    assert "make what they hold inside the step" in message


def test_a_failed_step_is_tried_again_after_growing_waits_then_raises_what_it_declares() -> None:
    @task
    async def tries(ctx: Context) -> Any:
        try:
            return await flaky()
        except ValueError as error:
            return [str(error), ctx.now().timestamp()]

    script = Script(tries)
    waits = []
    for attempt in (1, 2, 3):
        pending = script.step("flaky")
        assert pending.attempt == attempt
        waits.append(max(0, pending.not_before_us - script.now_us))
        script.now_us += waits[-1]
        script.run_step("flaky")
    assert waits == [0, 1_000_000, 3_000_000]
    assert script.result == ["flaky", START_US / 1e6 + 4]


def test_a_second_result_of_one_attempt_changes_nothing() -> None:
    @task
    async def once(ctx: Context) -> Any:
        first = await ctx.step(lambda: 1, name="first", retry=2)
        return [first, await ctx.step(lambda: 2, name="second")]

    script = Script(once)
    pending = script.step("first")
    script.append(pending.raised(OSError("lost")))
    pending.attempt = 1
    script.append(pending.raised(OSError("lost, told twice")))
    pending.attempt = 2
    script.append(pending.returned("result"))
    script.append(pending.returned("another"))
    script.run_step("second")
    assert script.result == ["result", 2]


def test_a_value_without_a_serial_form_is_the_step_s_failure() -> None:
    @task
    async def returns_a_socket(ctx: Context) -> Any:
        await ctx.step(object, name="object")

    script = Script(returns_a_socket)
    script.run_step("object")
    assert script.error[0] == "StepFailed"
    assert "PayloadError" in script.error[1]


def test_a_step_at_most_once_is_interrupted_where_another_epoch_began_it() -> None:
    @task
    async def charges(ctx: Context) -> Any:
        try:
            return await ctx.step(lambda: "charged", name="charge", at_most_once=True)
        except StepInterrupted as error:
            return error.step

    script = Script(charges)
    pending = script.step("charge")
    assert pending.at_most_once
    assert pending.begun_epoch is None
    script.append(pending.began(4))
    assert script.step("charge").begun_epoch == 4
    script.append(pending.interrupted())
    assert script.result == "charge"
    with pytest.raises(ValueError, match="cannot be tried again"):
        step(at_most_once=True, retry=2)


def test_a_handler_cancels_a_running_step() -> None:
    @task
    async def generates(ctx: Context) -> Any:
        generating = asyncio.ensure_future(ctx.step(lambda: "text", name="generate"))
        stop.on(lambda _: generating.cancel())
        try:
            return await generating
        except asyncio.CancelledError:
            return "stopped"

    script = Script(generates)
    pending = script.step("generate")
    script.send("stop", None)
    assert pending.cancelled
    assert script.execution.cancelled_steps == {1}
    script.append(pending.returned("too late"))
    assert script.result == "stopped"


def test_cancel_raises_once_cancels_steps_and_lets_clean_up_use_steps() -> None:
    @task
    async def cleans(ctx: Context) -> Any:
        background = asyncio.create_task(ctx.step(lambda: 1, name="background"))
        try:
            await ctx.step(lambda: 1, name="work")
        except asyncio.CancelledError:
            return [background.cancelled() or background.cancelling(), await ctx.step(lambda: "clean", name="clean")]

    script = Script(cleans)
    script.cancel()
    assert script.execution.cancelled_steps == {0, 1}
    assert [pending.name for pending in script.execution.steps.values()] == ["clean"]
    script.run_step("clean")
    assert script.execution.outcome is not None
    assert script.execution.outcome.HasField("result"), "a run that returns a value is COMPLETED"


def test_a_cancelled_run_that_does_not_return_is_cancelled() -> None:
    @task
    async def waits(ctx: Context) -> Any:
        await stop.wait()

    script = Script(waits)
    script.cancel()
    assert script.execution.outcome is not None
    assert script.execution.outcome.HasField("cancelled")
    assert script.replayed().outcome == script.execution.outcome


def test_send_and_start_run_are_steps_with_a_key_of_their_own() -> None:
    @task
    async def calls(ctx: Context) -> Any:
        await stop.send("run_2", "halt")
        await calls.start(run_id="run_3")

    script = Script(calls)
    [send] = script.execution.steps.values()
    assert isinstance(send.call, SendOneRequest)
    assert (send.call.run_id, send.call.stream_id) == ("run_2", "stop")
    assert send.call.records[0].idempotency_key == "run_1:0:0:send"
    from midstream.v1.stream_service_pb2 import Accepted

    script.append(send.returned(Accepted(seq=1)))
    [start] = script.execution.steps.values()
    assert isinstance(start.call, StartRunRequest)
    assert (start.call.run_id, start.call.spec.task) == ("run_3", "calls")


def test_a_restart_begins_anew_with_the_records_that_are_left() -> None:
    @task
    async def restarts(ctx: Context, payload: Any) -> Any:
        if ctx.generation == 0:
            first = (await stop.wait()).unwrap()
            async with asyncio.TaskGroup():
                ctx.restart_with({"first": first})
        return [payload, await stop.drain(), ctx.run_id]

    script = Script(restarts)
    script.send("stop", 1)
    execution = script.execution
    assert execution.ended
    assert execution.outcome is None
    assert execution.restart is not None
    script.send("stop", 2)
    from midstream.v1.entry_pb2 import Entry

    restarted = Entry(restarted=Entry.Restarted(generation=1, payload=execution.restart))
    restarted.checkpoint.CopyFrom(execution.checkpoint_for_restart())
    restarted.offset = len(script.log) + 1
    script.log.append(restarted)
    for log in (script.log, [entry for entry in script.log if entry.offset > 3]):
        second = Execution(restarts, run_id="run_1", generation=1)
        for entry in log:
            second.apply(entry)
        assert second.outcome is not None
        assert second.outcome.result.json == '[{"first":1},[2],"run_1"]'
        [consumed] = second.checkpoint().consumed
        assert consumed.cursor == 2
