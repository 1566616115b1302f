"""Random tasks of every primitive."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from midstream.input_stream import input_stream
from midstream.output_stream import output
from midstream.receiving.result import Result
from midstream.runtime.context import Context
from midstream.runtime.errors import StepFailed
from midstream.runtime.retry import Retry
from midstream.runtime.step_function import step_key
from midstream.task import Task
from midstream.waiting import wait_any
from support.replay.world import World

CHAT, STOP, APPROVAL, LATE, UNHEARD = "chat", "stop", "approval", "late", "unheard"
STREAMS = (CHAT, STOP, APPROVAL, LATE, UNHEARD)
OUT, OTHER = "out", "other"
chat, stop, approval, late = map(input_stream, STREAMS[:4])

Part = Callable[["Body"], Awaitable[Any]]


class Body:
    """What the parts of one task share."""

    def __init__(self, world: World, ctx: Context, index: int, timeout: float | None) -> None:
        self.world = world
        self.ctx = ctx
        self.index = index
        self.timeout = timeout
        self.heard: list[int] = []
        self.hearing = asyncio.Event()
        self.generating: asyncio.Future[Any] | None = None
        self.see = world.life.see

    async def step(self, name: str, value: Any, **options: Any) -> Any:
        return await self.ctx.step(partial(_give, value), name=name, **options)

    async def receive(self, kind: str, timeout: float | None) -> Any:
        """From `approval`, noting what came, or that nothing came in time."""
        asked_us = self.now_us()
        result: Result[Any] = await getattr(approval, kind)(timeout=timeout)
        return self.noted(result, asked_us, timeout)

    def noted(self, result: Result[Any], asked_us: int, timeout: float | None) -> Any:
        if result.ok:
            self.took(result.record.stream_id, result.output)
            return result.output
        assert timeout is not None
        assert self.now_us() >= asked_us + int(timeout * 1e6), "timed out early"
        self.see("timeout", self.now_us())
        return None

    def took(self, stream_id: str, value: Any) -> None:
        self.see("took", stream_id, value["i"])

    def now_us(self) -> int:
        return int(self.ctx.now().timestamp() * 1e6 + 0.5)


def _give(value: Any) -> Any:
    return value


async def one_step(body: Body) -> Any:
    given = await body.step("work", {"part": body.index, "heard": list(body.heard), "pair": (1, 2)})
    return [given, type(given["pair"]).__name__]


async def gathered_steps(body: Body) -> Any:
    return await asyncio.gather(*(body.step(f"gathered-{number}", number) for number in range(3)))


async def a_wait(body: Body) -> Any:
    return await body.receive("wait", body.timeout)


async def a_once(body: Body) -> Any:
    return await body.receive("once", 3)


async def a_glance(body: Body) -> Any:
    return [await body.receive("once", 0), approval.peek(), late.peek()]


async def a_sleep(body: Body) -> Any:
    before_us = body.now_us()
    await asyncio.sleep(2.5)
    assert body.now_us() >= before_us + 2_500_000
    return body.now_us()


async def step_against_time(body: Body) -> Any:
    try:
        return await asyncio.wait_for(body.step("slow", "slow"), 1)
    except TimeoutError:
        return "timed out"


async def failing_step(body: Body) -> Any:
    def fail() -> None:
        raise KeyError("missing")

    try:
        await body.ctx.step(fail)
    except StepFailed as error:
        return [type(error).__name__, error.error_type, error.message]


async def declared_error(body: Body) -> Any:
    def fail() -> None:
        raise ValueError("as declared")

    try:
        await body.ctx.step(fail, raises=(ValueError,))
    except ValueError as error:
        return str(error)


async def retried_step(body: Body) -> Any:
    def flaky() -> int:
        tries = body.world.ran[step_key()]
        if tries % 3:
            raise OSError(f"try {tries}")
        return tries

    try:
        return await body.ctx.step(flaky, retry=Retry(max_attempts=4, first_delay="200ms"))
    except StepFailed as error:
        return error.message


async def at_most_once(body: Body) -> Any:
    try:
        return await body.step("once-only", "done", at_most_once=True)
    except StepFailed as error:
        return error.error_type


async def until_heard(body: Body) -> Any:
    async def one(number: int) -> Any:
        before = await body.step(f"before-{number}", number)
        await body.hearing.wait()
        return await body.step(f"after-{number}", before + len(body.heard))

    return await asyncio.gather(one(1), one(2))


async def two_waits(body: Body) -> Any:
    return await asyncio.gather(body.receive("wait", 5), body.receive("wait", 5))


async def wait_against_time(body: Body) -> Any:
    asked_us = body.now_us()
    try:
        return body.noted(await asyncio.wait_for(approval.wait(), 1.5), asked_us, 1.5)
    except TimeoutError:
        return "timed out"


async def wait_cancelled_by_a_callback(body: Body) -> Any:
    waiting = asyncio.ensure_future(body.receive("wait", 3))
    sleeping = asyncio.ensure_future(asyncio.sleep(2))
    sleeping.add_done_callback(lambda _: waiting.cancel())
    try:
        return await waiting
    except asyncio.CancelledError:
        if not sleeping.done():
            raise  # the run is cancelled
        return "let go"
    finally:
        sleeping.cancel()


async def wait_given_up_by_a_handler(body: Body) -> Any:
    """A handler cancels the receive, perhaps in the very turn in which that gets its record: it goes back."""
    waiting = asyncio.ensure_future(body.receive("once", 2))
    await asyncio.sleep(0)
    subscriptions = [approval.on(lambda _: waiting.cancel()), chat.on(lambda _: waiting.cancel())]
    subscriptions[0].off()
    try:
        await asyncio.wait([waiting])
    finally:
        subscriptions[1].off()
    return "cancelled" if waiting.cancelled() else waiting.result()


async def any_of_two(body: Body) -> Any:
    asked_us = body.now_us()
    stream, result = await wait_any(approval, late, timeout=4)
    body.see("from", None if stream is None else stream.id)
    return body.noted(result, asked_us, 4)


async def drained(body: Body) -> Any:
    values = await approval.drain()
    for value in values:
        body.took(APPROVAL, value)
    return values


async def iterated(body: Body) -> Any:
    """Two records by iteration, if they come in time."""
    got: list[Any] = []
    try:
        async with asyncio.timeout(3):
            async for value in approval:
                body.took(APPROVAL, value)
                got.append(value)
                if len(got) == 2:
                    break
    except TimeoutError:
        got.append("timed out")
    return got


async def failing_group(body: Body) -> Any:
    """A sibling's error cancels the others, whose clean-up uses steps in an order that must not change."""

    async def one(number: int) -> None:
        try:
            await body.receive("wait", 20)
        except asyncio.CancelledError:
            await body.step(f"clean-{number}", number)
            raise

    async def fail() -> None:
        await body.step("before-failing", 0)
        raise ValueError("group")

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(one(number))
            group.create_task(fail())
    except ExceptionGroup as group_error:
        return [str(error) for error in group_error.exceptions]
    return None


