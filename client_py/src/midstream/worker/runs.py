"""The runs that a worker has: what the server says goes to whoever executes them, and back."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker.assigned_run import AssignedRun, StartExecutor
from midstream.worker.report import Report

_FINISH: Final = WorkRequest.FINISH_FIELD_NUMBER
_ENDS: Final = frozenset({WorkRequest.BLOCK_FIELD_NUMBER, WorkRequest.RELEASE_FIELD_NUMBER})
"""Frames of an executor that the server does not answer with a word about this run's end."""


class Runs:
    """By run id. One executor each, which is killed when the run is no longer this worker's."""

    def __init__(
        self, start: StartExecutor, send: Callable[[bytes], bool], report: Report, *, on_free: Callable[[], None]
    ) -> None:
        """`on_free` is called whenever a run has gone, so that another may come."""
        self._start = start
        self._send = send
        self._report = report
        self._on_free = on_free
        self._runs: dict[str, AssignedRun] = {}
        self._undelivered: list[tuple[AssignedRun, bytes]] = []
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[AssignedRun]:
        return iter(list(self._runs.values()))

    def held(self) -> list[AssignedRun]:
        """What to hold on to in a new call: also the runs of which something is still to be said, such as a death."""
        return [*self, *(run for run, _ in self._undelivered)]

    async def wait_until_empty(self) -> None:
        await self._empty.wait()

    # What the server says.

    def assigned(self, frame: WorkResponse.Assigned, data: bytes) -> None:
        run = self._runs.get(frame.run_id)
        if run is not None and run.epoch == frame.epoch:
            # It begins a new generation, in the process that it has.
            run.received_offset = _last_offset(frame)
            run.executor.deliver(data)
            return
        if run is not None:
            self._drop(run)
        run = self._begin(frame)
        run.executor.deliver(data)
        # Now that the process has something to do.
        self._report.assigned(run.run_id, run.task, run.epoch, frame.last_offset, frame.HasField("suspended"))

    def relay(self, run_id: str, epoch: int, data: bytes, *, last_offset: int | None = None) -> None:
        run = self._find(run_id, epoch)
        if run is not None:
            if last_offset is not None:
                run.received_offset = last_offset
            run.executor.deliver(data)

    def relay_to_all(self, data: bytes) -> None:
        for run in self:
            run.executor.deliver(data)

    def suspended(self, run_id: str, epoch: int) -> None:
        if run := self._find(run_id, epoch):
            self._drop(run)
            self._report.suspended(run.run_id, run.task)

    def finished(self, run_id: str, epoch: int) -> None:
        if run := self._find(run_id, epoch):
            self._drop(run)
            self._report.finished(run.run_id, run.task, run.outcome)

    def fenced(self, run_id: str, epoch: int) -> None:
        if run := self._find(run_id, epoch):
            self._drop(run)
            self._report.fenced(run.run_id, run.task)

    # What the worker does.

    def opened(self, data: bytes) -> None:
        """A new call has begun: what could not be said is said now, by the runs and about those that died."""
        for _, frame in self._undelivered:
            self._send(frame)
        self._undelivered.clear()
        self.relay_to_all(data)

    def give_back(self, run: AssignedRun, reason: str) -> None:
        """Kills it; the server queues it for another worker."""
        self._drop(run)
        self._release(run, reason, died=False)
        self._report.released(run.run_id, run.task, reason)

    def kill_all(self) -> None:
        """Without a word to anybody: their leases run out."""
        for run in self:
            self._drop(run)

    def _begin(self, frame: WorkResponse.Assigned) -> AssignedRun:
        def said(data: bytes) -> None:
            self._said(run, data)

        def died(how: str) -> None:
            self._died(run, how)

        executor = self._start(frame, said, died)
        run = AssignedRun(frame.run_id, frame.epoch, frame.task, executor, _last_offset(frame))
        self._runs[run.run_id] = run
        self._empty.clear()
        return run

    def _said(self, run: AssignedRun, data: bytes) -> None:
        if self._runs.get(run.run_id) is not run:
            return
        kind = data[0] >> 3
        sent = self._send(data)
        if kind == _FINISH:
            run.outcome = _outcome(WorkRequest.FromString(data))
        elif kind in _ENDS:
            if not sent:
                self._undelivered.append((run, data))
            self._drop(run)
            self._report_end(run, WorkRequest.FromString(data))

    def _report_end(self, run: AssignedRun, request: WorkRequest) -> None:
        if request.HasField("block"):
            self._report.blocked(run.run_id, run.task, request.block.failure.message)
        elif request.release.died:
            self._report.died(run.run_id, run.task, f"gave up: {request.release.reason}")
        else:
            self._report.released(run.run_id, run.task, request.release.reason)

    def _died(self, run: AssignedRun, how: str) -> None:
        if self._runs.get(run.run_id) is run:
            self._drop(run)
            self._release(run, f"its process {how}", died=True)
            self._report.died(run.run_id, run.task, how)

    def _release(self, run: AssignedRun, reason: str, *, died: bool) -> None:
        release = WorkRequest.Release(run_id=run.run_id, epoch=run.epoch, died=died, reason=reason)
        frame = WorkRequest(release=release).SerializeToString()
        if not self._send(frame):
            self._undelivered.append((run, frame))

    def _find(self, run_id: str, epoch: int) -> AssignedRun | None:
        run = self._runs.get(run_id)
        return run if run is not None and run.epoch == epoch else None

    def _drop(self, run: AssignedRun) -> None:
        run.executor.kill()
        del self._runs[run.run_id]
        if not self._runs:
            self._empty.set()
        self._on_free()


def _last_offset(frame: WorkResponse.Assigned) -> int:
    """Of what the frame brings of the log."""
    return frame.entries[-1].offset if frame.entries else 0


def _outcome(request: WorkRequest) -> str:
    outcome = request.finish.outcome
    if outcome.HasField("failure"):
        return f"failed with {outcome.failure.error_type}: {outcome.failure.message}"
    return "completed" if outcome.HasField("result") else "cancelled"
