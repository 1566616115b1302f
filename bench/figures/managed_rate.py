"""What warm processes cost in memory, and how many runs a second go through a whole life on this machine."""

import asyncio
import time

import midstream
from bench.context import Context
from bench.frames import STREAM
from bench.managed import Ear, start_worker, until
from bench.managed_tasks import brief, listener
from bench.measure import Figure, values
from bench.processes import private_kib
from midstream import Client
from midstream.models import RunState


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    start_worker(context)
    client = await context.cleanup.enter_async_context(midstream.connect(context.url))
    ear = context.cleanup.enter_context(Ear())
    memory = [await _private_kib(client, ear) for _ in range(sizes.repeats)]
    rates = [await _lives(client, sizes.managed_runs) for _ in range(sizes.repeats + 1)][1:]
    return [
        Figure(
            name="warm_run_memory",
            title="Private memory of a warm run's process",
            unit="KiB",
            ours=values(memory),
        ),
        Figure(
            name="run_lives",
            title="Runs started, suspended, resumed and finished",
            unit="runs/s",
            ours=values(rates),
        ),
    ]


async def _private_kib(client: Client, ear: Ear) -> float:
    """Of one process whose task has handled a record and waits; what it shares with its template is not counted."""
    run = await listener.start(ear.path, client=client)
    await client.send(run.id, STREAM, 1)
    return private_kib((await ear.hears(1)).pid)


async def _lives(client: Client, count: int) -> float:
    """Runs a second, all at once as far as the worker's credit goes."""

    async def live() -> None:
        run = await brief.start(client=client)
        await until(client, run.id, RunState.SUSPENDED)
        await client.send(run.id, STREAM, 1)
        await until(client, run.id, RunState.COMPLETED)

    began = time.perf_counter()
    await asyncio.gather(*(live() for _ in range(count)))
    return count / (time.perf_counter() - began)
