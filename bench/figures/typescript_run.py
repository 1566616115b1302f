"""Runs in TypeScript beside the same runs in Python, on one server: starting, resuming, memory, and many resumes."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine

import midstream
from bench.context import Context
from bench.figures.resume import resumes_of_one_run
from bench.frames import STREAM
from bench.managed import REST_SECONDS, Ear, PipeEar, start_node_worker, start_worker, until
from bench.measure import Figure, interleave, latencies, values
from bench.processes import build_client, private_kib
from midstream import Client
from midstream.models import RunState

LIMIT_TITLE = "the same in Python"
LOG_ENTRIES = 10
RESUMES_OF_EACH = 10
CREDIT = 100


async def measure(context: Context) -> list[Figure]:
    await build_client()
    start_worker(context)
    start_node_worker(context)
    client = await context.cleanup.enter_async_context(midstream.connect(context.url))
    python = context.cleanup.enter_context(Ear())
    node = context.cleanup.enter_context(PipeEar())
    numbers = itertools.count(1)
    return [
        await _resume(context, client, python, node, numbers),
        await _start(context, client, python, node, numbers),
        await _memory(context, client, python, node, numbers),
        await _many_resumes(context, client),
    ]


async def _resume(
    context: Context, client: Client, python: Ear, node: PipeEar, numbers: "itertools.count[int]"
) -> Figure:
    sizes = context.sizes

    def resumes(task: str, ear: Ear | PipeEar) -> Callable[[], Coroutine[None, None, list[float]]]:
        async def measured() -> list[float]:
            times: list[float] = []
            while len(times) < sizes.resumes:
                some = min(sizes.resumes - len(times), LOG_ENTRIES // 3)
                times += await resumes_of_one_run(client, task, ear, numbers, LOG_ENTRIES, some)
            return times

        return measured

    limit, ours = await interleave(sizes.repeats, resumes("bench-waiter", python), resumes("bench-ts-waiter", node))
    return Figure(
        name="typescript_resume",
        title=f"Send → resumed and consumed in a TypeScript run, a log of {LOG_ENTRIES} entries",
        unit="ms",
        ours=latencies(ours),
        limit=latencies(limit),
        limit_title=LIMIT_TITLE,
    )


async def _start(
    context: Context, client: Client, python: Ear, node: PipeEar, numbers: "itertools.count[int]"
) -> Figure:
    """One at a time: a warm process or thread is there for each."""

    def starts(task: str, ear: Ear | PipeEar) -> Callable[[], Coroutine[None, None, list[float]]]:
        async def measured() -> list[float]:
            times: list[float] = []
            for number in itertools.islice(numbers, context.sizes.cancels):
                await asyncio.sleep(REST_SECONDS)
                began = time.perf_counter_ns()
                run = await client.start_run(task, {"path": ear.path, "number": number})
                times.append(((await ear.hears(number)).time_ns - began) / 1e6)
                await client.cancel_run(run.id)
                await until(client, run.id, RunState.CANCELLED)
            return times

        return measured

    limit, ours = await interleave(
        context.sizes.repeats, starts("bench-beginner", python), starts("bench-ts-beginner", node)
    )
    return Figure(
        name="typescript_start",
        title="StartRun → the first line of a TypeScript task",
        unit="ms",
        ours=latencies(ours),
        limit=latencies(limit),
        limit_title=LIMIT_TITLE,
    )


async def _memory(
    context: Context, client: Client, python: Ear, node: PipeEar, numbers: "itertools.count[int]"
) -> Figure:
    """Warm runs: a thread's share of the worker's growth, a child process's private memory."""

    async def warm(task: str, ear: Ear | PipeEar) -> tuple[str, int]:
        number = next(numbers)
        run = await client.start_run(task, {"path": ear.path, "number": number})
        return run.id, (await ear.hears(number)).pid

    async def in_python() -> float:
        run_id, pid = await warm("bench-beginner", python)
        kib = private_kib(pid)
        await _end(client, [run_id])
        return kib

    async def in_typescript() -> float:
        first, pid = await warm("bench-ts-beginner", node)
        before = private_kib(pid)
        others = [(await warm("bench-ts-beginner", node))[0] for _ in range(context.sizes.cancels)]
        grown = private_kib(pid) - before
        await _end(client, [first, *others])
        return max(0, grown) / len(others)

    limit, ours = await interleave(context.sizes.repeats, in_python, in_typescript)
    return Figure(
        name="typescript_memory",
        title="Memory of a warm TypeScript run's thread",
        unit="KiB",
        ours=values(ours),
        limit=values(limit),
        limit_title="private memory of a Python run's process",
    )


async def _many_resumes(context: Context, client: Client) -> Figure:
    """Runs that are all suspended and resumed ten times, as many at once as a worker has credit."""

    def resumes(task: str) -> Callable[[], Coroutine[None, None, float]]:
        async def measured() -> float:
            gate = asyncio.Semaphore(CREDIT)

            async def live() -> None:
                async with gate:
                    run = await client.start_run(task, RESUMES_OF_EACH)
                    for number in range(RESUMES_OF_EACH):
                        await until(client, run.id, RunState.SUSPENDED)
                        await client.send(run.id, STREAM, number)
                    await until(client, run.id, RunState.COMPLETED)

            began = time.perf_counter()
            await asyncio.gather(*(live() for _ in range(context.sizes.resumed_runs)))
            return context.sizes.resumed_runs * RESUMES_OF_EACH / (time.perf_counter() - began)

        return measured

    limit, ours = await interleave(1, resumes("bench-repeater"), resumes("bench-ts-repeater"))
    return Figure(
        name="typescript_ten_resumes",
        title=f"{context.sizes.resumed_runs:,} TypeScript runs, each suspended and resumed {RESUMES_OF_EACH} times",
        unit="resumes/s",
        ours=values(ours),
        limit=values(limit),
        limit_title=LIMIT_TITLE,
    )


async def _end(client: Client, run_ids: list[str]) -> None:
    for run_id in run_ids:
        await client.cancel_run(run_id)
    for run_id in run_ids:
        await until(client, run_id, RunState.CANCELLED)
