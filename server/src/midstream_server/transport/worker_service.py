"""WorkerService over gRPC: converts frames, calls the operation, converts what the worker is told."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from google.protobuf.duration_pb2 import Duration

from midstream.v1 import worker_service_pb2 as pb
from midstream_server.domain import errors
from midstream_server.domain.limits import Limits
from midstream_server.operations import Core
from midstream_server.operations.work import session as told
from midstream_server.operations.work.work import Work, work
from midstream_server.transport.caller import current_caller
from midstream_server.transport.convert import timestamp
from midstream_server.transport.drafts import Drafter
from midstream_server.transport.entries import assigned_frame, work_entries
from midstream_server.transport.status import to_status
from midstream_server.transport.work_frames import WorkFrames

Context = Any

_FRAMES_IN_FLIGHT = 256
_VERSION_LENGTH = 256


class WorkerServicer:
    """One method for each RPC of midstream.v1.WorkerService; see there."""

    def __init__(self, core: Core, limits: Limits, *, lease_us: int) -> None:
        self._core = core
        self._frames = WorkFrames(Drafter(limits))
        self._lease_us = lease_us

    async def Work(self, requests: AsyncIterator[pb.WorkRequest], context: Context) -> AsyncIterator[Any]:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        frame = first.WhichOneof("frame")
        if frame != "open":
            raise errors.frame_out_of_order(frame or "none", "open")
        opening = first.open
        caller = current_caller.get()
        caller.check_backend()
        async with work(
            self._core,
            caller.namespace,
            opening.worker_id,
            _tasks(opening.tasks),
            {held.run_id: (held.epoch, held.received_offset) for held in opening.held},
            runtime=opening.runtime,
            lease_us=self._lease_us,
        ) as call:
            lease = Duration()
            lease.FromMicroseconds(self._lease_us)
            yield pb.WorkResponse(opened=pb.WorkResponse.Opened(lease=lease))
            await call.grant(opening.credit)
            reader = asyncio.create_task(_apply_frames(self._frames, requests, call))
            drained = asyncio.create_task(self._core.drain.wait())
            drained.add_done_callback(lambda _: call.session.wake())
            try:
                async for each in call.session.told():
                    yield _encode(each)
            finally:
                reader.cancel()
                drained.cancel()


def _tasks(tasks: Iterable[pb.WorkRequest.TaskVersion]) -> dict[str, str]:
    """Code versions by task. Raises Refused: FIELD_INVALID."""
    for task in tasks:
        if len(task.code_version) > _VERSION_LENGTH:
            raise errors.field_invalid("open.tasks.code_version", f"is longer than {_VERSION_LENGTH} characters")
    return {task.task: task.code_version for task in tasks}


async def _apply_frames(frames: WorkFrames, requests: AsyncIterator[pb.WorkRequest], call: Work) -> None:
    """Begins to apply each frame as it comes, in order: many share a commit."""
    places = asyncio.Semaphore(_FRAMES_IN_FLIGHT)
    applying: set[asyncio.Task[None]] = set()

    def applied(task: asyncio.Task[None]) -> None:
        applying.discard(task)
        places.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            call.session.fail(error)

    try:
        async for request in requests:
            await places.acquire()
            await call.session.until_heard()
            task = asyncio.ensure_future(frames.apply(request, call))
            applying.add(task)
            task.add_done_callback(applied)
    except Exception as error:
        call.session.fail(error)
    else:
        call.session.leave()


def _encode(each: told.Told) -> pb.WorkResponse | bytes:
    match each:
        case told.Entries(run_id, epoch, entries):
            return work_entries(run_id, epoch, entries)
        case told.Assigned(run_id, task, epoch, generation, last_offset, checkpoint, entries):
            assigned = pb.WorkResponse.Assigned(
                run_id=run_id, task=task, epoch=epoch, generation=generation, last_offset=last_offset
            )
            if checkpoint is not None:
                assigned.suspended.ParseFromString(checkpoint)
            return assigned_frame(assigned.SerializeToString(), run_id, entries)
        case told.Suspended(run_id, epoch):
            return pb.WorkResponse(suspended=pb.WorkResponse.Suspended(run_id=run_id, epoch=epoch))
        case told.SuspendRefused(run_id, epoch, now_us):
            refused = pb.WorkResponse.SuspendRefused(run_id=run_id, epoch=epoch, server_time=timestamp(now_us))
            return pb.WorkResponse(suspend_refused=refused)
        case told.Early(run_id, epoch, operation, now_us):
            early = pb.WorkResponse.Early(
                run_id=run_id, epoch=epoch, operation=operation, server_time=timestamp(now_us)
            )
            return pb.WorkResponse(early=early)
        case told.Finished(run_id, epoch):
            return pb.WorkResponse(finished=pb.WorkResponse.Finished(run_id=run_id, epoch=epoch))
        case told.Fenced(run_id, epoch):
            return pb.WorkResponse(fenced=pb.WorkResponse.Fenced(run_id=run_id, epoch=epoch))
        case told.OutputStored(run_id, epoch, number, refused):
            stored = pb.WorkResponse.OutputStored(
                run_id=run_id, epoch=epoch, number=number, errors=[to_status(each) for each in refused]
            )
            return pb.WorkResponse(output_stored=stored)
        case told.Drain():
            return pb.WorkResponse(drain=pb.WorkResponse.Drain())
