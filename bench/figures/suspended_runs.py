"""What suspended runs cost: memory of the server each, and time of a send to another run among them."""

import asyncio
import itertools

from grpc import aio

from bench.beside import send_among, server_in
from bench.context import Context
from bench.fake_worker import Assigned, FakeWorker, suspend
from bench.measure import Aim, Figure, values
from bench.processes import Child
from midstream.v1 import run_pb2, run_service_pb2
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.worker_service_pb2 import WorkRequest

TASK = "bench-suspended"
IN_FLIGHT = 200
MEMORY_AIM = Aim(1, at_most=True)


async def measure(context: Context) -> list[Figure]:
    """Two servers alike, one with no suspended run and one with all of them, asked in turn."""
    sizes = context.sizes
    empty, full = server_in(context, "empty"), server_in(context, "full")
    kib_each = await _fill(full, sizes.suspended_runs)
    latency = await send_among(
        context,
        name="suspended_run_latency",
        what=f"{sizes.suspended_runs:,} suspended runs",
        empty=empty,
        full=full,
        empty_title="another server that has none",
    )
    return [
        Figure(
            name="suspended_run_memory",
            title=f"Suspended run, one of {sizes.suspended_runs:,}: the server's memory",
            unit="KiB",
            ours=values([kib_each]),
            aim=MEMORY_AIM,
        ),
        latency,
    ]


async def _fill(server: Child, count: int) -> float:
    """Starts the runs and suspends each as its worker would; returns the server's growth in KiB for each."""
    before = server.rss_kib()
    async with aio.insecure_channel(str(server.ready["url"]).removeprefix("grpc://")) as channel:
        work = asyncio.create_task(_suspend(channel, count))
        # The worker's credit bounds what is claimed, this what is started.
        await asyncio.gather(*(_start(channel, count // IN_FLIGHT + (i < count % IN_FLIGHT)) for i in range(IN_FLIGHT)))
        await work
    return (server.rss_kib() - before) / count


async def _start(channel: aio.Channel, count: int) -> None:
    stub = RunServiceStub(channel)
    for _ in range(count):
        await stub.StartRun(run_service_pb2.StartRunRequest(spec=run_pb2.RunSpec(task=TASK)))


async def _suspend(channel: aio.Channel, count: int) -> None:
    """Suspends each run that the worker is lent, until all are."""
    suspended = itertools.count(1)

    async def decide(run: Assigned) -> WorkRequest:
        return suspend(run)

    await FakeWorker(channel, TASK, credit=IN_FLIGHT).work(decide, lambda _: next(suspended) < count)
