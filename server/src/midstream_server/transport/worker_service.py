"""WorkerService over gRPC: converts frames, calls the operation, converts what the worker is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration

from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.run_pb2 import Failure, Outcome
from midstream_server.domain import errors
from midstream_server.domain.managed import MAX_DEATHS
from midstream_server.domain.run import EntryKind, State
from midstream_server.operations import Core
from midstream_server.operations.work import session as told
from midstream_server.operations.work.work import Work, work
from midstream_server.store.managed import Progress
from midstream_server.transport.caller import current_caller
from midstream_server.transport.convert import encode_failures, from_timestamp, timestamp
from midstream_server.transport.entries import work_entries

Context = Any

_FRAMES_IN_FLIGHT = 256
_KINDS = {
    "step_began": EntryKind.STEP_BEGAN,
    "step_ended": EntryKind.STEP_ENDED,
    "timer_fired": EntryKind.TIMER_FIRED,
}
_END_STATES = {"result": State.COMPLETED, "failure": State.FAILED, "cancelled": State.CANCELLED}


class WorkerServicer:
    """One method for each RPC of midstream.v1.WorkerService; see there."""

    def __init__(self, core: Core, *, lease_us: int) -> None:
        self._core = core
        self._lease_us = lease_us

    async def Work(self, requests: AsyncIterator[pb.WorkRequest], context: Context) -> AsyncIterator[Any]:
        first = await anext(aiter(requests), None)
        if first is None:
            return
        frame = first.WhichOneof("frame")
        if frame != "open":
            raise errors.frame_out_of_order(frame or "none", "open")
        opening = first.open
        async with work(
            self._core,
            current_caller.get().namespace,
            opening.worker_id,
            {task.task: task.code_version for task in opening.tasks},
            {held.run_id: (held.epoch, held.received_offset) for held in opening.held},
            lease_us=self._lease_us,
        ) as call:
            lease = Duration()
            lease.FromMicroseconds(self._lease_us)
            yield pb.WorkResponse(opened=pb.WorkResponse.Opened(lease=lease))
            await call.grant(opening.credit)
            reader = asyncio.create_task(_apply_frames(requests, call))
            drained = asyncio.create_task(self._core.drain.wait())
            drained.add_done_callback(lambda _: call.session.wake())
            try:
                async for each in call.session.told():
                    yield _encode(each)
            finally:
                reader.cancel()
                drained.cancel()


async def _apply_frames(requests: AsyncIterator[pb.WorkRequest], call: Work) -> None:
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
            task = asyncio.ensure_future(_apply(request, call))
            applying.add(task)
            task.add_done_callback(applied)
    except Exception as error:
        call.session.fail(error)
    else:
        call.session.leave()


async def _apply(request: pb.WorkRequest, call: Work) -> None:
    name = request.WhichOneof("frame")
    apply = _APPLY.get(name or "")
    if apply is None:
        raise errors.frame_out_of_order(name or "none", "any other frame")
    await apply(getattr(request, name or ""), call)


async def _credit(frame: pb.WorkRequest.Credit, call: Work) -> None:
    await call.grant(frame.runs)


async def _heartbeat(frame: pb.WorkRequest.Heartbeat, call: Work) -> None:
    await call.heartbeat()


async def _append(frame: pb.WorkRequest.Append, call: Work) -> None:
    fact = frame.entry.WhichOneof("fact") or "none"
    kind = _KINDS.get(fact)
    if kind is None:
        raise errors.field_invalid("append.entry", f"has fact {fact!r}, must have one of {', '.join(_KINDS)}")
    detail = getattr(frame.entry, fact)
    kept = Entry(checkpoint=_without_failures(frame.checkpoint))
    getattr(kept, fact).CopyFrom(detail)
    await call.append(
        frame.run_id,
        frame.epoch,
        kind,
        operation=detail.operation,
        attempt=detail.attempt if kind is EntryKind.STEP_ENDED else 0,
        body=kept.SerializeToString(),
        due_us=from_timestamp(detail.due_time) if kind is EntryKind.TIMER_FIRED else None,
        progress=_progress(frame.checkpoint),
    )


async def _report(frame: pb.WorkRequest.Progress, call: Work) -> None:
    await call.progress(frame.run_id, frame.epoch, _progress(frame.checkpoint))


async def _suspend(frame: pb.WorkRequest.Suspend, call: Work) -> None:
    await call.suspend(
        frame.run_id,
        frame.epoch,
        applied_offset=frame.checkpoint.applied_offset,
        listening=frozenset(frame.listening),
        timers={timer.operation: from_timestamp(timer.due_time) for timer in frame.timers},
        checkpoint=_without_failures(frame.checkpoint).SerializeToString(),
        progress=_progress(frame.checkpoint),
    )


async def _finish(frame: pb.WorkRequest.Finish, call: Work) -> None:
    outcome = frame.outcome.WhichOneof("outcome")
    if outcome is None:
        raise errors.field_invalid("finish.outcome", "is required: set one of result, failure and cancelled")
    await call.finish(
        frame.run_id,
        frame.epoch,
        _END_STATES[outcome],
        frame.outcome.SerializeToString(deterministic=True),
        _progress(frame.checkpoint),
    )


async def _block(frame: pb.WorkRequest.Block, call: Work) -> None:
    await call.block(frame.run_id, frame.epoch, Outcome(failure=frame.failure).SerializeToString())


async def _release(frame: pb.WorkRequest.Release, call: Work) -> None:
    crash_loop = Failure(
        error_type="CRASH_LOOP",
        message=f"{MAX_DEATHS} processes died without a new entry in the log (the last: {frame.reason or 'unknown'}). "
        "The same log would kill the next one too: deploy other code, and it goes on where it was.",
    )
    await call.release(
        frame.run_id, frame.epoch, died=frame.died, crash_loop=Outcome(failure=crash_loop).SerializeToString()
    )


async def _restart(frame: pb.WorkRequest.Restart, call: Work) -> None:
    followed = call.session.followed(frame.run_id, frame.epoch)
    generation = 1 if followed is None else followed.generation + 1
    entry = Entry(
        restarted=Entry.Restarted(generation=generation, payload=frame.payload),
        checkpoint=_without_failures(frame.checkpoint),
    )
    await call.restart(frame.run_id, frame.epoch, entry.SerializeToString(), _progress(frame.checkpoint))


_APPLY: dict[str, Callable[[Any, Work], Awaitable[None]]] = {
    "credit": _credit,
    "heartbeat": _heartbeat,
    "append": _append,
    "progress": _report,
    "suspend": _suspend,
    "finish": _finish,
    "block": _block,
    "release": _release,
    "restart": _restart,
}


def _progress(checkpoint: Checkpoint) -> Progress:
    return Progress(
        consumed=[(consumed.stream_id, consumed.cursor) for consumed in checkpoint.consumed],
        failures=[
            (failure.stream_id, encoded)
            for failure, encoded in zip(
                checkpoint.handler_failures, encode_failures(checkpoint.handler_failures), strict=True
            )
        ],
    )


def _without_failures(checkpoint: Checkpoint) -> Checkpoint:
    """What replay compares; the rest has gone to the run."""
    kept = Checkpoint()
    kept.CopyFrom(checkpoint)
    kept.ClearField("handler_failures")
    return kept


def _encode(each: told.Told) -> pb.WorkResponse | bytes:
    match each:
        case told.Entries(run_id, epoch, entries):
            return work_entries(run_id, epoch, entries)
        case told.Assigned(run_id, task, epoch, generation, last_offset, checkpoint):
            assigned = pb.WorkResponse.Assigned(
                run_id=run_id, task=task, epoch=epoch, generation=generation, last_offset=last_offset
            )
            if checkpoint is not None:
                assigned.suspended.ParseFromString(checkpoint)
            return pb.WorkResponse(assigned=assigned)
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
        case told.Drain():
            return pb.WorkResponse(drain=pb.WorkResponse.Drain())
