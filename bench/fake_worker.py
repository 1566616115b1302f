"""A worker by raw frames, which executes nothing: it is the server that is measured."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from grpc import aio

from bench.frames import STREAM
from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.entry_pb2 import Checkpoint
from midstream.v1.worker_service_pb2_grpc import WorkerServiceStub

BEAT_SECONDS = 2

Assigned: TypeAlias = pb.WorkResponse.Assigned


class FakeWorker:
    """`decide` gets each run that is assigned, and returns what is said of it: `suspend` or `finish`."""

    def __init__(self, channel: aio.Channel, task: str, *, credit: int) -> None:
        self._call: aio.StreamStreamCall[pb.WorkRequest, pb.WorkResponse]
        self._call = WorkerServiceStub(channel).Work()
        self._open = pb.WorkRequest.Open(
            worker_id="bench",
            tasks=[pb.WorkRequest.TaskVersion(task=task, code_version="1")],
            runtime="python3.11",
            credit=credit,
        )
        self._writing = asyncio.Lock()

    async def work(
        self,
        decide: Callable[[Assigned], Awaitable[pb.WorkRequest]],
        told: Callable[[pb.WorkResponse], bool],
    ) -> None:
        """Until `told`, which hears of each run that is suspended or finished, returns False."""
        await self._say(pb.WorkRequest(open=self._open))
        beating = asyncio.create_task(self._beat())
        try:
            await self._read(decide, told)
        finally:
            beating.cancel()
            self._call.cancel()

    async def _read(
        self,
        decide: Callable[[Assigned], Awaitable[pb.WorkRequest]],
        told: Callable[[pb.WorkResponse], bool],
    ) -> None:
        while True:
            frame = await self._call.read()
            if not isinstance(frame, pb.WorkResponse):
                raise RuntimeError(f"the worker's call ended: {await self._call.details()}")
            match frame.WhichOneof("frame"):
                case "assigned":
                    await self._say(await decide(frame.assigned))
                case "suspended" | "finished":
                    await self._say(pb.WorkRequest(credit=pb.WorkRequest.Credit(runs=1)))
                    if not told(frame):
                        return
                case "opened" | "entries":
                    pass
                case unexpected:
                    raise RuntimeError(f"the server answered {unexpected}: {frame}")

    async def _beat(self) -> None:
        while True:
            await self._say(pb.WorkRequest(heartbeat=pb.WorkRequest.Heartbeat()))
            await asyncio.sleep(BEAT_SECONDS)

    async def _say(self, request: pb.WorkRequest) -> None:
        async with self._writing:
            await self._call.write(request)


def suspend(run: Assigned, *, consumed: int = 0) -> pb.WorkRequest:
    """The run has applied everything and waits for the stream's next record."""
    said = pb.WorkRequest.Suspend(
        run_id=run.run_id, epoch=run.epoch, checkpoint=_checkpoint(run, consumed), listening=[STREAM]
    )
    return pb.WorkRequest(suspend=said)


def finish(run: Assigned, *, consumed: int = 0) -> pb.WorkRequest:
    said = pb.WorkRequest.Finish(run_id=run.run_id, epoch=run.epoch, checkpoint=_checkpoint(run, consumed))
    said.outcome.result.json = "null"
    return pb.WorkRequest(finish=said)


def _checkpoint(run: Assigned, consumed: int) -> Checkpoint:
    checkpoint = Checkpoint(applied_offset=run.last_offset)
    if consumed:
        checkpoint.consumed.add(stream_id=STREAM, cursor=consumed)
    return checkpoint
