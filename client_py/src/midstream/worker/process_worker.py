"""`midstream worker`: a worker whose runs are processes, from its start until a signal ends it."""

import asyncio
import signal
from collections.abc import Callable
from typing import TypeVar

from midstream import ulid
from midstream.connection import Connection
from midstream.endpoint import Endpoint
from midstream.schemas import Schemas
from midstream.v1.schema_service_pb2 import RegisterSchemasRequest
from midstream.v1.worker_service_pb2 import WorkResponse
from midstream.worker import served_calls
from midstream.worker.assigned_run import Executor
from midstream.worker.nursery import Nursery
from midstream.worker.ready import Ready
from midstream.worker.report import Report
from midstream.worker.settings import WorkerSettings
from midstream.worker.template_settings import TemplateSettings
from midstream.worker.worker import Worker

T = TypeVar("T")


async def run_worker(endpoint: Endpoint, settings: WorkerSettings, report: Report) -> None:
    """Returns when SIGTERM or SIGINT has been dealt with: the first drains, the second stops at once.

    The processes that execute runs find the endpoint in their environment, for the clients that steps use.

    Raises TemplateFailed where the tasks cannot be imported, MidstreamError where the server refuses the worker.
    """
    stop_requested: asyncio.Queue[None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop_requested.put_nowait, None)
    nursery = Nursery(
        _template_settings(settings),
        spares=settings.spares,
        environment={**endpoint.environment(), **settings.environment},
        on_template_death=report.template_died,
        on_new_tasks=lambda tasks: worker.replace_tasks(tasks),
    )
    connection = Connection(endpoint, retry_timeout_us=None)
    try:
        starting = asyncio.ensure_future(nursery.start())
        if not await _first(starting, stop_requested):
            starting.cancel()
            return
        ready = await starting
        if settings.push_schemas:
            pushing = asyncio.ensure_future(_push(connection, ready.schemas, report))
            if not await _first(pushing, stop_requested):
                pushing.cancel()
                return
        worker = _assemble(connection, nursery, ready, settings, report)
        await _serve(worker, settings, stop_requested)
    finally:
        await nursery.close()
        await connection.close()
        report.stopped()


async def _push(connection: Connection, schemas: bytes, report: Report) -> None:
    if schemas:
        request = RegisterSchemasRequest.FromString(schemas)
        report.schemas_pushed(await Schemas(connection).register_request(request))


def _assemble(
    connection: Connection, nursery: Nursery, ready: Ready, settings: WorkerSettings, report: Report
) -> Worker:
    server = served_calls.ServedCalls(connection)

    def start(
        assigned: WorkResponse.Assigned, on_frame: Callable[[bytes], None], on_death: Callable[[str], None]
    ) -> Executor:
        def received(frame: bytes) -> None:
            if not server.serve(frame, child.deliver):
                on_frame(frame)

        child = nursery.take(on_frame=received, on_death=on_death)
        return child

    worker_id = settings.worker_id or f"worker_{ulid.new()}"
    report.started(str(connection.address), worker_id, ready.tasks, settings.credit)
    if ready.threads:
        report.threads_in_module(ready.threads, ready.spawns)
    return Worker(connection, start, report, worker_id=worker_id, tasks=ready.tasks, credit=settings.credit)


async def _serve(worker: Worker, settings: WorkerSettings, stop_requested: "asyncio.Queue[None]") -> None:
    serving = asyncio.ensure_future(worker.run())
    if not await _first(serving, stop_requested):
        draining = asyncio.ensure_future(worker.drain(settings.drain_timeout_us))
        await _first(draining, stop_requested)
        await worker.stop()
    await serving


async def _first(work: "asyncio.Future[T]", stop_requested: "asyncio.Queue[None]") -> bool:
    """True when the work is done, False when a signal came first. Raises what the work raises."""
    stopping = asyncio.ensure_future(stop_requested.get())
    try:
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
            return True
        return False
    finally:
        stopping.cancel()


def _template_settings(settings: WorkerSettings) -> TemplateSettings:
    return TemplateSettings(
        modules=settings.modules,
        directory=settings.directory,
        idle_timeout_us=settings.idle_timeout_us,
        log_format=settings.log_format,
        start_method=settings.start_method,
        push_schemas=settings.push_schemas,
    )
