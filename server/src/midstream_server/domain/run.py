"""A run: its states, and the facts and timers of its life."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.domain.errors import Refused


class Kind(IntEnum):
    """Who executes a run. The numbers are those of `midstream.v1.Run.Kind`, and are stored."""

    MANAGED = 1
    ATTACHED = 2


class State(IntEnum):
    """Where a run stands. The numbers are those of `midstream.v1.Run.State`, and are stored."""

    QUEUED = 1
    RUNNING = 2
    SUSPENDED = 3
    BLOCKED = 4
    COMPLETED = 5
    FAILED = 6
    CANCELLED = 7
    EXPIRED = 8

    @property
    def final(self) -> bool:
        return self >= State.COMPLETED


class EntryKind(IntEnum):
    """The kinds of facts in a log. Stored."""

    CREATED = 1
    RECORD = 2
    CANCEL_REQUESTED = 3
    ENDED = 4
    STARTED = 5
    STEP_BEGAN = 6
    STEP_ENDED = 7
    TIMER_FIRED = 8
    RESTARTED = 9
    RECORDS_DROPPED = 10


class TimerKind(IntEnum):
    """What a run may be waiting for. Stored."""

    DEADLINE = 1
    CANCEL_GRACE = 2
    UNHELD = 3
    RETENTION = 4
    OPERATION = 5
    LEASE = 6
    OUTPUT_RETENTION = 7

    @property
    def ends_retention(self) -> bool:
        """True where something is to be deleted, in slices; see `Store.purge`."""
        return self in (TimerKind.RETENTION, TimerKind.OUTPUT_RETENTION)


class StreamStatus(NamedTuple):
    """An input stream of a run."""

    stream_id: str
    last_seq: int
    cursor: int
    unread_bytes: int

    @property
    def unread(self) -> int:
        return self.last_seq - self.cursor


class OutputStatus(NamedTuple):
    """An output stream of a run."""

    stream_id: str
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it stands. Times are microseconds since the epoch.

    `spec` and `outcome` are encoded by the transport; nothing below it looks into them.
    """

    no: int
    run_id: str
    task: str
    kind: Kind
    state: State
    spec: bytes
    outcome: bytes | None
    created_us: int
    started_us: int | None
    finished_us: int | None
    deadline_us: int | None
    cancel_us: int | None
    delete_us: int | None
    handler_failure_count: int
    last_offset: int
    streams: tuple[StreamStatus, ...]
    handler_failures: tuple[tuple[str, int, bytes], ...] = ()
    """The newest failures, oldest first: stream id, time, encoded failure."""
    outputs: tuple[OutputStatus, ...] = ()
    """Not in a list of runs."""


def check_takes_records(run_id: str, state: State) -> Refused | None:
    """The refusal for a record to an ended run."""
    return errors.run_finished(run_id, state.name) if state.final else None


def check_consumable(run_id: str, kind: Kind, state: State) -> None:
    """Refuses to consume from outside what a worker consumes, or what nobody consumes any more."""
    if kind is Kind.MANAGED:
        raise errors.run_managed(run_id)
    if state.final:
        raise errors.run_finished(run_id, state.name)


def state_when_due(timer: TimerKind, state: State) -> State | None:
    """The final state that a due timer puts a run into; None where it changes nothing."""
    if state.final or timer.ends_retention:
        return None
    return State.CANCELLED if timer is TimerKind.CANCEL_GRACE else State.EXPIRED
