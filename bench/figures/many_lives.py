"""Many runs started, suspended, resumed and finished on PostgreSQL: the server must not grow by them."""

import asyncio
import time

from grpc import aio

from bench.context import Context
from bench.fake_worker import Assigned, FakeWorker, finish, suspend
from bench.frames import STREAM
from bench.measure import Aim, Figure, values
from bench.postgres import database, server_on, start_postgres
from midstream.v1 import record_pb2, run_pb2, run_service_pb2, stream_service_pb2
from midstream.v1.run_service_pb2_grpc import RunServiceStub
from midstream.v1.stream_service_pb2_grpc import StreamServiceStub
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse

TASK = "bench-life"
IN_FLIGHT = 200
AIM = Aim(0.1, at_most=True)


async def measure(context: Context) -> list[Figure]:
    server = server_on(context, await database(start_postgres(context), "bench"))
    count = context.sizes.lives
    async with aio.insecure_channel(str(server.ready["url"]).removeprefix("grpc://")) as channel:
        lives = Lives(channel)
        # The memory settles after some 2,000 lives.
        await lives.go_on(count // 2)
        before = server.rss_kib()
        began = time.perf_counter()
        await lives.go_on(count)
        took = time.perf_counter() - began
        grown = server.rss_kib() - before
        await lives.close()
    return [
        Figure(
            name="lives_memory",
            title=f"Run started, suspended, resumed and finished, one of {count:,}: the server's memory",
            unit="KiB",
            ours=values([grown / count]),
            aim=AIM,
            details={"memory of the server before, KiB": before},
        ),
        Figure(
            name="lives_rate",
            title="Runs started, suspended, resumed and finished by a worker that does nothing, on PostgreSQL",
            unit="runs/s",
            ours=values([count / took]),
        ),
    ]


class Lives:
    """So many at once. A run is suspended when it is assigned first, gets a record, and finishes with it."""

    def __init__(self, channel: aio.Channel) -> None:
        self._runs = RunServiceStub(channel)
        self._streams = StreamServiceStub(channel)
        self._suspended: dict[str, asyncio.Event] = {}
        self._finished: dict[str, asyncio.Event] = {}
        self._numbers = 0
        self._worker = asyncio.create_task(FakeWorker(channel, TASK, credit=IN_FLIGHT).work(self._decide, self._told))

    async def go_on(self, count: int) -> None:
        """Returns when so many more have ended. Raises what ended the worker."""
        last = self._numbers + count

        async def one_after_the_other() -> None:
            while self._numbers < last:
                self._numbers += 1
                await self._live(f"run_life{self._numbers}")

        living = asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
        await asyncio.wait((living, self._worker), return_when=asyncio.FIRST_COMPLETED)
        if self._worker.done():
            living.cancel()
            self._worker.result()
        await living

    async def close(self) -> None:
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)

    async def _live(self, run_id: str) -> None:
        suspended = self._suspended[run_id] = asyncio.Event()
        finished = self._finished[run_id] = asyncio.Event()
        spec = run_pb2.RunSpec(task=TASK)
        await self._runs.StartRun(run_service_pb2.StartRunRequest(run_id=run_id, spec=spec))
        await suspended.wait()
        record = record_pb2.NewRecord(payload=record_pb2.Payload(json="1"))
        await self._streams.SendOne(
            stream_service_pb2.SendOneRequest(run_id=run_id, stream_id=STREAM, records=[record])
        )
        await finished.wait()
        del self._suspended[run_id], self._finished[run_id]

    async def _decide(self, run: Assigned) -> WorkRequest:
        return finish(run, consumed=1) if self._suspended[run.run_id].is_set() else suspend(run)

    def _told(self, frame: WorkResponse) -> bool:
        if frame.HasField("suspended"):
            self._suspended[frame.suspended.run_id].set()
        else:
            self._finished[frame.finished.run_id].set()
        return True
