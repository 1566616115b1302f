"""Between the contract's messages and the domain's values."""

from collections.abc import Sequence

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from midstream.v1 import assignment_pb2, run_pb2
from midstream.v1.handler_failure_pb2 import HandlerFailure as HandlerFailureMessage
from midstream_server.domain import errors
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import BATCH_RECORDS
from midstream_server.domain.record import Direction
from midstream_server.domain.run import Run, State
from midstream_server.operations.start_run import Spec
from midstream_server.store import HandlerFailure
from midstream_server.store.managed import Assignment
from midstream_server.transport.drafts import Drafter, check_metadata

_SHORT = 256
_MESSAGE = 4_096
_STACK = 65_536


def optional_us(message: Message, field: str, path: str) -> int | None:
    """A Duration field in microseconds, rounded up; None where it is unset. Raises Refused: FIELD_INVALID."""
    if not message.HasField(field):
        return None
    duration = getattr(message, field)
    if abs(duration.nanos) >= 1_000_000_000 or duration.seconds * duration.nanos < 0:
        raise errors.field_invalid(path, f"is no duration: {duration.seconds} seconds and {duration.nanos} nanos")
    us: int = duration.seconds * 1_000_000 - (-duration.nanos // 1_000)
    return us


def direction_of(number: int) -> Direction:
    """UNSPECIFIED is INPUT. Raises Refused: FIELD_INVALID."""
    try:
        return Direction(number or Direction.INPUT)
    except ValueError:
        raise errors.field_invalid("direction", f"{number} is not a direction of streams") from None


def timestamp(at_us: int) -> Timestamp:
    seconds, us = divmod(at_us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=us * 1_000)


def from_timestamp(message: Timestamp) -> int:
    """Microseconds since the epoch, rounded up: a deadline is never early."""
    return message.seconds * 1_000_000 - (-message.nanos // 1_000)


def encode_failures(failures: Sequence[HandlerFailureMessage]) -> list[HandlerFailure]:
    """Raises Refused: FIELD_INVALID."""
    if len(failures) > BATCH_RECORDS:
        raise errors.field_invalid("failures", f"has {len(failures)}, at most {BATCH_RECORDS:,} are allowed")
    return [encode_failure(failure) for failure in failures]


def encode_failure(failure: HandlerFailureMessage) -> HandlerFailure:
    kept = HandlerFailureMessage(
        seq=failure.seq,
        handler=failure.handler[:_SHORT],
        error_type=failure.error_type[:_SHORT],
        message=failure.message[:_MESSAGE],
    )
    return HandlerFailure(kept.seq, kept.handler, kept.SerializeToString())


def spec(message: run_pb2.RunSpec, drafter: Drafter) -> Spec:
    """Raises Refused: FIELD_INVALID."""
    check_metadata("spec.metadata", message.metadata)
    has_payload = message.HasField("payload")
    kept = run_pb2.RunSpec(task=message.task, payload=message.payload, metadata=message.metadata)
    if message.HasField("max_duration"):
        kept.max_duration.CopyFrom(message.max_duration)
    if not has_payload:
        kept.payload.json = "null"
    return Spec(
        task=message.task,
        payload=drafter.argument(kept.payload, "spec.payload"),
        has_payload=has_payload,
        encoded=kept.SerializeToString(deterministic=True),
        max_duration_us=optional_us(message, "max_duration", "spec.max_duration"),
    )


def outcome(message: run_pb2.Outcome, drafter: Drafter) -> tuple[State, bytes]:
    """Raises Refused: FIELD_INVALID, PAYLOAD_TOO_LARGE, PAYLOAD_INVALID."""
    match message.WhichOneof("outcome"):
        case "result":
            flaw = drafter.argument(message.result, "outcome.result").flaw
            if flaw is not None:
                raise flaw
            return State.COMPLETED, message.SerializeToString(deterministic=True)
        case "failure":
            return State.FAILED, encode_failed(message.failure)
        case "cancelled":
            return State.CANCELLED, message.SerializeToString(deterministic=True)
        case _:
            raise errors.field_invalid("outcome", "is required: set one of result, failure and cancelled")


def encode_failed(failure: run_pb2.Failure) -> bytes:
    """An Outcome."""
    return run_pb2.Outcome(failure=cut_failure(failure)).SerializeToString(deterministic=True)


def cut_failure(failure: run_pb2.Failure) -> run_pb2.Failure:
    """As much of it as is kept."""
    return run_pb2.Failure(
        error_type=failure.error_type[:_SHORT], message=failure.message[:_MESSAGE], stack=failure.stack[-_STACK:]
    )


def failure_for(flaw: Refused) -> run_pb2.Failure:
    """What becomes of a value that cannot be stored."""
    return run_pb2.Failure(error_type=flaw.reason.name, message=flaw.message[:_MESSAGE])


def assignment(value: Assignment) -> assignment_pb2.Assignment:
    message = assignment_pb2.Assignment(
        epoch=value.epoch,
        worker_id=value.worker_id,
        code_version=value.code_version,
        assign_time=timestamp(value.assigned_us),
    )
    if value.ended_us is not None and value.ending is not None:
        message.end_time.CopyFrom(timestamp(value.ended_us))
        message.end = value.ending.value  # type: ignore[assignment]  # the domain's numbers are the contract's
    return message


def run(value: Run, *, brief: bool = False) -> run_pb2.Run:
    """A run; `brief` leaves out what lists of runs leave out."""
    message = run_pb2.Run(
        run_id=value.run_id,
        task=value.task,
        kind=value.kind.value,  # type: ignore[arg-type]  # the domain's numbers are the contract's
        state=value.state.value,  # type: ignore[arg-type]
        create_time=timestamp(value.created_us),
        last_offset=value.last_offset,
        handler_failure_count=value.handler_failure_count,
        streams=[
            run_pb2.StreamStatus(
                stream_id=stream.stream_id,
                last_seq=stream.last_seq,
                cursor=stream.cursor,
                unread_count=stream.unread,
                unread_bytes=stream.unread_bytes,
            )
            for stream in value.streams
        ],
    )
    times = {
        "start_time": value.started_us,
        "finish_time": value.finished_us,
        "deadline": value.deadline_us,
        "cancel_time": value.cancel_us,
        "delete_time": value.delete_us,
    }
    for field, at_us in times.items():
        if at_us is not None:
            getattr(message, field).CopyFrom(timestamp(at_us))
    kept = run_pb2.RunSpec.FromString(value.spec)
    message.metadata.update(kept.metadata)
    if not brief:
        message.payload.CopyFrom(kept.payload)
        for output in value.outputs:
            message.outputs.add(stream_id=output.stream_id, last_seq=output.last_seq)
        _set_outcome(message, value.outcome)
        _add_failures(message, value)
    return message


def _set_outcome(message: run_pb2.Run, encoded: bytes | None) -> None:
    if encoded is None:
        return
    ended = run_pb2.Outcome.FromString(encoded)
    match ended.WhichOneof("outcome"):
        case "result":
            message.result.CopyFrom(ended.result)
        case "failure":
            message.failure.CopyFrom(ended.failure)


def _add_failures(message: run_pb2.Run, value: Run) -> None:
    for stream_id, at_us, encoded in value.handler_failures:
        failure = message.handler_failures.add()
        failure.ParseFromString(encoded)
        failure.stream_id = stream_id
        failure.record_time.CopyFrom(timestamp(at_us))
