"""A task that polls is found out: while its turn goes on, nothing that it polls for can come."""

import asyncio
from typing import Any

import pytest

from midstream import Context, input_stream, task
from midstream.runtime import loop
from midstream.runtime.errors import TurnNeverEnds
from support.script import Script

go = input_stream("go")


@task
async def polls(ctx: Context) -> Any:
    while (value := go.peek()) is None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    return value


@task
async def works(ctx: Context) -> Any:
    for _ in range(900):
        await asyncio.sleep(0)
    await go.wait()
    for _ in range(900):
        await asyncio.sleep(0)
    return "done"


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_MOST_CALLBACKS", 1_000)


def test_a_turn_that_does_not_end_is_ended() -> None:
    with pytest.raises(TurnNeverEnds, match=r"1,000 callbacks.*\n.*no record"):
        Script(polls)


def test_a_record_that_was_there_before_is_enough() -> None:
    script = Script(polls, begin=False)
    script.send("go", "before")
    script.begin()
    assert script.execution.ended


def test_each_turn_is_counted_anew() -> None:
    script = Script(works)
    script.send("go", 1)
    assert script.execution.ended