async def first_of_many(body: Body) -> Any:
    tasks = {asyncio.create_task(body.step(f"racer-{number}", number)) for number in range(4)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    order = [task.result() for task in done]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return order


async def as_they_complete(body: Body) -> Any:
    tasks = [asyncio.create_task(body.step(f"runner-{number}", number)) for number in range(3)]
    return [await each for each in asyncio.as_completed(tasks)]


async def through_a_queue(body: Body) -> Any:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def produce() -> None:
        for number in range(2):
            await queue.put(await body.step(f"produce-{number}", number))

    producer = asyncio.create_task(produce())
    got = [await queue.get(), await queue.get()]
    await producer
    return got


async def under_a_lock(body: Body) -> Any:
    lock, order = asyncio.Lock(), []

    async def one(number: int) -> None:
        async with lock:
            order.append(await body.step(f"locked-{number}", number))

    await asyncio.gather(*(one(number) for number in range(3)))
    return order


async def chance(body: Body) -> Any:
    return [body.ctx.random.random(), str(body.ctx.uuid()), body.ctx.now().isoformat()]


async def calls_outside(body: Body) -> Any:
    receipt = await approval.send("run_other", {"i": body.index})
    run = await body.ctx.start_run("other", {"i": body.index})
    return [receipt.seq, run.id]


async def cleaning_up(body: Body) -> Any:
    """An exception in flight, a generator and a context, all kept over a wait."""

    def count() -> Any:
        yield from range(5)

    numbers = count()
    next(numbers)
    try:
        try:
            raise LookupError("in flight")
        except LookupError as error:
            await body.receive("wait", 2)
            return [str(error), next(numbers)]
    finally:
        await asyncio.sleep(0)


async def stopped_step(body: Body) -> Any:
    """The "stop generating" button: a handler cancels the running step."""
    generating = body.generating = asyncio.ensure_future(body.step("generate", "text"))
    await asyncio.wait([generating])
    return "stopped" if generating.cancelled() else generating.result()


async def announcement(body: Body) -> Any:
    """Appends outside of steps, before and behind a wait."""
    body.ctx.output(OUT).append({"said": body.index, "at": body.now_us()})
    got = await body.receive("wait", 2)
    for number in range(2):
        output(OTHER).append({"said": body.index, "got": got, "number": number})
    return got


def _tell(world: World, count: int, *, fails: bool = False) -> int:
    """Appends `count` records, which say what belongs together; in some executions it fails half way."""
    execution = world.new_execution(step_key())
    stops = count // 2 if fails and execution % 3 else count
    for number in range(stops):
        output(OUT if number % 3 else OTHER).append(
            {"step": step_key(), "execution": execution, "number": number, "count": count}
        )
    if stops < count:
        raise OSError("half way")
    return count


async def told_answer(body: Body) -> Any:
    return await body.ctx.step(_tell, body.world, 5, name="tell")


async def answer_told_again(body: Body) -> Any:
    try:
        return await body.ctx.step(
            partial(_tell, fails=True), body.world, 6, name="tell again", retry=Retry(max_attempts=4, first_delay=0)
        )
    except StepFailed as error:
        return error.message


async def answers_at_once(body: Body) -> Any:
    return await asyncio.gather(*(body.ctx.step(_tell, body.world, 4, name=f"tell-{number}") for number in range(3)))


async def background(body: Body) -> Any:
    """Left running when the function ends."""

    async def ticking() -> None:
        while True:
            await asyncio.sleep(1)
            body.see("tick", body.now_us())

    body.world.life.background = asyncio.create_task(ticking())  # type: ignore[attr-defined]


async def overtaking(body: Body) -> Any:
    """A receive takes a record, perhaps while one before it waits for a busy handler, whose turn never comes."""

    async def busy(value: Any) -> None:
        body.see("heard", APPROVAL, value["i"])
        await asyncio.sleep(4)

    subscription = approval.on(busy)
    try:
        await asyncio.sleep(2)
        value = (await approval.wait()).unwrap()
    finally:
        subscription.off()
    body.see("overtook", APPROVAL, value["i"])
    return value


PARTS: tuple[Part, ...] = (
    *(one_step, gathered_steps, a_wait, a_once, a_glance, a_sleep, step_against_time, failing_step, declared_error),
    *(retried_step, at_most_once, until_heard, two_waits, wait_against_time, wait_cancelled_by_a_callback),
    *(wait_given_up_by_a_handler, any_of_two, drained, iterated, failing_group, first_of_many, as_they_complete),
    *(through_a_queue, under_a_lock, chance, calls_outside, cleaning_up, stopped_step, background),
    *(announcement, told_answer, answer_told_again, answers_at_once),
)


@dataclass(frozen=True)
class Shape:
    """What a task is made of, in whatever language: names of parts, a timeout in seconds, how often it restarts."""

    seed: int
    parts: list[str]
    timeout: float | None
    restarts: int

    @property
    def name(self) -> str:
        return f"fuzz-{self.seed}"


def random_shape(seed: int) -> Shape:
    """The same one for the same seed."""
    rng = Random(f"shape {seed}")
    parts = [rng.choice(PARTS).__name__ for _ in range(rng.randint(2, 6))]
    shape = Shape(seed, parts, rng.choice([None, 2, 4, 20]), rng.choice([0, 0, 0, 1, 2]))
    # Right before a restart, where it matters; drawn by itself, so that a seed's shape is what it was.
    if shape.restarts and Random(f"overtaking {seed}").random() < 0.3:
        parts.append(overtaking.__name__)
    return shape


def task_of(shape: Shape, world: World) -> Task[Any, Any]:
    """The shape, in Python."""
    by_name = {part.__name__: part for part in (*PARTS, overtaking)}
    parts = [by_name[name] for name in shape.parts]
    timeout, restarts = shape.timeout, shape.restarts

    async def function(ctx: Context, payload: Any) -> Any:
        out: list[Any] = [payload, chat.peek(), approval.peek()]
        body = Body(world, ctx, 0, timeout)
        body.see("begin", chat.peek())

        def on_chat(value: Any) -> None:
            body.see("heard", CHAT, value["i"])
            body.heard.append(value["i"])
            body.hearing.set()
            if value["i"] % 7 == 0:
                raise ValueError("seven")

        async def on_stop(value: Any) -> None:
            body.see("heard", STOP, value["i"])
            if body.generating is not None:
                body.generating.cancel()
            body.see("audit", await body.step("audit", {"i": value["i"]}))

        chat.on(on_chat)
        stop.on(on_stop)
        try:
            for index, part in enumerate(parts):
                body.index = index
                out.append([part.__name__, await part(body), list(body.heard)])
                body.heard.clear()
                body.hearing.clear()
        except asyncio.CancelledError:
            out.append(await body.step("clean up", "clean"))
            return {"out": out, "cancelled": True}
        if ctx.generation < restarts:
            ctx.restart_with({"before": len(out), "generation": ctx.generation})
        late.on(lambda value: body.see("heard", LATE, value["i"]))
        late.on(lambda value: body.see("heard too", LATE, value["i"]))
        out.append(await body.step("end", 1))
        return {"out": out}

    return Task(function, shape.name, version="1")
