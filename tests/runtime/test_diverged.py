"""Other code than the log's is found out, with both sides readable; harmless changes are not in the way."""

from typing import Any

import pytest

from midstream import Context, Diverged, input_stream
from midstream.task import Task
from midstream.v1.entry_pb2 import Checkpoint
from support.script import Script

go, other = input_stream("go"), input_stream("other")


async def original(ctx: Context) -> Any:
    first = await ctx.step(lambda: 1, name="first")
    await go.wait(timeout="7d")
    return first


def as_task(function: Any) -> Task[Any, Any]:
    return Task(function, "changing")


def script() -> Script:
    told = Script(as_task(original))
    told.run_step("first")
    return told


def test_a_harmless_change_goes_on() -> None:
    async def harmless(ctx: Context) -> Any:
        renamed = await ctx.step(lambda: "never called", name="first")
        await go.wait(timeout="9d")
        return {"first": renamed}

    execution = script().replayed(task=as_task(harmless))
    execution.check(script().execution.checkpoint())


@pytest.mark.parametrize(
    ("change", "offset", "issued"),
    [
        ("another step first", 2, "number 0, step 'inserted'"),
        ("another stream", 3, "2 operations, the last of them number 1, wait 'other'"),
        ("no wait", 3, "its function ended at offset 3"),
    ],
)
def test_a_harmful_change_is_shown_by_the_checkpoint_of_the_suspension(change: str, offset: int, issued: str) -> None:
    async def harmful(ctx: Context) -> Any:
        if change == "another step first":
            await ctx.step(lambda: 0, name="inserted")
        first = await ctx.step(lambda: 1, name="first")
        if change != "no wait":
            await (other if change == "another stream" else go).wait()
        return first

    told = script()
    suspended = told.execution.checkpoint()
    told.send("go", None)
    replayed = told.replayed(task=as_task(harmful), through=1)
    replayed.check(suspended)
    with pytest.raises(Diverged) as caught:
        for entry in told.log[1:]:
            replayed.apply(entry)
    error = caught.value
    assert error.expected.endswith("number 0, step 'first'" if offset == 2 else "number 1, wait 'go'")
    assert error.offset == offset
    assert issued in error.issued
    assert "Deploy the code that the run began with" in str(error)


def test_an_entry_for_another_kind_of_operation_is_shown() -> None:
    async def waits_first(ctx: Context) -> Any:
        await go.wait()

    told = script()
    for entry in told.log:
        entry.ClearField("checkpoint")
    with pytest.raises(Diverged, match="operation 0 is a step") as caught:
        told.replayed(task=as_task(waits_first))
    assert caught.value.offset == 3
    assert caught.value.issued == "operation 0 is wait 'go'"


def test_an_end_before_the_log_s_end_is_shown() -> None:
    async def longer(ctx: Context) -> Any:
        await go.wait()
        await ctx.step(lambda: 1, name="after")
        await go.wait()

    async def shorter(ctx: Context) -> Any:
        await go.wait()

    told = Script(as_task(longer))
    told.send("go", 1)
    told.run_step("after")
    with pytest.raises(Diverged, match="the last of them number 1, step 'after'"):
        told.replayed(task=as_task(shorter))


def test_a_checkpoint_without_a_hash_is_compared_by_its_count() -> None:
    execution = script().execution
    execution.check(Checkpoint(applied_offset=3, operations=2))
    with pytest.raises(Diverged, match="3 operations by then"):
        execution.check(Checkpoint(applied_offset=3, operations=3))
