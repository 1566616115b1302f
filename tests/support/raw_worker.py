"""A worker that says what a test tells it to, frame by frame."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.v1.worker_service_pb2_grpc import WorkerServiceStub

if TYPE_CHECKING:
    from midstream.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub


class RawWorker:
    """One call of Work, on a channel of its own. Frames are given as dictionaries."""

    def __init__(self, url: str, worker_id: str, task: str, *, code_version: str = "1", credit: int = 10) -> None:
        self._channel = grpc.aio.insecure_channel(url.removeprefix("grpc://"))
        stub: WorkerServiceAsyncStub = WorkerServiceStub(self._channel)
        self._call = stub.Work()
        self._open: Any = {
            "worker_id": worker_id,
            "tasks": [{"task": task, "code_version": code_version}],
            "credit": credit,
        }
        self.run_id = ""
        self.epoch = 0
        self.last_offset = 0

    async def __aenter__(self) -> Self:
        await self._call.write(WorkRequest(open=self._open))
        assert (await self._read()).WhichOneof("frame") == "opened"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call.cancel()
        await self._channel.close()

    async def claim(self) -> None:
        """Waits for a run and its whole log."""
        assigned = (await self.hears("assigned")).assigned
        self.run_id, self.epoch = assigned.run_id, assigned.epoch
        self.last_offset = assigned.entries[-1].offset if assigned.entries else 0
        while self.last_offset < assigned.last_offset:
            await self.hears("entries")

    async def says(self, kind: str, answer: str | None = "", **fields: Any) -> None:
        """Sends a frame about the run, applied up to its last entry, and waits for the `answer`: None for none."""
        frame: dict[str, Any] = {"run_id": self.run_id, "epoch": self.epoch, **fields}
        if kind in ("append", "suspend", "finish", "restart"):
            frame.setdefault("checkpoint", {"applied_offset": self.last_offset})
        request: Any = {kind: frame}
        await self._call.write(WorkRequest(**request))
        if answer is not None:
            await self.hears(answer or _ANSWERS[kind])

    async def hears(self, kind: str) -> WorkResponse:
        """The next frame, which must be of this kind."""
        frame = await self._read()
        assert frame.WhichOneof("frame") == kind, frame
        return frame

    async def _read(self) -> WorkResponse:
        frame = await self._call.read()
        assert isinstance(frame, WorkResponse), "the call has ended"
        if frame.WhichOneof("frame") == "entries":
            self.last_offset = frame.entries.entries[-1].offset
        return frame


_ANSWERS = {"append": "entries", "suspend": "suspended", "finish": "finished"}
