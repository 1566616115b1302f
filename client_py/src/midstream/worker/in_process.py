"""A worker in the process of its caller, for tests: the same frames, but no child processes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from io import StringIO
from typing import TYPE_CHECKING, Any

from midstream import durations, endpoint, ulid
from midstream.clock import Clock, ManualClock, SystemClock
from midstream.connection import Connection
from midstream.durations import Duration
from midstream.task import Task
from midstream.v1.worker_service_pb2 import WorkRequest, WorkResponse
from midstream.worker.assigned_run import Executor
from midstream.worker.host import RunHost
from midstream.worker.report import Report
from midstream.worker.served_calls import ServedCalls
from midstream.worker.worker import Worker

if TYPE_CHECKING:
    from midstream.client import Client

_CREDIT = 1_000


class InProcessExecutor:
    """Executes one run on the running loop. Frames go through their serial form, as on a pipe."""

    def __init__(self, make_host: Callable[[WorkResponse.Assigned], RunHost]) -> None:
        self._make_host = make_host
        self._host: RunHost | None = None
        self._loop = asyncio.get_running_loop()
        self._killed = False

    def deliver(self, frame: bytes) -> None:
        # In a turn of the loop of its own, as if it had come from elsewhere.
        self._loop.call_soon(self._receive, frame)

    def kill(self) -> None:
        self._killed = True
        if self._host is not None:
            self._host.close()

    def _receive(self, data: bytes) -> None:
        if self._killed:
            return
        frame = WorkResponse.FromString(data)
        if frame.HasField("assigned"):
            if self._host is not None:
                self._host.close()
            self._host = self._make_host(frame.assigned)
        if self._host is not None:
            self._host.receive(frame)


@asynccontextmanager
async def in_process_worker(
    client: "Client | str | None" = None,
    tasks: Iterable[Task[Any, Any]] = (),
    *,
    idle_timeout: Duration | None = 0,
    always_suspend: bool = False,
) -> AsyncIterator[Worker]:
    """Executes runs of `tasks` for as long as the block lasts, on this loop, without a process for each.

    `client` is a client, a URL, or None for MIDSTREAM_URL; credentials and the clock of `local_server()` come with its
    client.
    `idle_timeout` is how long a run that waits stays as it is, None: as its task says. `always_suspend=True` suspends
    it at every chance and rebuilds it from its log: a task that does not survive that has effects outside its memory
    that belong in steps.
    """
    by_name = {task.name: task for task in tasks}
    if not by_name:
        raise ValueError("name the tasks that the worker is to execute: in_process_worker(client, [my_task])")
    idle_timeout_us = None if idle_timeout is None else durations.parse(idle_timeout)
    if always_suspend:
        idle_timeout_us = 0
    where, clock = _where(client)
    connection = Connection(where, retry_timeout_us=None)
    caller = ServedCalls(connection)

    def start(
        assigned: WorkResponse.Assigned, on_frame: Callable[[bytes], None], on_death: Callable[[str], None]
    ) -> Executor:
        def send(request: WorkRequest) -> None:
            on_frame(request.SerializeToString())

        def make_host(assigned: WorkResponse.Assigned) -> RunHost:
            task = by_name[assigned.task]
            idle_us = task.idle_timeout_us if idle_timeout_us is None else idle_timeout_us
            return RunHost(assigned, task, send=send, caller=caller, clock=clock, idle_timeout_us=idle_us)

        return InProcessExecutor(make_host)

    worker = Worker(
        connection,
        start,
        Report("json", StringIO()),
        worker_id=f"worker_{ulid.new()}",
        tasks={name: task.code_version for name, task in by_name.items()},
        credit=_CREDIT,
    )
    serving = asyncio.get_running_loop().create_task(worker.run())
    try:
        await _until_open(worker, serving)
        yield worker
    finally:
        await worker.stop()
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        await connection.close()


async def _until_open(worker: Worker, serving: "asyncio.Task[None]") -> None:
    opened = asyncio.ensure_future(worker.wait_until_open())
    try:
        await asyncio.wait((serving, opened), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            await serving
    finally:
        opened.cancel()


def _where(client: "Client | str | None") -> tuple[endpoint.Endpoint, Clock]:
    if client is None or isinstance(client, str):
        return endpoint.resolve(client), SystemClock()
    connection = client._connection
    clock = connection.clock
    return connection.endpoint, clock if isinstance(clock, ManualClock) else SystemClock()
