"""Everything that Python keeps in a function's frame is intact after a wait, and asyncio works."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from midstream import Context, UnjournaledAwait, input_stream, task
from midstream.task import Task
from support.script import Script

go = input_stream("go")


def test_frames_are_intact_after_a_wait() -> None:
    happened: list[str] = []

    @contextmanager
    def opened(name: str) -> Iterator[str]:
        try:
            yield name
        finally:
            happened.append(f"closed {name}")

    @asynccontextmanager
    async def connected() -> AsyncIterator[str]:
        yield "connection"
        await go.wait()

    def numbers() -> Iterator[int]:
        yield from range(10)

    async def nested(depth: int) -> int:
        return (await go.wait()).unwrap() + depth if depth == 3 else await nested(depth + 1)

    @task
    async def keeps(ctx: Context) -> Any:
        local = {"a": [1]}
        counting = numbers()
        next(counting)

        def closure() -> None:
            local["a"].append(next(counting))

        try:
            with opened("file"):
                async with connected() as connection:
                    try:
                        raise KeyError("in flight")
                    except KeyError as error:
                        value = await nested(0)
                        closure()
                        caught = error.args[0]
        finally:
            closure()
        return [local, value, caught, connection]

    script = Script(keeps)
    script.send("go", 40)
    script.send("go", None)
    happened.clear()
    assert script.result == [{"a": [1, 1, 2]}, 43, "in flight", "connection"]
    assert happened[-1] == "closed file"


def test_an_exception_in_flight_leaves_through_finally_with_a_step() -> None:
    @task
    async def fails(ctx: Context) -> Any:
        try:
            raise LookupError("original")
        finally:
            await ctx.step(lambda: "cleaned", name="clean")

    script = Script(fails)
    script.run_step("clean")
    assert script.error == ("LookupError", "original")


def give(number: int) -> int:
    return number


async def _gather(ctx: Context) -> Any:
    return await asyncio.gather(*(ctx.step(give, n, name=f"s{n}") for n in range(2)))


async def _group(ctx: Context) -> Any:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ctx.step(give, n, name=f"s{n}")) for n in range(2)]
    return [each.result() for each in tasks]


async def _wait(ctx: Context) -> Any:
    tasks = {asyncio.create_task(ctx.step(give, n, name=f"s{n}")) for n in range(2)}
    done, pending = await asyncio.wait(tasks)
    assert not pending
    return sorted(each.result() for each in done)


async def _as_completed(ctx: Context) -> Any:
    steps = [ctx.step(give, n, name=f"s{n}") for n in range(2)]
    return sorted([await each for each in asyncio.as_completed(steps)])


async def _queue(ctx: Context) -> Any:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def produce(number: int) -> None:
        await queue.put(await ctx.step(lambda: number, name=f"s{number}"))

    producers = [asyncio.create_task(produce(number)) for number in range(2)]
    got = [await queue.get(), await queue.get()]
    await asyncio.gather(*producers)
    return sorted(got)


async def _event(ctx: Context) -> Any:
    event, condition = asyncio.Event(), asyncio.Condition()

    async def second() -> int:
        await event.wait()
        async with condition, asyncio.Semaphore(1), asyncio.Lock():
            return await ctx.step(lambda: 1, name="s1")

    waiting = asyncio.create_task(second())
    first = await ctx.step(lambda: 0, name="s0")
    event.set()
    return [first, await waiting]


@pytest.mark.parametrize("body", [_gather, _group, _wait, _as_completed, _queue, _event])
@pytest.mark.parametrize("first", ["s0", "s1"])
def test_asyncio_works_whatever_step_ends_first(body: Any, first: str) -> None:
    script = Script(Task(body, "asyncio"))
    if not any(step.name == first for step in script.execution.steps.values()):
        first = "s0"
    script.run_step(first)
    while not script.execution.ended:
        script.run_step(next(iter(script.execution.steps.values())).name)
    assert script.result == [0, 1]


def test_timeouts_and_sleeps_are_durable_timers_in_the_log_s_time() -> None:
    @task
    async def timed(ctx: Context) -> Any:
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(86_400)
        slept = asyncio.get_running_loop().time() - began
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await ctx.step(give, 1, name="slow")
        with suppress(TimeoutError):
            await asyncio.wait_for(go.wait(), 7)
        return [slept, ctx.now().isoformat()]

    script = Script(timed)
    assert script.is_suspendable()
    script.fire()
    assert not script.is_suspendable(), "a step is pending"
    script.fire()
    assert script.is_suspendable()
    assert script.execution.cancelled_steps == {2}
    script.fire()
    assert script.result == [86_400.0, "2026-01-02T00:00:12+00:00"]


def test_a_group_cancels_its_tasks_in_the_same_order_every_time() -> None:
    @task
    async def fails(ctx: Context) -> Any:
        order: list[int] = []

        async def one(number: int) -> None:
            try:
                await go.wait()
            except asyncio.CancelledError:
                order.append(number)
                raise

        async def fail() -> None:
            await ctx.step(lambda: None, name="before")
            raise ValueError

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(one(number))
                group.create_task(fail())
        except ExceptionGroup:
            return order

    script = Script(fails)
    script.run_step("before")
    assert sorted(script.result) == list(range(20))


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda: asyncio.to_thread(print), "make the function a step"),
        (lambda: asyncio.open_connection("127.0.0.1", 1), "do it in a step"),
        (lambda: asyncio.create_subprocess_exec("true"), "do it in a step"),
        (lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1), "do it in a step"),
        (lambda: asyncio.get_running_loop().add_reader(0, print), "do it in a step"),
        (lambda: asyncio.get_running_loop().add_signal_handler(2, print), "signals belong to the worker"),
        (lambda: asyncio.get_running_loop().call_soon_threadsafe(print), "send it a record"),
    ],
)
def test_real_io_outside_a_step_says_what_to_write_instead(call: Any, instead: str) -> None:
    @task
    async def reaches_out(ctx: Context) -> Any:
        with pytest.raises(UnjournaledAwait, match=instead):
            await call()
        return "told"

    assert Script(reaches_out).result == "told"


def test_outside_a_run_asyncio_is_its_own() -> None:
    async def outside() -> list[int]:
        async def later(number: int) -> int:
            return number

        done, _ = await asyncio.wait([asyncio.create_task(later(1))])
        first = await asyncio.wait_for(later(2), 5)
        rest = [await each for each in asyncio.as_completed([later(3)])]
        return [*(each.result() for each in done), first, *rest]

    assert asyncio.run(outside()) == [1, 2, 3]


def test_a_task_left_running_is_cancelled_at_the_end_and_generators_are_closed() -> None:
    ended: list[str] = []

    @task
    async def leaves(ctx: Context) -> Any:
        async def ticking() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                ended.append("ticking")

        async def values() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                ended.append("generator")

        ctx.log.info("begun")
        background = asyncio.create_task(ticking())
        async for _ in values():
            break
        await asyncio.sleep(0)
        assert not background.done()

    script = Script(leaves)
    assert ended == ["generator", "ticking"]
    assert script.result is None
