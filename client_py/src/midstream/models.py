"""What the server tells, as frozen dataclasses. Times are aware (UTC); payloads are decoded when asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Self

from midstream.access import AccessToken
from midstream.codec import ANY
from midstream.errors import MidstreamError, from_status
from midstream.timestamps import to_datetime
from midstream.v1 import handler_failure_pb2, record_pb2, run_pb2, stream_service_pb2


class RunKind(StrEnum):
    """Who executes a run: a worker, or some other process that attached itself."""

    UNSPECIFIED = "UNSPECIFIED"
    MANAGED = "MANAGED"
    ATTACHED = "ATTACHED"


class RunState(StrEnum):
    """Where a run stands."""

    UNSPECIFIED = "UNSPECIFIED"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    BLOCKED = "BLOCKED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL


_FINAL: Final = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELLED, RunState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a record, as the server recognised it: `kind` is ANONYMOUS, API_KEY, ACCESS_TOKEN or RUN."""

    kind: str
    subject: str


class Direction(StrEnum):
    """Which way a stream goes: into the run, or out of it."""

    INPUT = "INPUT"
    OUTPUT = "OUTPUT"


_INPUT: Final = Direction.INPUT
_OUTPUT: Final = Direction.OUTPUT


@dataclass(frozen=True)
class Record:
    """A stored record. `value` is its plain JSON value or bytes; `InputStream.decode` gives the stream's own type."""

    run_id: str
    stream_id: str
    seq: int
    offset: int
    payload: record_pb2.Payload = field(repr=False)
    sender: Sender
    accept_time: datetime
    key: str
    metadata: Mapping[str, str]
    direction: Direction
    schema_version: int
    """The version of the stream's registered schema that it was checked against; 0 for none."""

    @cached_property
    def value(self) -> Any:
        """Raises PayloadError for a payload without content."""
        return ANY.decode(self.payload)

    @classmethod
    def from_proto(cls, record: record_pb2.Record) -> Self:
        """What is seldom asked for is read when it is: that alone was a sixth of a replay's time."""
        self = object.__new__(cls)
        vars(self).update(seq=record.seq, offset=record.offset, payload=record.payload, _unread=record)
        return self

    def __getattr__(self, name: str) -> Any:
        record: record_pb2.Record | None = vars(self).get("_unread")
        if record is None or name not in _READ_LATE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        sender = record.sender
        vars(self).update(
            run_id=record.run_id,
            stream_id=record.stream_id,
            sender=Sender(record_pb2.Sender.Kind.Name(sender.kind).removeprefix("KIND_"), sender.subject),
            accept_time=to_datetime(record.accept_time),
            key=record.idempotency_key,
            metadata=dict(record.metadata),
            direction=_OUTPUT if record.direction == record_pb2.DIRECTION_OUTPUT else _INPUT,
            schema_version=record.schema_version,
        )
        del vars(self)["_unread"]
        return vars(self)[name]


