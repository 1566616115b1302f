"""A run's log as its readers see it: one entry for each fact, in one order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, Self

from midstream.codec import ANY
from midstream.models import Failure, Record, RunState
from midstream.timestamps import to_datetime
from midstream.v1 import entry_pb2, record_pb2, run_pb2


@dataclass(frozen=True)
class Created:
    """The run exists; its task and its deadline are those of the Run."""

    metadata: Mapping[str, str]
    payload_proto: record_pb2.Payload = field(repr=False)

    @cached_property
    def payload(self) -> Any:
        """The task's argument as plain JSON or bytes; None where it was given none."""
        return _decoded(self.payload_proto)


@dataclass(frozen=True, slots=True)
class Started:
    """The task's function was called."""


@dataclass(frozen=True, slots=True)
class StepBegan:
    """An at-most-once step was about to run, under this epoch."""

    operation: int
    name: str
    epoch: int


@dataclass(frozen=True)
class StepEnded:
    """An attempt of a step returned, or raised `failure`. `duration` is None where it was not measured."""

    operation: int
    name: str
    attempt: int
    duration: timedelta | None
    failure: Failure | None
    value_proto: record_pb2.Payload = field(repr=False)

    @cached_property
    def value(self) -> Any:
        """What the step returned, as plain JSON or bytes; None where it raised."""
        return _decoded(self.value_proto)


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A sleep or a timeout came due."""

    operation: int
    due_time: datetime


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The run was to stop: somebody asked, or its deadline had passed."""

    deadline_passed: bool


@dataclass(frozen=True)
class Restarted:
    """The task called `restart_with`: a new generation began."""

    generation: int
    payload_proto: record_pb2.Payload = field(repr=False)

    @cached_property
    def payload(self) -> Any:
        """The task's new argument, as plain JSON or bytes."""
        return _decoded(self.payload_proto)


@dataclass(frozen=True, slots=True)
class RecordsDropped:
    """The oldest unread records of a stream made room for the next one; where a task had taken some, it keeps them."""

    stream_id: str
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The run ended in this state."""

    state: RunState


Fact = (
    Created
    | Started
    | Record
    | StepBegan
    | StepEnded
    | TimerFired
    | CancelRequested
    | Restarted
    | RecordsDropped
    | Ended
)  # a Record: it was accepted


@dataclass(frozen=True, slots=True)
class Entry:
    """One fact in a run's log. `offset` counts from 1 without gaps; `append_time` never goes backwards.

    `fact` is None for one that a newer server knows and this client does not. `applied_offset` says how far the worker
    had come when it asked for the entry; None for what the server appended by itself.
    """

    offset: int
    append_time: datetime
    fact: Fact | None
    applied_offset: int | None

    @classmethod
    def from_proto(cls, entry: entry_pb2.Entry) -> Self:
        kind = entry.WhichOneof("fact")
        return cls(
            offset=entry.offset,
            append_time=to_datetime(entry.append_time),
            fact=None if kind is None else _FACTS[kind](getattr(entry, kind)),
            applied_offset=entry.checkpoint.applied_offset if entry.HasField("checkpoint") else None,
        )


def _created(fact: entry_pb2.Entry.Created) -> Created:
    return Created(dict(fact.spec.metadata), fact.spec.payload)


def _started(fact: entry_pb2.Entry.Started) -> Started:
    return Started()


def _step_began(fact: entry_pb2.Entry.StepBegan) -> StepBegan:
    return StepBegan(fact.operation, fact.name, fact.epoch)


def _step_ended(fact: entry_pb2.Entry.StepEnded) -> StepEnded:
    return StepEnded(
        operation=fact.operation,
        name=fact.name,
        attempt=fact.attempt,
        duration=fact.duration.ToTimedelta() if fact.HasField("duration") else None,
        failure=Failure.from_proto(fact.failure) if fact.HasField("failure") else None,
        value_proto=fact.value,
    )


def _timer_fired(fact: entry_pb2.Entry.TimerFired) -> TimerFired:
    return TimerFired(fact.operation, to_datetime(fact.due_time))


def _cancel_requested(fact: entry_pb2.Entry.CancelRequested) -> CancelRequested:
    return CancelRequested(fact.deadline_passed)


def _restarted(fact: entry_pb2.Entry.Restarted) -> Restarted:
    return Restarted(fact.generation, fact.payload)


def _records_dropped(fact: entry_pb2.Entry.RecordsDropped) -> RecordsDropped:
    return RecordsDropped(fact.stream_id, fact.first_seq, fact.last_seq)


def _ended(fact: entry_pb2.Entry.Ended) -> Ended:
    return Ended(RunState(run_pb2.Run.State.Name(fact.state).removeprefix("STATE_")))


_FACTS: Final[Mapping[str, Callable[[Any], Fact]]] = {
    "created": _created,
    "started": _started,
    "record": Record.from_proto,
    "step_began": _step_began,
    "step_ended": _step_ended,
    "timer_fired": _timer_fired,
    "cancel_requested": _cancel_requested,
    "restarted": _restarted,
    "records_dropped": _records_dropped,
    "ended": _ended,
}


def _decoded(payload: record_pb2.Payload) -> Any:
    return ANY.decode(payload) if payload.WhichOneof("content") is not None else None
