"""A run host on a log in memory: answers its frames as the server would, or loses them as a broken call would."""

import asyncio
from collections.abc import Callable
from typing import Any

from midstream.clock import ManualClock
from midstream.task import Task
from midstream.v1.entry_pb2 import Entry
from midstream.v1.record_pb2 import Record
from midstream.v1.run_service_pb2 import StartRunRequest, StartRunResponse
from midstream.v1.stream_service_pb2 import SendOneRequest, SendOneResponse
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker.host import RunHost

RUN_ID = "run_1"


class NoCalls:
    """A Caller for tasks that make no calls."""

    async def send(self, request: SendOneRequest) -> SendOneResponse:
        raise NotImplementedError

    async def start_run(self, request: StartRunRequest) -> StartRunResponse:
        raise NotImplementedError


class MemoryRun:
    """One run's log, and the hosts that execute it one after the other. `asked` holds every frame that they sent."""

    def __init__(self, task: Task[Any, Any], payload: str = "null", *, idle_timeout_us: int = 1_000_000) -> None:
        self.clock = ManualClock()
        self.log: list[Entry] = []
        self.asked: list[WorkRequest] = []
        self.lost = False
        """True: frames do not arrive."""
        self.stores_outputs = True
        """False: output records are stored when the test says so, by `store_outputs`."""
        self.outputs_stored = 0
        self.epoch = 0
        self._task = task
        self._idle_timeout_us = idle_timeout_us
        self._changed = asyncio.Event()
        self._answered: set[tuple[str, int, int]] = set()
        self._stored_frames: set[tuple[int, int]] = set()
        self._suspended: WorkRequest.Suspend | None = None
        self.host: RunHost
        created = Entry()
        created.created.spec.task = task.name
        created.created.spec.payload.json = payload
        self._append(created)
        self._append(Entry(started=Entry.Started(seed=b"seed")))

    def assign(self, task: Task[Any, Any] | None = None) -> RunHost:
        """A new host under the next epoch, perhaps with other code, gets the whole log. The old one is dropped."""
        if self.epoch:
            self.host.close()
        self.lost = False
        if task is not None:
            self._task = task
        self.epoch += 1
        assigned = WorkResponse.Assigned(
            run_id=RUN_ID, epoch=self.epoch, task=self._task.name, last_offset=len(self.log)
        )
        if self._suspended is not None:
            assigned.suspended.CopyFrom(self._suspended.checkpoint)
        self.host = RunHost(
            assigned,
            self._task,
            send=self._receive,
            caller=NoCalls(),
            clock=self.clock,
            idle_timeout_us=self._idle_timeout_us,
        )
        self.tell(self.log)
        return self.host

    def record(self, stream_id: str, json: str) -> None:
        seq = 1 + sum(entry.record.stream_id == stream_id for entry in self.log if entry.HasField("record"))
        record = Record(run_id=RUN_ID, stream_id=stream_id, seq=seq, offset=len(self.log) + 1)
        record.payload.json = json
        self.append(Entry(record=record))

    def append(self, entry: Entry) -> None:
        """Appends, and tells the host."""
        self._append(entry)
        self.tell([entry])

    def tell(self, entries: list[Entry]) -> None:
        if not self.lost:
            frame = WorkResponse.Entries(run_id=RUN_ID, epoch=self.epoch, entries=entries)
            self.host.receive(WorkResponse(entries=frame))

    def reopen(self) -> None:
        """A new call: what the host missed, and the news that it begins."""
        self.lost = False
        self.host.receive(WorkResponse(opened=WorkResponse.Opened()))
        self.tell(self.log)

    def store_outputs(self, *, refusal: str = "") -> None:
        """Answers every frame of output records that has not been answered."""
        for frame in self.frames("output"):
            if (frame.epoch, frame.number) not in self._stored_frames and frame.epoch == self.epoch:
                self._store(frame, refusal)

    def refuse_suspension(self) -> None:
        frame = WorkResponse.SuspendRefused(run_id=RUN_ID, epoch=self.epoch)
        frame.server_time.FromMicroseconds(self.clock.now_us())
        self.host.receive(WorkResponse(suspend_refused=frame))

    def frames(self, kind: str) -> list[Any]:
        return [getattr(request, kind) for request in self.asked if request.WhichOneof("frame") == kind]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Looks after every frame of the host and every entry."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def frame(self, kind: str, count: int = 1) -> Any:
        """The `count`-th frame of this kind."""
        await self.until(lambda: len(self.frames(kind)) >= count)
        return self.frames(kind)[count - 1]

    def _receive(self, request: WorkRequest) -> None:
        self.asked.append(request)
        self._changed.set()
        if self.lost:
            return
        if request.HasField("append"):
            # In a later turn of the loop, as over a network.
            asyncio.get_running_loop().call_soon(self._answer, request.append)
        elif request.HasField("output"):
            if self.stores_outputs:
                asyncio.get_running_loop().call_soon(self._store, request.output)
        elif request.HasField("suspend"):
            self._suspended = request.suspend

    def _answer(self, append: WorkRequest.Append) -> None:
        entry = Entry()
        entry.CopyFrom(append.entry)
        entry.checkpoint.CopyFrom(append.checkpoint)
        fact = entry.WhichOneof("fact") or ""
        detail = getattr(entry, fact)
        if fact == "timer_fired" and detail.due_time.ToMicroseconds() > self.clock.now_us():
            early = WorkResponse.Early(run_id=RUN_ID, epoch=self.epoch, operation=detail.operation)
            early.server_time.FromMicroseconds(self.clock.now_us())
            self.host.receive(WorkResponse(early=early))
            return
        key = (fact, detail.operation, detail.attempt if fact == "step_ended" else 0)
        if key not in self._answered:
            self._answered.add(key)
            self.append(entry)

    def _store(self, frame: WorkRequest.Output, refusal: str = "") -> None:
        self._stored_frames.add((frame.epoch, frame.number))
        self.outputs_stored += len(frame.records)
        stored = WorkResponse.OutputStored(run_id=RUN_ID, epoch=frame.epoch, number=frame.number)
        if refusal:
            stored.errors.add(message=refusal)
        if frame.epoch == self.epoch:
            self.host.receive(WorkResponse(output_stored=stored))

    def _append(self, entry: Entry) -> None:
        entry.offset = len(self.log) + 1
        entry.append_time.FromMicroseconds(self.clock.now_us())
        self.log.append(entry)
        self._changed.set()
