"""Frames from a worker: checks and converts each, and calls the operation.

A step's result, or a run's, that cannot be stored becomes a failure that says why: refusing the frame would only have
the worker say it again.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from midstream.v1 import worker_service_pb2 as pb
from midstream.v1.entry_pb2 import Checkpoint, Entry
from midstream.v1.run_pb2 import Failure, Outcome
from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import BATCH_RECORDS
from midstream_server.domain.managed import MAX_DEATHS
from midstream_server.domain.names import check_name
from midstream_server.domain.output import OutputDraft
from midstream_server.domain.run import EntryKind, State
from midstream_server.operations.work.work import Work
from midstream_server.store.managed import EndedAttempt, Progress
from midstream_server.transport import convert, wire
from midstream_server.transport.drafts import Drafter

_KINDS = {
    "step_began": EntryKind.STEP_BEGAN,
    "step_ended": EntryKind.STEP_ENDED,
    "timer_fired": EntryKind.TIMER_FIRED,
}
_CHECKPOINT_BYTES = 512 * 1024
_NAME_LENGTH = 256
_MAX_SECONDS = 253_402_300_799
"""The end of the year 9999, as for every Timestamp."""


class WorkFrames:
    """One method for each kind of frame behind the first."""

    def __init__(self, drafter: Drafter) -> None:
        self._drafter = drafter
        self._apply: dict[str, Callable[[Any, Work], Awaitable[None]]] = {
            "credit": self._credit,
            "heartbeat": self._heartbeat,
            "append": self._append,
            "progress": self._progress,
            "suspend": self._suspend,
            "finish": self._finish,
            "block": self._block,
            "release": self._release,
            "restart": self._restart,
            "output": self._output,
        }

    async def apply(self, request: pb.WorkRequest, call: Work) -> None:
        """Raises Refused: FRAME_OUT_OF_ORDER, FIELD_INVALID, and what the operation raises."""
        name = request.WhichOneof("frame") or "none"
        apply = self._apply.get(name)
        if apply is None:
            raise errors.frame_out_of_order(name, "any other frame")
        await apply(getattr(request, name), call)

    async def _credit(self, frame: pb.WorkRequest.Credit, call: Work) -> None:
        await call.grant(frame.runs)

    async def _heartbeat(self, frame: pb.WorkRequest.Heartbeat, call: Work) -> None:
        await call.heartbeat()

    async def _append(self, frame: pb.WorkRequest.Append, call: Work) -> None:
        fact = frame.entry.WhichOneof("fact") or "none"
        kind = _KINDS.get(fact)
        if kind is None:
            raise errors.field_invalid("append.entry", f"has fact {fact!r}, must have one of {', '.join(_KINDS)}")
        kept = Entry(checkpoint=_kept(frame.checkpoint))
        detail = getattr(kept, fact)
        detail.CopyFrom(getattr(frame.entry, fact))
        if kind is not EntryKind.TIMER_FIRED:
            detail.name = detail.name[:_NAME_LENGTH]
        if kind is EntryKind.STEP_ENDED:
            self._make_storable(detail)
        await call.append(
            frame.run_id,
            frame.epoch,
            kind,
            operation=detail.operation,
            attempt=detail.attempt if kind is EntryKind.STEP_ENDED else 0,
            body=kept.SerializeToString(),
            due_us=_due_us("append.entry.timer_fired", detail.due_time) if kind is EntryKind.TIMER_FIRED else None,
            progress=_progress(frame.checkpoint),
            ended=_ended(detail) if kind is EntryKind.STEP_ENDED else None,
        )

    def _make_storable(self, ended: Entry.StepEnded) -> None:
        match ended.WhichOneof("result"):
            case "value":
                flaw = self._drafter.argument(ended.value, "value").flaw
                if flaw is not None:
                    ended.failure.CopyFrom(convert.failure_for(flaw))
            case "failure":
                ended.failure.CopyFrom(convert.cut_failure(ended.failure))
            case _:
                raise errors.field_invalid("append.entry.step_ended", "is without a result: set value or failure")

    async def _output(self, frame: pb.WorkRequest.Output, call: Work) -> None:
        if len(frame.records) > BATCH_RECORDS:
            raise errors.field_invalid(
                "output.records", f"has {len(frame.records)} records, at most {BATCH_RECORDS:,} are allowed"
            )
        sender = wire.sender_field("RUN", frame.run_id)
        drafts = [_checked(self._drafter.output(record, sender)) for record in frame.records]
        await call.output(frame.run_id, frame.epoch, frame.number, drafts)

    async def _progress(self, frame: pb.WorkRequest.Progress, call: Work) -> None:
        await call.progress(frame.run_id, frame.epoch, _progress(frame.checkpoint))

    async def _suspend(self, frame: pb.WorkRequest.Suspend, call: Work) -> None:
        await call.suspend(
            frame.run_id,
            frame.epoch,
            listening=frozenset(frame.listening),
            timers={timer.operation: _due_us("suspend.timers", timer.due_time) for timer in frame.timers},
            checkpoint=_kept(frame.checkpoint).SerializeToString(),
            progress=_progress(frame.checkpoint),
        )

    async def _finish(self, frame: pb.WorkRequest.Finish, call: Work) -> None:
        if frame.outcome.WhichOneof("outcome") is None:
            raise errors.field_invalid("finish.outcome", "is required: set one of result, failure and cancelled")
        try:
            state, outcome = convert.outcome(frame.outcome, self._drafter)
        except Refused as flaw:
            state, outcome = State.FAILED, convert.encode_failed(convert.failure_for(flaw))
        await call.finish(frame.run_id, frame.epoch, state, outcome, _progress(frame.checkpoint))

    async def _block(self, frame: pb.WorkRequest.Block, call: Work) -> None:
        await call.block(frame.run_id, frame.epoch, convert.encode_failed(frame.failure))

    async def _release(self, frame: pb.WorkRequest.Release, call: Work) -> None:
        crash_loop = Failure(
            error_type="CRASH_LOOP",
            message=f"{MAX_DEATHS} processes died without a new entry in the log (the last: {_last_words(frame)}). "
            "The same log would kill the next one too: deploy other code, and it goes on where it was.",
        )
        await call.release(
            frame.run_id, frame.epoch, died=frame.died, crash_loop=Outcome(failure=crash_loop).SerializeToString()
        )

    async def _restart(self, frame: pb.WorkRequest.Restart, call: Work) -> None:
        flaw = self._drafter.argument(frame.payload, "restart.payload").flaw
        if flaw is not None:
            failed = convert.encode_failed(convert.failure_for(flaw))
            await call.finish(frame.run_id, frame.epoch, State.FAILED, failed, _progress(frame.checkpoint))
            return
        followed = call.session.followed(frame.run_id, frame.epoch)
        generation = 1 if followed is None else followed.generation + 1
        restarted = Entry.Restarted(generation=generation, payload=frame.payload, runtime=call.session.runtime)
        entry = Entry(restarted=restarted, checkpoint=_kept(frame.checkpoint))
        await call.restart(frame.run_id, frame.epoch, entry.SerializeToString(), _progress(frame.checkpoint))


def _ended(detail: Entry.StepEnded) -> EndedAttempt:
    return EndedAttempt(detail.operation, detail.attempt, detail.HasField("value"))


def _checked(output: OutputDraft) -> OutputDraft:
    """With a wrong name as its flaw, since the others of its frame are to be stored. Raises Refused: FIELD_INVALID."""
    if output.operation < 0 or output.attempt < 0 or output.place < 0:
        raise errors.field_invalid("output.records", "has a negative operation, attempt or place")
    try:
        check_name("stream_id", output.stream_id)
    except Refused as flaw:
        return output._replace(draft=output.draft._replace(flaw=flaw))
    return output


def _progress(checkpoint: Checkpoint) -> Progress:
    return Progress(
        applied_offset=checkpoint.applied_offset,
        consumed=[(consumed.stream_id, consumed.cursor) for consumed in checkpoint.consumed],
        failures=[(failure.stream_id, convert.encode_failure(failure)) for failure in checkpoint.handler_failures],
    )


def _kept(checkpoint: Checkpoint) -> Checkpoint:
    """What replay compares; the rest has gone to the run."""
    kept = Checkpoint()
    kept.CopyFrom(checkpoint)
    kept.ClearField("handler_failures")
    if kept.ByteSize() > _CHECKPOINT_BYTES:
        raise errors.field_invalid(
            "checkpoint", f"has {kept.ByteSize()} bytes, at most {_CHECKPOINT_BYTES} are allowed"
        )
    return kept


def _due_us(path: str, due_time: Timestamp) -> int:
    if not 0 <= due_time.seconds <= _MAX_SECONDS:
        raise errors.field_invalid(f"{path}.due_time", "is out of range: must be in the years 1970 to 9999")
    return convert.from_timestamp(due_time)


def _last_words(frame: pb.WorkRequest.Release) -> str:
    return frame.reason[:1_000] or "unknown"
