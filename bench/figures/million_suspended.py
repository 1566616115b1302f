"""A wake-up among very many suspended runs on PostgreSQL, beside one among few; and what the server keeps of them."""

import asyncio
import random
import time
from functools import partial
from typing import TypeVar

from grpc import aio

from bench.clones import clone, clone_id
from bench.context import Context
from bench.fake_worker import Assigned, FakeWorker, suspend
from bench.frames import STREAM
from bench.measure import Aim, Figure, interleave, latencies, values
from bench.postgres import ask, database, server_on, start_postgres
from bench.processes import Child
from midstream.v1 import record_pb2, run_pb2, run_service_pb2, stream_service_pb2
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse

T = TypeVar("T")

TASK = "bench-clone"
FEW = 1_000
AIM = Aim(1.5, at_most=True)


async def measure(context: Context) -> list[Figure]:
    sizes = context.sizes
    postgres = start_postgres(context)
    counts = (min(FEW, sizes.clones), sizes.clones)
    yards = [await Yard.open(context, await database(postgres, f"runs{i}"), count) for i, count in enumerate(counts)]
    before = [yard.server.rss_kib() for yard in yards]
    limit, ours = await interleave(sizes.repeats, *(partial(yard.wake_ups, sizes.wake_ups) for yard in yards))
    grown = [yard.server.rss_kib() - kib for yard, kib in zip(yards, before, strict=True)]
    for yard in yards:
        await yard.close()
    return [
        Figure(
            name="wake_among_many",
            title=f"Send → woken run assigned, among {counts[1]:,} suspended runs",
            unit="ms",
            ours=latencies(ours),
            limit=latencies(limit),
            limit_title=f"among {counts[0]:,}",
            aim=AIM,
            details={
                "growth of the server among many, KiB": grown[1],
                "growth of the server among few, KiB": grown[0],
            },
        ),
        Figure(
            name="server_of_many",
            title=f"Memory of a server on a database of {counts[1]:,} suspended runs",
            unit="KiB",
            ours=values([float(yards[1].server.rss_kib())]),
            limit=values([float(yards[0].server.rss_kib())]),
            limit_title=f"of {counts[0]:,}",
        ),
    ]


class Yard:
    """A server on a database of suspended runs, and the worker that they come back to."""

    def __init__(self, server: Child, channel: aio.Channel, count: int) -> None:
        self.server = server
        self._channel = channel
        self._count = count
        self._assigned: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        self._suspended: asyncio.Queue[str] = asyncio.Queue()
        self._random = random.Random(1)
        self._worker = asyncio.create_task(FakeWorker(channel, TASK, credit=10).work(self._decide, self._told))

    @classmethod
    async def open(cls, context: Context, url: str, count: int) -> "Yard":
        server = server_on(context, url)
        channel = aio.insecure_channel(str(server.ready["url"]).removeprefix("grpc://"))
        context.cleanup.push_async_callback(channel.close)
        yard = cls(server, channel, count)
        started = await RunServiceStub(channel).StartRun(
            run_service_pb2.StartRunRequest(spec=run_pb2.RunSpec(task=TASK))
        )
        await yard._next(yard._assigned)
        await yard._next(yard._suspended)
        await ask(url, lambda connection: clone(connection, started.run.run_id, count))
        return yard

    async def wake_ups(self, count: int) -> list[float]:
        """Milliseconds from a send to a run's assignment, each time of another run; then it is suspended again."""
        streams = StreamServiceStub(self._channel)
        times: list[float] = []
        for number in self._random.sample(range(1, self._count + 1), min(count, self._count)):
            record = record_pb2.NewRecord(payload=record_pb2.Payload(json="1"))
            request = stream_service_pb2.SendOneRequest(run_id=clone_id(number), stream_id=STREAM, records=[record])
            began = time.perf_counter()
            response = await streams.SendOne(request)
            if not response.receipts[0].HasField("accepted"):
                raise RuntimeError(f"refused: {response.receipts[0]}")
            run_id, at = await self._next(self._assigned)
            if run_id != clone_id(number):
                raise RuntimeError(f"{run_id} was woken instead of {clone_id(number)}")
            times.append((at - began) * 1e3)
            await self._next(self._suspended)
        return times

    async def _next(self, queue: "asyncio.Queue[T]") -> T:
        """What comes next; or raises what ended the worker."""
        coming = asyncio.create_task(queue.get())
        await asyncio.wait((coming, self._worker), return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            self._worker.result()
        return await coming

    async def close(self) -> None:
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    async def _decide(self, run: Assigned) -> WorkRequest:
        self._assigned.put_nowait((run.run_id, time.perf_counter()))
        records = [entry.record.seq for entry in run.entries if entry.HasField("record")]
        return suspend(run, consumed=max(records, default=0))

    def _told(self, frame: WorkResponse) -> bool:
        self._suspended.put_nowait(frame.suspended.run_id)
        return True
