"""A managed run between its worker and its log: what is refused, what wakes it, when it is given up."""

from collections.abc import Collection, Mapping
from enum import Enum, IntEnum, auto
from typing import NamedTuple

from midstream_server.domain.run import EntryKind, State

MAX_DEATHS = 5
"""Process deaths without a new entry, after which a run is blocked: the same log would kill the next one too."""


class Tenure(NamedTuple):
    """Who may speak for a run: its state and the epoch of its latest assignment."""

    state: State
    epoch: int


def fenced(tenure: Tenure, epoch: int) -> bool:
    """True where a frame with `epoch` is of a worker that has lost the run. Fences on the epoch and on RUNNING."""
    return tenure.state is not State.RUNNING or tenure.epoch != epoch


def superseded(*, applied_offset: int, generation_offset: int) -> bool:
    """True where what was said is of an earlier generation: the present one has applied its own beginning."""
    return applied_offset < generation_offset


class Unapplied(NamedTuple):
    """An entry that the worker had not applied; `stream_id` is a record's."""

    kind: EntryKind
    stream_id: str | None


def may_suspend(
    unapplied: Collection[Unapplied], *, listening: Collection[str], timers: Mapping[int, int], now_us: int
) -> bool:
    """False where something in the log, or a timer (operation to due time), would wake the run at once.

    Records on streams that it does not listen to are no reason: a warm run would not look at them either.
    """
    for kind, stream_id in unapplied:
        if kind is EntryKind.RECORDS_DROPPED:
            continue  # The new record behind it may wake the run.
        if kind is not EntryKind.RECORD or stream_id in listening:
            return False
    return all(due_us > now_us for due_us in timers.values())


def timer_is_early(due_us: int, now_us: int) -> bool:
    return due_us > now_us


class Ending(IntEnum):
    """How an assignment ended. The numbers are those of `midstream.v1.Assignment.End`, and are stored."""

    SUSPENDED = 1
    FINISHED = 2
    RELEASED = 3
    DIED = 4
    LEASE_LOST = 5
    BLOCKED = 6


class AfterDeath(Enum):
    """What becomes of a run whose process has died."""

    QUEUE_AGAIN = auto()
    BLOCK = auto()


class Deaths(NamedTuple):
    """How often a run's process has died since the log last grew, and how long the log was then."""

    in_a_row: int
    at_offset: int


def one_more_death(before: Deaths, last_offset: int) -> tuple[Deaths, AfterDeath]:
    count = before.in_a_row + 1 if before.at_offset == last_offset else 1
    after = AfterDeath.BLOCK if count >= MAX_DEATHS else AfterDeath.QUEUE_AGAIN
    return Deaths(count, last_offset), after


def end_state(outcome_state: State, *, asked_us: int | None, deadline_us: int | None) -> State:
    """A run that was asked to stop because its deadline had passed is EXPIRED, not CANCELLED."""
    expired = asked_us is not None and deadline_us is not None and asked_us >= deadline_us
    return State.EXPIRED if outcome_state is State.CANCELLED and expired else outcome_state
