"""Tasks that the bench's worker executes. They tell the bench what they see through a datagram socket.

A replay tells again what it told before, so whoever listens waits for a number that it has not sent yet.
"""

import asyncio
import time
from typing import Any

from bench.frames import STREAM
from bench.telling import SILENT, STARTED, STOPPED, tell
from midstream import Context, input_stream, output_stream, task

numbers = input_stream(STREAM, int)
release = input_stream("release")
tokens = output_stream("tokens")


@task("bench-waiter", idle_timeout="0s")
async def waiter(_context: Context, path: str) -> None:
    """Suspended between any two records."""
    while True:
        number = (await numbers.wait()).unwrap()
        if number != SILENT:
            tell(path, number)


@task("bench-beginner", idle_timeout="1h")
async def beginner(_context: Context, payload: dict[str, Any]) -> None:
    """Tells when its first line runs, and stays warm until it is cancelled."""
    tell(payload["path"], payload["number"])
    await numbers.wait()


@task("bench-repeater", idle_timeout="0s")
async def repeater(_context: Context, count: int) -> None:
    """Suspended and resumed as often as it is told."""
    for _ in range(count):
        await numbers.wait()


@task("bench-listener", idle_timeout="1h")
async def listener(_context: Context, path: str) -> None:
    """Warm, with a handler."""
    numbers.on(lambda number: tell(path, number))
    await release.wait()


@task("bench-brief", idle_timeout="0s")
async def brief(_context: Context) -> None:
    """Suspended once, then finished."""
    await numbers.wait()


async def nothing() -> None:
    """The smallest step."""


@task("bench-steps")
async def steps(context: Context, count: int) -> list[float]:
    """Milliseconds of each of so many steps. Not deterministic, and need not be: the run is never suspended."""
    taken: list[float] = []
    for _ in range(count):
        began = time.perf_counter_ns()
        await context.step(nothing)
        taken.append((time.perf_counter_ns() - began) / 1e6)
    return taken


async def endless(path: str) -> None:
    """A step that only a cancel stops."""
    tell(path, STARTED)
    try:
        await asyncio.Event().wait()
    finally:
        tell(path, STOPPED)


@task("bench-endless")
async def stuck(context: Context, path: str) -> None:
    await context.step(endless, path)


async def talk(count: int, one_at_a_time: bool) -> None:
    """Each record is the time at which it was appended, in nanoseconds."""
    for _ in range(count):
        tokens.append(time.perf_counter_ns())
        if one_at_a_time:
            await tokens.flush()


@task("bench-talker")
async def talker(context: Context, payload: tuple[int, bool]) -> None:
    await context.step(talk, *payload)
