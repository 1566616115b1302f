"""A worker: takes runs from the server, has them executed, and gives them back when it stops."""

import asyncio
import platform
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from midstream.connection import Connection
from midstream.errors import MidstreamError
from midstream.runtime.errors import LANGUAGE
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker.assigned_run import StartExecutor
from midstream.worker.link import Link
from midstream.worker.report import Report
from midstream.worker.runs import Runs

_BEATS_PER_LEASE: Final = 3
_LAST_WORDS_SECONDS: Final = 2.0


class Worker:
    """Needs a way to start executors; knows nothing of processes itself."""

    def __init__(
        self,
        connection: Connection,
        start: StartExecutor,
        report: Report,
        *,
        worker_id: str,
        tasks: Mapping[str, str],
        credit: int,
    ) -> None:
        """`tasks` are code versions by task name."""
        self._connection = connection
        self._report = report
        self._worker_id = worker_id
        self._tasks = tasks
        self._credit = credit
        self._link = Link(connection, self)
        self.runs = Runs(start, self._link.send, report, on_free=self._free)
        self._draining = False
        self._drain_frame = WorkResponse(drain=WorkResponse.Drain()).SerializeToString()
        self._heartbeat: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until `drain` or `stop`. Raises MidstreamError where the server refuses this worker."""
        try:
            await self._link.run()
        finally:
            if self._heartbeat is not None:
                self._heartbeat.cancel()

    async def wait_until_open(self) -> None:
        """Returns once the server has taken this worker."""
        await self._link.wait_until_open()

    async def drain(self, timeout_us: int) -> None:
        """Takes no more runs, has those suspended that can be, gives the others back after the timeout, and ends."""
        self._draining = True
        self._report.draining(len(self.runs), timeout_us)
        if len(self.runs):
            # A new call, without credit: what the server would still have assigned goes to others.
            self._link.reopen()
            self.runs.relay_to_all(self._drain_frame)
            try:
                async with asyncio.timeout(timeout_us / 1e6):
                    await self.runs.wait_until_empty()
            except TimeoutError:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORDS_SECONDS):
                        await self._link.wait_until_open()
                for run in self.runs:
                    self.runs.give_back(run, "the worker is shutting down")
        await self._link.end(_LAST_WORDS_SECONDS)

    async def stop(self) -> None:
        """At once. Runs are lost to this worker when their lease runs out, or when it opens again."""
        self.runs.kill_all()
        await self._link.end(0)

    def replace_tasks(self, tasks: Mapping[str, str]) -> None:
        """The code has changed under the worker: tell the server."""
        if tasks != self._tasks:
            self._tasks = tasks
            self._link.reopen()

    # What the link asks.

    def open_frame(self) -> WorkRequest:
        opening = WorkRequest.Open(worker_id=self._worker_id, runtime=runtime())
        for task, version in self._tasks.items():
            opening.tasks.add(task=task, code_version=version)
        for run in self.runs.held():
            opening.held.add(run_id=run.run_id, epoch=run.epoch, received_offset=run.received_offset)
        opening.credit = 0 if self._draining else max(0, self._credit - len(self.runs))
        return WorkRequest(open=opening)

    def received(self, frame: WorkResponse, data: bytes) -> None:
        match frame.WhichOneof("frame"):
            case "entries":
                entries = frame.entries
                last_offset = entries.entries[-1].offset if entries.entries else None
                self.runs.relay(entries.run_id, entries.epoch, data, last_offset=last_offset)
            case "assigned":
                self.runs.assigned(frame.assigned, data)
            case "suspended":
                self.runs.suspended(frame.suspended.run_id, frame.suspended.epoch)
            case "finished":
                self.runs.finished(frame.finished.run_id, frame.finished.epoch)
            case "fenced":
                self.runs.fenced(frame.fenced.run_id, frame.fenced.epoch)
            case "suspend_refused":
                self.runs.relay(frame.suspend_refused.run_id, frame.suspend_refused.epoch, data)
            case "output_stored":
                self.runs.relay(frame.output_stored.run_id, frame.output_stored.epoch, data)
            case "early":
                self.runs.relay(frame.early.run_id, frame.early.epoch, data)
            case "opened":
                self._begin_call(frame.opened, data)
            case "drain":
                self._report.server_drains()

    def broken(self, error: MidstreamError, retry_us: int) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._report.disconnected(str(self._connection.address), str(error), retry_us)

    def _begin_call(self, opened: WorkResponse.Opened, data: bytes) -> None:
        self._report.connected(str(self._connection.address), len(self.runs))
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        period = opened.lease.ToMicroseconds() / 1e6 / _BEATS_PER_LEASE
        self._heartbeat = asyncio.get_running_loop().create_task(self._beat(period))
        self.runs.opened(data)
        if self._draining:
            self.runs.relay_to_all(self._drain_frame)

    async def _beat(self, period: float) -> None:
        beat = WorkRequest(heartbeat=WorkRequest.Heartbeat()).SerializeToString()
        while True:
            await asyncio.sleep(period)
            self._link.send(beat)

    def _free(self) -> None:
        if not self._draining:
            self._link.send(WorkRequest(credit=WorkRequest.Credit(runs=1)).SerializeToString())


def runtime() -> str:
    """Such as `python3.11`."""
    return f"{LANGUAGE}{platform.python_version().rpartition('.')[0]}"
