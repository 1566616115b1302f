"""What the operations need of a store, in the domain's words.

Each writing call is one transaction; when it returns, its effects are on disk. Calls are applied in the order in which
they were made. Reading calls see everything that was written before they were made.

Errors: `Refused`, with STORE_UNAVAILABLE when the store itself failed; then nothing of the call was acknowledged.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from midstream_server.domain.accept import Accepted
from midstream_server.domain.access_token import Uses
from midstream_server.domain.errors import Refused
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Direction, Draft, StoredRecord
from midstream_server.domain.run import Kind, Run, State, TimerKind

if TYPE_CHECKING:
    from midstream_server.agreed_clock import AgreedClock
    from midstream_server.store.notice import Notice


class Change(NamedTuple):
    """A run, or one of its streams, that a commit has changed: whoever watches it should look again."""

    run_no: int
    stream_id: str | None
    direction: Direction = Direction.INPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to create, or to find where it exists with the same content."""

    namespace: str
    run_id: str
    task: str
    kind: Kind
    spec: bytes
    digest: bytes
    """Over everything that makes the content the same."""
    compare_content: bool = True
    """False: an attached run is found by its id alone, whatever its argument."""
    max_duration_us: int | None
    first_records: Sequence[tuple[str, Draft]] = ()
    policies: Mapping[str, Policy] = field(default_factory=dict)
    """Of the first records' streams, by id. One that is not in it is UNDECLARED."""


class HandlerFailure(NamedTuple):
    """A handler that raised on a record; `body` is encoded by the transport."""

    seq: int
    handler: str
    body: bytes


class Hold(NamedTuple):
    """A claim on a stream."""

    run_no: int
    holder_epoch: int
    cursor: int
    last_seq: int


class Look(NamedTuple):
    """What a reader of one stream finds."""

    records: list[StoredRecord]
    cursor: int
    last_seq: int
    holder_epoch: int
    run_state: State
    last_offset: int


class Page(NamedTuple):
    """Some records in offset order. `through_offset`: everything up to here was looked at."""

    records: list[StoredRecord]
    through_offset: int
    last_offset: int
    run_state: State
    direction: Direction = Direction.INPUT


class Fired(NamedTuple):
    """A timer that came due. `state`: the final one that its run is in for it; None where the timer was put off."""

    run_no: int
    run_id: str
    timer: TimerKind
    state: State | None


class Snapshot(NamedTuple):
    """Counts of everything, for the metrics."""

    runs_by_state: dict[State, int]
    timers_by_kind: dict[TimerKind, int]


class Demand(NamedTuple):
    """Runs that workers are wanted for, by task: those that wait for one, woken ones too, and those that have one."""

    queued: dict[str, int]
    assigned: dict[str, int]


