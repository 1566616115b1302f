"""One call of Work with raw frames: what a test says, and what the server answers, frame by frame and in order."""

from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.run_pb2 import Outcome
from midstream.v1.worker_service_pb2_grpc import WorkerServiceStub


class Ended(Exception):
    """The call has ended: `reason` is the ErrorInfo's, or OK."""

    def __init__(self, reason: str, metadata: Mapping[str, str]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.metadata = metadata


class Lent(NamedTuple):
    """A run that the worker has got, with its log as far as `assigned` told."""

    run_id: str
    epoch: int
    generation: int
    entries: list[Entry]
    suspended: Checkpoint | None

    @property
    def last_offset(self) -> int:
        return self.entries[-1].offset if self.entries else 0

    @property
    def facts(self) -> list[str]:
        return [entry.WhichOneof("fact") or "none" for entry in self.entries]


class WorkCall:
    """`async with` opens the call; frames are read with `next`, or one of the methods that say what must come."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        worker_id: str = "worker",
        *,
        tasks: Mapping[str, str] | None = None,
        credit: int = 0,
        held: Sequence[tuple[str, int, int]] = (),
    ) -> None:
        self._ahead: deque[pb.WorkResponse] = deque()
        self._call: Any = WorkerServiceStub(channel).Work()  # type: ignore[no-untyped-call, unused-ignore]
        versions = [
            pb.WorkRequest.TaskVersion(task=task, code_version=version)
            for task, version in ({"task": "1"} if tasks is None else tasks).items()
        ]
        runs = [
            pb.WorkRequest.Held(run_id=run_id, epoch=epoch, received_offset=offset) for run_id, epoch, offset in held
        ]
        self._open = pb.WorkRequest.Open(
            worker_id=worker_id, tasks=versions, runtime="python3.11", held=runs, credit=credit
        )

    async def __aenter__(self) -> Self:
        await self.say(open=self._open)
        await self.hears("opened")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call.cancel()

    async def say(self, **frame: Any) -> None:
        """One frame, such as `credit=pb.WorkRequest.Credit(runs=1)`; an empty one without arguments."""
        await self._call.write(pb.WorkRequest(**frame))

    async def done(self) -> None:
        """Ends the worker's side of the call."""
        await self._call.done_writing()

    async def next(self) -> pb.WorkResponse:
        """Raises Ended."""
        if self._ahead:
            return self._ahead.popleft()
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise _ended(error) from None
        if frame is grpc.aio.EOF:
            raise Ended(str((await self._call.code()).name), {})
        assert isinstance(frame, pb.WorkResponse)
        return frame

    async def hears(self, kind: str) -> Any:
        """The next frame, which must be of this kind."""
        frame = await self.next()
        assert frame.WhichOneof("frame") == kind, frame
        return getattr(frame, kind)

    async def ends(self) -> str:
        """Why the call ends; drops the frames before."""
        try:
            while True:
                await self.next()
        except Ended as ended:
            return ended.reason

    async def silent(self) -> None:
        """Returns when the server has answered everything so far with nothing: a frame of no run is answered next."""
        await self.append("nobody", 1, step(1))
        fenced = await self.hears("fenced")
        assert fenced.run_id == "nobody", fenced

    async def lent(self) -> Lent:
        """The next run, with its whole log. What comes in between is read later."""
        between: list[pb.WorkResponse] = []
        while (frame := await self.next()).WhichOneof("frame") != "assigned":
            between.append(frame)
        assigned = frame.assigned
        entries = list(assigned.entries)
        while not entries or entries[-1].offset < assigned.last_offset:
            frame = await self.next()
            if frame.WhichOneof("frame") == "entries" and frame.entries.run_id == assigned.run_id:
                entries += frame.entries.entries
            else:
                between.append(frame)
        self._ahead.extendleft(reversed(between))
        suspended = assigned.suspended if assigned.HasField("suspended") else None
        return Lent(assigned.run_id, assigned.epoch, assigned.generation, entries, suspended)

    async def entries(self, run_id: str) -> list[Entry]:
        frame: pb.WorkResponse.Entries = await self.hears("entries")
        assert frame.run_id == run_id
        return list(frame.entries)

    async def append(self, run_id: str, epoch: int, entry: Entry, *, applied: int = 1 << 40) -> None:
        checkpoint = Checkpoint(applied_offset=applied)
        await self.say(append=pb.WorkRequest.Append(run_id=run_id, epoch=epoch, checkpoint=checkpoint, entry=entry))

    async def suspend(
        self, lent: Lent, *, listening: Sequence[str] = (), timers: Mapping[int, int] | None = None, applied: int = 0
    ) -> None:
        armed = [
            pb.WorkRequest.Timer(operation=operation, due_time=at(due_us))
            for operation, due_us in (timers or {}).items()
        ]
        frame = pb.WorkRequest.Suspend(
            run_id=lent.run_id,
            epoch=lent.epoch,
            checkpoint=Checkpoint(applied_offset=applied or lent.last_offset),
            listening=listening,
            timers=armed,
        )
        await self.say(suspend=frame)

    async def finish(self, lent: Lent, outcome: Outcome, *, checkpoint: Checkpoint | None = None) -> None:
        checkpoint = Checkpoint(applied_offset=lent.last_offset) if checkpoint is None else checkpoint
        frame = pb.WorkRequest.Finish(run_id=lent.run_id, epoch=lent.epoch, checkpoint=checkpoint, outcome=outcome)
        await self.say(finish=frame)


def step(operation: int, json: str = "null", *, attempt: int = 1) -> Entry:
    ended = Entry.StepEnded(operation=operation, attempt=attempt, name="step")
    ended.value.json = json
    return Entry(step_ended=ended)


def timer(operation: int, due_us: int) -> Entry:
    return Entry(timer_fired=Entry.TimerFired(operation=operation, due_time=at(due_us)))


def result(json: str = "null") -> Outcome:
    outcome = Outcome()
    outcome.result.json = json
    return outcome


def at(due_us: int) -> Timestamp:
    seconds, us = divmod(due_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=us * 1_000)


def _ended(error: grpc.aio.AioRpcError) -> Ended:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return Ended(info.reason, dict(info.metadata))
    return Ended(error.code().name, {})
