"""Runs executed in the test's own process, against the real server."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from midstream import RunState, input_stream
from midstream.runtime.context import Context
from midstream.task import task
from midstream.testing import LocalServer, in_process_worker, local_server

go = input_stream("go", int)
other = input_stream("other", str)


@pytest.fixture
async def local() -> AsyncIterator[LocalServer]:
    async with local_server() as server:
        yield server


@task("add-up")
async def add_up(ctx: Context, count: int) -> list[int]:
    heard: list[int] = []
    for _ in range(count):
        heard.append((await go.wait(timeout="7d")).unwrap())
    return heard


class Begun:
    """Tells the test that so many tasks have begun: they share its process."""

    def __init__(self) -> None:
        self.count = asyncio.Semaphore(0)


begun = Begun()


@task("sleeper")
async def sleeper(ctx: Context) -> str:
    before = ctx.now()
    begun.count.release()
    await asyncio.sleep(3600)
    return str(ctx.now() - before)


@task("impatient")
async def impatient(ctx: Context) -> bool:
    begun.count.release()
    return (await go.wait(timeout="1h")).ok


async def double(number: int) -> int:
    return number * 2


def in_thread(number: int) -> int:
    return number + 1


@task("stepper")
async def stepper(ctx: Context, number: int) -> int:
    return await ctx.step(in_thread, await ctx.step(double, number))


@task("again")
async def again(ctx: Context, left: int) -> list[str]:
    word = (await other.wait()).unwrap()
    if left:
        ctx.restart_with(left - 1)
    return [word, str(ctx.generation)]


class Gate:
    """What the handler's step waits for: the test opens it."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()


gate = Gate()


async def pass_gate(word: str) -> str:
    await gate.opened.wait()
    return word


@task("overtaking")
async def overtaking(ctx: Context, taken: list[str]) -> list[str]:
    """Takes a record while the one before it waits for a handler; two generations later it takes what is left."""
    if ctx.generation == 0:

        async def slow(word: str) -> None:
            await ctx.step(pass_gate, word)

        other.on(slow)
        await go.wait()
        taken.append((await other.once()).unwrap())
    if ctx.generation < 2:
        ctx.restart_with(taken)
    return [*taken, *(await other.drain())]


@task("parent")
async def parent(ctx: Context) -> str:
    run = await add_up.start(1, client=None)
    await go.send(run.id, 42)
    return run.id


async def end_of(local: LocalServer, run_id: str) -> tuple[RunState, object]:
    async for run in local.client.watch_run(run_id):
        if run.state.is_final:
            return run.state, run.result
    raise AssertionError("the run did not end")


async def in_state(local: LocalServer, run_id: str, state: RunState) -> None:
    async for run in local.client.watch_run(run_id):
        if run.state is state:
            return


@pytest.mark.parametrize("idle_timeout", [0, "1h"])
async def test_a_run_waits_and_goes_on(local: LocalServer, idle_timeout: int | str) -> None:
    async with in_process_worker(local.client, [add_up], idle_timeout=idle_timeout):
        run = await add_up.start(3, client=local.client)
        for number in range(3):
            if idle_timeout == 0:
                await in_state(local, run.id, RunState.SUSPENDED)
            await go.send(run.id, number)
        assert await end_of(local, run.id) == (RunState.COMPLETED, [0, 1, 2])


@pytest.mark.parametrize("idle_timeout", [0, "1d"])
async def test_time_passes_when_the_test_says_so(local: LocalServer, idle_timeout: int | str) -> None:
    begun.count = asyncio.Semaphore(0)
    async with in_process_worker(local.client, [sleeper, impatient], idle_timeout=idle_timeout):
        slept, waited = await sleeper.start(client=local.client), await impatient.start(client=local.client)
        if idle_timeout == 0:
            await in_state(local, slept.id, RunState.SUSPENDED)
            await in_state(local, waited.id, RunState.SUSPENDED)
        else:
            await begun.count.acquire()
            await begun.count.acquire()
        await local.advance("1h")
        assert await end_of(local, slept.id) == (RunState.COMPLETED, "1:00:00")
        assert await end_of(local, waited.id) == (RunState.COMPLETED, False)


async def test_steps_run_once_in_this_process(local: LocalServer) -> None:
    async with in_process_worker(local.client, [stepper], always_suspend=True):
        run = await stepper.start(20, client=local.client)
        assert await end_of(local, run.id) == (RunState.COMPLETED, 41)


async def test_a_new_generation_goes_on_with_unread_records(local: LocalServer) -> None:
    async with in_process_worker(local.client, [again], always_suspend=True):
        run = await again.start(2, client=local.client, records=[(other, "a"), (other, "b"), (other, "c")])
        assert await end_of(local, run.id) == (RunState.COMPLETED, ["c", "2"])


async def test_a_record_that_was_taken_before_its_turn_comes_to_no_later_generation(local: LocalServer) -> None:
    gate.opened = asyncio.Event()
    async with in_process_worker(local.client, [overtaking], always_suspend=True):
        run = await overtaking.start([], client=local.client, records=[(other, "a"), (other, "b")])
        await go.send(run.id, 1)
        await other.send(run.id, "c")
        gate.opened.set()
        assert await end_of(local, run.id) == (RunState.COMPLETED, ["c", "b"])
    ended = await local.client.get_run(run.id)
    assert ended.stream("other").cursor == 3
    assert ended.stream("other").unread_count == 0


async def test_a_run_starts_another_and_sends_to_it(local: LocalServer) -> None:
    async with in_process_worker(local.client, [add_up, parent], always_suspend=True):
        run = await parent.start(client=local.client)
        state, child_id = await end_of(local, run.id)
        assert state is RunState.COMPLETED
        assert isinstance(child_id, str)
        assert await end_of(local, child_id) == (RunState.COMPLETED, [42])


async def test_a_cancelled_run_ends(local: LocalServer) -> None:
    async with in_process_worker(local.client, [add_up], always_suspend=True):
        run = await add_up.start(1, client=local.client)
        await in_state(local, run.id, RunState.SUSPENDED)
        await local.client.cancel_run(run.id)
        assert (await end_of(local, run.id))[0] is RunState.CANCELLED
