"""Streams that drop their oldest, in a task: what it sees, what it does not, and what it has told the server."""

from typing import Any

from midstream import Context, input_stream, task
from midstream.runtime.execution import Execution
from midstream.v1.entry_pb2 import Entry
from support.script import Script

latest, approval = input_stream("latest"), input_stream("approval")


def test_only_the_latest_is_there_when_the_task_looks() -> None:
    @task
    async def looks(ctx: Context) -> Any:
        await approval.wait()
        return [latest.peek(), await latest.drain()]

    script = Script(looks)
    script.send("latest", 1)
    for seq in (1, 2):
        script.drop("latest", seq, seq)
        script.send("latest", seq + 1)
    script.send("approval", None)
    assert script.result == [3, [3]]
    assert script.consumed["latest"] == 3


def test_what_the_task_took_before_the_drop_it_took() -> None:
    @task
    async def takes(ctx: Context) -> Any:
        heard: list[int] = []
        subscription = latest.on(heard.append)
        await approval.wait()
        subscription.off()
        await approval.wait()
        return [heard, await latest.drain()]

    script = Script(takes)
    script.send("latest", 1)
    script.send("latest", 2)
    script.drop("latest", 1, 2)
    script.send("approval", None)
    for value in (3, 4):
        script.send("latest", value)
    script.drop("latest", 3, 3)
    script.send("approval", None)
    assert script.result == [[1, 2], [4]]


def test_a_drop_alone_ends_no_wait() -> None:
    @task
    async def waits(ctx: Context) -> Any:
        await approval.wait()
        return [(await latest.wait()).unwrap(), ctx.now().second]

    script = Script(waits)
    script.send("latest", 1)
    script.drop("latest", 1, 1)
    script.send("approval", None)
    assert script.execution.outcome is None
    assert script.execution.suspendable
    assert script.execution.listening == {"latest"}
    script.send("latest", 2, after=7)
    assert script.result == [2, 7]


def test_what_waits_for_a_busy_handler_is_dropped() -> None:
    @task
    async def busy(ctx: Context) -> Any:
        heard: list[int] = []

        async def handle(value: int) -> None:
            heard.append(value)
            await ctx.step(str, value, name=f"work-{value}")

        latest.on(handle)
        await approval.wait()
        return heard

    script = Script(busy)
    for value in (1, 2, 3):
        script.send("latest", value)
    script.drop("latest", 2, 3)
    script.send("latest", 4)
    script.run_step("work-1")
    script.run_step("work-4")
    script.send("approval", None)
    assert script.result == [1, 4]
    assert script.consumed["latest"] == 4


def test_records_dropped_before_the_task_began() -> None:
    @task
    async def first_line(ctx: Context) -> Any:
        return await latest.drain()

    script = Script(first_line, begin=False)
    for value in (1, 2, 3):
        script.send("latest", value)
    script.drop("latest", 1, 2)
    script.begin()
    assert script.result == [3]


def test_a_new_generation_gets_what_was_not_dropped() -> None:
    """From the whole log, and from what the server sends: records behind its cursor, then the new generation."""

    @task
    async def restarts(ctx: Context, state: Any) -> Any:
        if ctx.generation == 0:
            await latest.once()
            await approval.wait()
            ctx.restart_with("again")
        return [state, await latest.drain()]

    script = Script(restarts, "first")
    for value in range(1, 5):
        script.send("latest", value)
    script.drop("latest", 2, 3)
    script.send("approval", None)
    restart = script.execution.restart
    assert restart is not None
    log = [Entry.FromString(entry.SerializeToString()) for entry in script.log]
    log.append(Entry(offset=len(log) + 1, restarted=Entry.Restarted(generation=1, payload=restart)))
    log[-1].append_time.CopyFrom(log[-2].append_time)
    log[-1].checkpoint.CopyFrom(script.execution.checkpoint_for_restart())
    unread = [entry for entry in log if entry.record.seq == 4]
    for entries in (log, [*unread, log[-1]]):
        execution = Execution(restarts, run_id="run_1", generation=1)
        for entry in entries:
            execution.apply(entry)
        assert execution.outcome is not None
        assert execution.outcome.result.json == '["again",[4]]'
