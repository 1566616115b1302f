"""What a new generation begins with: what the ones before it left, and their language."""

import asyncio
from typing import Any

import pytest

from midstream.input_stream import input_stream
from midstream.runtime.context import Context
from midstream.runtime.errors import OtherRuntime
from midstream.runtime.execution import Execution
from midstream.task import task
from midstream.v1.entry_pb2 import Checkpoint, Entry
from support.script import Script

chat = input_stream("chat")
approval = input_stream("approval")


async def _slow(ctx: Context, value: Any) -> None:
    await ctx.step(lambda: value, name="slow")


@task
async def overtakes(ctx: Context, payload: Any) -> Any:
    """A receive takes the third record while the second waits for a handler that is busy with the first."""
    if ctx.generation == 0:
        chat.on(lambda value: _slow(ctx, value))
        await approval.wait()
        ctx.restart_with({"took": (await chat.once()).unwrap()})
    return [payload["took"], await chat.drain()]


@task
async def comes_later(ctx: Context, payload: Any) -> Any:
    """A second handler gets what comes when the first one has the rest."""
    if ctx.generation == 0:
        heard: list[Any] = []
        chat.on(lambda value: _slow(ctx, value))
        await approval.wait()
        chat.on(heard.append)
        await approval.wait()
        ctx.restart_with({"took": heard[0]})
    return [payload["took"], await chat.drain()]


@task
async def waits_for_the_rest(ctx: Context, payload: Any) -> Any:
    if ctx.generation == 0:
        chat.on(lambda value: _slow(ctx, value))
        await approval.wait()
        ctx.restart_with([(await chat.once()).unwrap()])
    return payload + [(await chat.wait()).unwrap() for _ in range(3)]


@task
async def restarts_again(ctx: Context, payload: Any) -> Any:
    """The generation in between takes nothing."""
    if ctx.generation == 0:
        chat.on(lambda value: _slow(ctx, value))
        await approval.wait()
        payload = [(await chat.once()).unwrap()]
    if ctx.generation < 2:
        ctx.restart_with(payload)
    return [*payload, await chat.drain()]


@task
async def gives_the_first_back(ctx: Context, payload: Any) -> Any:
    """In one turn a `drain` has got the first record, a handler the second, and the drain is cancelled."""
    if ctx.generation == 0:
        heard: list[Any] = []

        def on_approval(value: Any) -> None:
            heard.append(value)
            if len(heard) == 1:
                chat.on(lambda value: None)
            else:
                draining.cancel()

        draining = asyncio.ensure_future(chat.drain())
        approval.on(on_approval)
        await asyncio.wait([draining])
        ctx.restart_with(None)
    return await chat.drain()


def _overtaken(task_: Any) -> Script:
    script = Script(task_)
    for value in (1, 2):
        script.send("chat", value)
    script.send("approval", None)
    script.send("chat", 3)
    return script


def _restarted(execution: Execution, log: list[Entry], *, runtime: str = "") -> Entry:
    """As the server answers the restart."""
    assert execution.restart is not None
    restarted = Entry.Restarted(generation=execution.generation + 1, payload=execution.restart, runtime=runtime)
    entry = Entry(offset=len(log) + 1, restarted=restarted, checkpoint=execution.checkpoint_for_restart())
    entry.append_time.CopyFrom(log[-1].append_time)
    return entry


def _begun(task_: Any, log: list[Entry]) -> list[Execution]:
    """The generation that the log ends with, from all of it and from what the server sends: unread ones and the end."""
    restarted = log[-1]
    cursors = {consumed.stream_id: consumed.cursor for consumed in restarted.checkpoint.consumed}
    unread = [each for each in log if each.record.seq > cursors.get(each.record.stream_id, 0)]
    executions = []
    for entries in (log, [*unread, restarted]):
        execution = Execution(task_, run_id="run_1", generation=restarted.restarted.generation)
        execution.apply_all(entries)
        executions.append(execution)
    return executions


def _consumed(checkpoint: Checkpoint) -> dict[str, tuple[int, list[tuple[int, int]]]]:
    return {
        each.stream_id: (each.cursor, [(beyond.first_seq, beyond.last_seq) for beyond in each.beyond])
        for each in checkpoint.consumed
    }


def _result(execution: Execution) -> str:
    assert execution.outcome is not None
    return execution.outcome.result.json


def test_what_a_receive_took_before_its_turn_is_not_delivered_again() -> None:
    script = _overtaken(overtakes)
    script.run_step("slow")
    restarted = _restarted(script.execution, script.log)
    assert _consumed(restarted.checkpoint)["chat"] == (1, [(3, 3)])
    for execution in _begun(overtakes, [*script.log, restarted]):
        assert _result(execution) == "[3,[2]]"
        assert _consumed(execution.checkpoint()) == {"chat": (3, [])}


def test_what_came_behind_it_is_delivered() -> None:
    """Before the restart and after it."""
    script = _overtaken(waits_for_the_rest)
    script.run_step("slow")
    script.send("chat", 4)
    restarted = _restarted(script.execution, script.log)
    for execution in _begun(waits_for_the_rest, [*script.log, restarted]):
        assert not execution.ended
        last = script.log[-1]
        last = Entry.FromString(last.SerializeToString())
        last.offset += 2
        last.record.seq = 5
        last.record.payload.json = "5"
        execution.apply(last)
        assert _result(execution) == "[3,2,4,5]"
        assert _consumed(execution.checkpoint()) == {"chat": (5, [])}


def test_what_a_later_handler_heard_is_not_delivered_again() -> None:
    script = _overtaken(comes_later)
    script.send("approval", None)
    script.run_step("slow")
    restarted = _restarted(script.execution, script.log)
    for execution in _begun(comes_later, [*script.log, restarted]):
        assert _result(execution) == "[3,[2]]"


def test_a_generation_in_between_keeps_it_in_mind() -> None:
    script = _overtaken(restarts_again)
    script.run_step("slow")
    log = [*script.log, _restarted(script.execution, script.log)]
    for execution in _begun(restarts_again, log):
        second = _restarted(execution, log)
        assert _consumed(second.checkpoint)["chat"] == (1, [(3, 3)])
        for last in _begun(restarts_again, [*log, second]):
            assert _result(last) == "[3,[2]]"
            assert _consumed(last.checkpoint()) == {"chat": (3, [])}


def test_what_is_beyond_is_told_where_nothing_was_consumed_in_order() -> None:
    script = Script(gives_the_first_back, begin=False)
    for stream_id in ("chat", "approval", "chat", "approval"):
        script.send(stream_id, stream_id)
    script.begin()
    restarted = _restarted(script.execution, script.log)
    assert _consumed(restarted.checkpoint) == {"chat": (0, [(2, 2)]), "approval": (2, [])}
    for execution in _begun(gives_the_first_back, [*script.log, restarted]):
        assert _result(execution) == '["chat"]'


def test_a_generation_stays_with_its_language() -> None:
    script = _overtaken(overtakes)
    script.run_step("slow")
    for runtime in ("", "python3.99"):
        execution = Execution(overtakes, run_id="run_1", generation=1)
        execution.apply(_restarted(script.execution, script.log, runtime=runtime))
        assert execution.ended
    execution = Execution(overtakes, run_id="run_1", generation=1)
    with pytest.raises(OtherRuntime, match="began in node20"):
        execution.apply(_restarted(script.execution, script.log, runtime="node20"))