class Store(Protocol):
    """See the module."""

    shared: bool
    """Whether other servers may be working on it too."""

    async def listen(
        self,
        heard: Callable[["Notice"], None],
        resume: Callable[[bool], Awaitable[None]],
        *,
        clock: "AgreedClock | None" = None,
    ) -> None:
        """Begins to hear of what other servers commit. A shared store tells `clock` its time, first before `resume`.

        `resume` is awaited before this returns, and again whenever the store has been away, so that what was missed is
        looked for. True: no other server was there in the meantime; none will hear True until it has returned.
        """
        ...

    async def create_run(self, new: NewRun, *, now_us: int) -> tuple[Run, bool]:
        """Creates a run with its first records, or finds it; true if created.

        Finding an attached run puts off its expiry.

        Errors: FIELD_INVALID (a new run needs a task), RUN_ID_REUSED, RUN_MANAGED and RUN_FINISHED (attaching), and
        whatever refuses one of the first records.
        """
        ...

    async def append(
        self,
        namespace: str,
        run_id: str,
        stream_id: str,
        drafts: Sequence[Draft],
        *,
        now_us: int,
        uses: Uses | None = None,
        policy: Policy = UNDECLARED,
    ) -> list[Accepted | Refused]:
        """Stores records on one stream; one outcome each, in order. `policy` is what the stream promises.

        Those that are stored count as uses of the sender's access token, where it has a number of them.

        Errors: RUN_NOT_FOUND, TOO_MANY_STREAMS.
        """
        ...

    async def hold(
        self, namespace: str, run_id: str, stream_id: str, *, holder_epoch: int, after_seq: int | None
    ) -> Hold:
        """Becomes (0) or stays the holder of an attached run's stream.

        Errors: RUN_NOT_FOUND, RUN_MANAGED, RUN_FINISHED, FENCED, FIELD_INVALID (`after_seq` was never stored),
        TOO_MANY_STREAMS.
        """
        ...

    async def ack(
        self,
        namespace: str,
        run_id: str,
        stream_id: str,
        *,
        holder_epoch: int,
        through_seq: int,
        delivered_seq: int | None,
        failures: Sequence[HandlerFailure],
        now_us: int,
    ) -> int:
        """Moves the cursor and records handler failures, each once; returns the cursor.

        `delivered_seq` is the last delivered record, where the caller knows it; the last stored one otherwise.

        Errors: RUN_NOT_FOUND, RUN_MANAGED, RUN_FINISHED, FENCED, ACK_AHEAD.
        """
        ...

    async def request_cancel(self, namespace: str, run_id: str, *, now_us: int) -> Run:
        """Cancels a queued run, else records the request. Errors: RUN_NOT_FOUND."""
        ...

    async def finish(self, namespace: str, run_id: str, state: State, outcome: bytes, *, now_us: int) -> Run:
        """Ends an attached run. Errors: RUN_NOT_FOUND, RUN_MANAGED, RUN_FINISHED (with another outcome)."""
        ...

    async def fire_due(self, *, now_us: int, last_held_us: Callable[[int], int | None], limit: int) -> list[Fired]:
        """Applies timers that are due, at most `limit`, earliest first; empty once none is due any more.

        `last_held_us` tells when a run was last held, by its number.
        """
        ...

    async def purge(self, *, now_us: int, limit: int) -> bool:
        """Deletes at most `limit` entries, or output records, whose retention is over. True while there is more."""
        ...

    async def next_due_us(self) -> int | None:
        """When the next timer is due."""
        ...

    async def postpone_unheld(self, *, due_us: int, runs: Collection[int] | None = None) -> None:
        """Puts off expiries for want of a holder to `due_us` at the earliest: those of `runs`, by number, or all."""
        ...

    async def look(
        self, run_no: int, stream_id: str, *, after_seq: int, max_records: int, max_bytes: int
    ) -> Look | None:
        """Reads what is unread of a stream, behind `after_seq`; None once the run is deleted.

        A larger single record comes alone.
        """
        ...

    async def newest(self, namespace: str, run_id: str, stream_id: str) -> tuple[StoredRecord | None, int, int]:
        """The newest unconsumed record, how many there are, and the log's last offset. Errors: RUN_NOT_FOUND."""
        ...

    async def resolve(self, namespace: str, run_id: str) -> int:
        """The number of a run. Errors: RUN_NOT_FOUND."""
        ...

    async def read_log(
        self, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
    ) -> Page | None:
        """Reads records in offset order; None once the run is deleted. A larger single record comes alone."""
        ...

    async def get_run(self, namespace: str, run_id: str) -> Run:
        """A run as it stands. Errors: RUN_NOT_FOUND."""
        ...

    async def list_runs(
        self, namespace: str, *, task: str | None, states: Sequence[State], before_no: int | None, limit: int
    ) -> list[Run]:
        """Runs, newest first, without handler failures."""
        ...

    async def snapshot(self) -> Snapshot:
        """Figures for the metrics, of all namespaces. Takes longer the more runs there are."""
        ...

    async def demand(self) -> Demand:
        """Figures for the metrics, of all namespaces. Takes as long as there are such runs, whatever else is stored."""
        ...

    async def close(self) -> None:
        """Completes what was begun."""
        ...