_READ_LATE: Final = frozenset(
    {"run_id", "stream_id", "sender", "accept_time", "key", "metadata", "direction", "schema_version"}
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A record is on disk. `deduplicated`: it was already, from an earlier send with the same key.

    `dropped`: how many unread records made room for it, on a stream that keeps only the newest. Of records that were
    sent at once, the last one tells for all.
    """

    seq: int
    offset: int
    accept_time: datetime
    deduplicated: bool
    dropped: int = 0

    @classmethod
    def from_proto(cls, accepted: stream_service_pb2.Accepted) -> Self:
        accept_time = to_datetime(accepted.accept_time)
        return cls(accepted.seq, accepted.offset, accept_time, accepted.deduplicated, accepted.dropped_count)


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one record of many: exactly one of `receipt` and `error` is set."""

    receipt: Receipt | None = None
    error: MidstreamError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    def unwrap(self) -> Receipt:
        """The receipt. Raises the error where there is none."""
        if self.receipt is None:
            assert self.error is not None
            raise self.error
        return self.receipt

    @classmethod
    def from_proto(cls, receipt: stream_service_pb2.Receipt) -> Self:
        accepted = receipt.accepted
        if accepted.seq:  # An unset `accepted` reads as seq 0; this is quicker than to ask which one is set.
            return cls(Receipt.from_proto(accepted))
        return cls(None, from_status(receipt.error))


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """An input stream of a run: its newest record's seq, the last consumed seq, and what is not consumed yet."""

    stream_id: str
    last_seq: int
    cursor: int
    unread_count: int
    unread_bytes: int

    @classmethod
    def from_proto(cls, stream: run_pb2.StreamStatus) -> Self:
        return cls(stream.stream_id, stream.last_seq, stream.cursor, stream.unread_count, stream.unread_bytes)


@dataclass(frozen=True, slots=True)
class OutputStatus:
    """An output stream of a run, and its newest record's seq."""

    stream_id: str
    last_seq: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed: the error's type, message and stack as text."""

    error_type: str
    message: str
    stack: str = field(default="", repr=False)

    @classmethod
    def from_proto(cls, failure: run_pb2.Failure) -> Self:
        return cls(failure.error_type, failure.message, failure.stack)


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """A handler that raised on a record. Delivery went on."""

    stream_id: str
    seq: int
    handler: str
    error_type: str
    message: str
    record_time: datetime

    @classmethod
    def from_proto(cls, failure: handler_failure_pb2.HandlerFailure) -> Self:
        return cls(
            failure.stream_id,
            failure.seq,
            failure.handler,
            failure.error_type,
            failure.message,
            to_datetime(failure.record_time),
        )


@dataclass(frozen=True)
class Run:
    """A run as it stood when the server looked."""

    id: str
    task: str
    kind: RunKind
    state: RunState
    failure: Failure | None
    create_time: datetime
    start_time: datetime | None
    finish_time: datetime | None
    deadline: datetime | None
    cancel_time: datetime | None
    delete_time: datetime | None
    last_offset: int
    streams: tuple[StreamStatus, ...]
    handler_failure_count: int
    handler_failures: tuple[HandlerFailure, ...]
    metadata: Mapping[str, str]
    payload_proto: record_pb2.Payload | None = field(repr=False)
    result_proto: record_pb2.Payload | None = field(repr=False)
    access_token: AccessToken | None = field(default=None, compare=False)
    """Where `start_run` was to make one."""
    outputs: tuple[OutputStatus, ...] = ()
    """Not in a list of runs."""

    @cached_property
    def payload(self) -> Any:
        """The task's argument as plain JSON or bytes; None where there is none, and in a list of runs."""
        return None if self.payload_proto is None else ANY.decode(self.payload_proto)

    @cached_property
    def result(self) -> Any:
        """What the task returned, as plain JSON or bytes; None unless COMPLETED."""
        return None if self.result_proto is None else ANY.decode(self.result_proto)

    def stream(self, stream_id: str) -> StreamStatus:
        """A stream's status; all zeros for a stream that has had no record."""
        return next((s for s in self.streams if s.stream_id == stream_id), StreamStatus(stream_id, 0, 0, 0, 0))

    @classmethod
    def from_proto(cls, run: run_pb2.Run) -> Self:
        return cls(
            id=run.run_id,
            task=run.task,
            kind=RunKind(run_pb2.Run.Kind.Name(run.kind).removeprefix("KIND_")),
            state=RunState(run_pb2.Run.State.Name(run.state).removeprefix("STATE_")),
            failure=Failure.from_proto(run.failure) if run.HasField("failure") else None,
            create_time=to_datetime(run.create_time),
            start_time=to_datetime(run.start_time) if run.HasField("start_time") else None,
            finish_time=to_datetime(run.finish_time) if run.HasField("finish_time") else None,
            deadline=to_datetime(run.deadline) if run.HasField("deadline") else None,
            cancel_time=to_datetime(run.cancel_time) if run.HasField("cancel_time") else None,
            delete_time=to_datetime(run.delete_time) if run.HasField("delete_time") else None,
            last_offset=run.last_offset,
            streams=tuple(StreamStatus.from_proto(stream) for stream in run.streams),
            handler_failure_count=run.handler_failure_count,
            handler_failures=tuple(HandlerFailure.from_proto(failure) for failure in run.handler_failures),
            metadata=dict(run.metadata),
            payload_proto=run.payload if run.HasField("payload") else None,
            result_proto=run.result if run.HasField("result") else None,
            outputs=tuple(OutputStatus(each.stream_id, each.last_seq) for each in run.outputs),
        )
