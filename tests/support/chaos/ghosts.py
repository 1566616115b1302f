"""Raw workers that speak to the logs of their runs all the time, and go on when they should have fallen silent."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import suppress

import grpc

from midstream import Client
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.run_pb2 import Outcome
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.v1.worker_service_pb2_grpc import WorkerServiceStub
from support.chaos.history import History, Started
from support.chaos.wire import CHANNEL_OPTIONS

TASK = "haunted"
PAUSE_SECONDS = 0.05
BEAT_SECONDS = 0.5


class Ghost:
    """One worker, which opens its call again whenever that has ended, with the runs that it believes to have."""

    def __init__(self, name: str, address: str) -> None:
        self._name = name
        self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._held: dict[str, tuple[int, int]] = {}
        """Epoch and last received offset by run."""
        self._operations: Iterator[int] = itertools.count(1)
        self._over = False

    def finish(self) -> None:
        """From now on it ends each run that it has, and gets."""
        self._over = True

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await self._one_call()
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await self._channel.close()

    async def _one_call(self) -> None:
        call = WorkerServiceStub(self._channel).Work(wait_for_ready=True)
        speaking = asyncio.create_task(self._speak(call))
        try:
            held = [
                WorkRequest.Held(run_id=run_id, epoch=epoch, received_offset=offset)
                for run_id, (epoch, offset) in self._held.items()
            ]
            tasks = [WorkRequest.TaskVersion(task=TASK, code_version="1")]
            opening = WorkRequest.Open(worker_id=self._name, tasks=tasks, runtime="ghost", held=held, credit=5)
            await call.write(WorkRequest(open=opening))
            while isinstance(frame := await call.read(), WorkResponse):
                self._hear(frame)
        finally:
            speaking.cancel()
            call.cancel()

    def _hear(self, frame: WorkResponse) -> None:
        match frame.WhichOneof("frame"):
            case "assigned":
                assigned = frame.assigned
                offset = assigned.entries[-1].offset if assigned.entries else 0
                self._held[assigned.run_id] = (assigned.epoch, offset)
            case "entries":
                epoch, _ = self._held.get(frame.entries.run_id, (0, 0))
                if epoch == frame.entries.epoch:
                    self._held[frame.entries.run_id] = (epoch, frame.entries.entries[-1].offset)
            case "fenced":
                epoch, _ = self._held.get(frame.fenced.run_id, (0, 0))
                if epoch == frame.fenced.epoch:
                    del self._held[frame.fenced.run_id]
            case "finished":
                self._held.pop(frame.finished.run_id, None)

    async def _speak(self, call: "grpc.aio.StreamStreamCall[WorkRequest, WorkResponse]") -> None:
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for beat in itertools.count():
                await asyncio.sleep(PAUSE_SECONDS)
                if beat % int(BEAT_SECONDS / PAUSE_SECONDS) == 0:
                    await call.write(WorkRequest(heartbeat=WorkRequest.Heartbeat()))
                for run_id, (epoch, offset) in tuple(self._held.items()):
                    await call.write(self._word(run_id, epoch, Checkpoint(applied_offset=offset)))

    def _word(self, run_id: str, epoch: int, checkpoint: Checkpoint) -> WorkRequest:
        if self._over:
            outcome = Outcome()
            outcome.result.json = "null"
            finish = WorkRequest.Finish(run_id=run_id, epoch=epoch, checkpoint=checkpoint, outcome=outcome)
            return WorkRequest(finish=finish)
        operation = epoch * 1_000_000 + next(self._operations)
        began = Entry(step_began=Entry.StepBegan(operation=operation, epoch=epoch, name=self._name))
        return WorkRequest(append=WorkRequest.Append(run_id=run_id, epoch=epoch, checkpoint=checkpoint, entry=began))


async def start_haunted(client: Client, history: History, runs: int) -> list[str]:
    """Starts runs for ghosts; returns their ids."""
    run_ids = [f"haunted-{number}" for number in range(runs)]
    for run_id in run_ids:
        await client.start_run(TASK, run_id=run_id)
        history.add(Started(run_id, "none", ()))
    return run_ids
