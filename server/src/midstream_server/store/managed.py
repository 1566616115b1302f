"""What the work of workers needs of a store, beside `Store`: see there for how calls behave.

A run is named by its number. Calls with an epoch are refused as `Fenced` where another worker has the run, or none.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import HandlerFailure


class Seat(NamedTuple):
    """A place for one run at a worker: taken inside the transaction that claims the run."""

    worker_no: int
    code_version: str
    runtime: str = ""


class StoredEntry(NamedTuple):
    """An entry as the store has it. `stream_id` and `seq` are a record's; `body` is its body or an encoded fact."""

    offset: int
    kind: EntryKind
    at_us: int
    body: bytes
    stream_id: str | None
    seq: int | None


class Claimed(NamedTuple):
    """A run that a worker has got. `checkpoint` is what the last worker said when it suspended the run.

    `entries` are the first of its present generation's log, as of the end of the transaction; there may be none.
    """

    run_no: int
    run_id: str
    task: str
    epoch: int
    generation: int
    last_offset: int
    checkpoint: bytes | None
    entries: Sequence[StoredEntry] = ()


class Opened(NamedTuple):
    """A worker's number, and those of the runs that it still has, by id."""

    worker_no: int
    held: Mapping[str, int]


class Seats(Protocol):
    """Where runs are placed. Called on the event loop's thread while a transaction is under way."""

    def take(self, namespace: str, task: str, refused_versions: Collection[str]) -> Seat | None:
        """A seat for a run of `task`, at a worker whose code is none of `refused_versions`; None where none is free."""
        ...

    def give_back(self, seat: Seat) -> None:
        """The transaction came to nothing."""
        ...

    def prepare(self, seat: Seat, claimed: Claimed, *, through_offset: int) -> None:
        """The claim is on its way to the disk, and new entries with it; those through the offset have long been there.

        Followed by `fill` or `withdraw`. A store need not call it.
        """
        ...

    def withdraw(self, seat: Seat, claimed: Claimed) -> None:
        """What was perhaps prepared came to nothing."""
        ...

    def fill(self, seat: Seat, claimed: Claimed) -> None:
        """The claim is on disk."""
        ...

    def vacate(self, worker_no: int) -> None:
        """The worker's lease is over: it has no seats any more, and must open anew."""
        ...

    def other_code(self, namespace: str, task: str, refused_versions: Collection[str]) -> bool:
        """Whether a worker is there, free or busy, with code for `task` that is none of `refused_versions`."""
        ...


class _NoSeats:
    """Nobody works: every run is queued."""

    def take(self, namespace: str, task: str, refused_versions: Collection[str]) -> Seat | None:
        return None

    def give_back(self, seat: Seat) -> None: ...

    def prepare(self, seat: Seat, claimed: Claimed, *, through_offset: int) -> None: ...

    def withdraw(self, seat: Seat, claimed: Claimed) -> None: ...

    def fill(self, seat: Seat, claimed: Claimed) -> None: ...

    def vacate(self, worker_no: int) -> None: ...

    def other_code(self, namespace: str, task: str, refused_versions: Collection[str]) -> bool:
        return False


NO_SEATS: Seats = _NoSeats()


class Progress(NamedTuple):
    """How far a worker has come: the last entry it applied, cursors by stream, and handler failures by stream."""

    applied_offset: int = 0
    consumed: Sequence[tuple[str, int]] = ()
    failures: Sequence[tuple[str, HandlerFailure]] = ()


class EndedAttempt(NamedTuple):
    """An attempt of a step that has ended. `returned`: it was the last one, and not in vain."""

    operation: int
    attempt: int
    returned: bool


class Appended(NamedTuple):
    """The entry is in the log, now or since before: the same key is appended once."""

    offset: int


class Fenced(NamedTuple):
    """The run belongs to a later epoch, or to none."""


class Superseded(NamedTuple):
    """An earlier generation of the run still says something; nothing was done."""


class Early(NamedTuple):
    """The timer is not due yet."""

    now_us: int


class Suspended(NamedTuple):
    """The run is suspended."""


class Refused(NamedTuple):
    """The run stays warm: its log, or a timer, would wake it at once."""

    now_us: int


class Done(NamedTuple):
    """The run was ended, blocked, released or restarted, as asked."""

    state: State


class Assignment(NamedTuple):
    """The time in which one worker had a run. Microseconds; `ending` None: it still has."""

    epoch: int
    worker_id: str
    code_version: str
    assigned_us: int
    ended_us: int | None
    ending: Ending | None


class LogPage(NamedTuple):
    """Some entries of a run's present generation, and what a follower must know of the run."""

    entries: list[StoredEntry]
    task: str
    state: State
    epoch: int
    generation: int
    last_offset: int


class ManagedStore(Protocol):
    """See the module."""

    async def open_worker(
        self,
        namespace: str,
        worker_id: str,
        tasks: Mapping[str, str],
        held: Collection[tuple[str, int]],
        *,
        lease_until_us: int,
        now_us: int,
    ) -> Opened:
        """Registers a worker under a new number. `tasks` maps names to code versions; `held` has run ids and epochs.

        What it had and does not hold any more, or has no code for, is queued, and so are blocked runs of these tasks
        that have refused other versions only. Under its old number it has lost its lease.
        """
        ...

    async def extend_leases(self, *, lease_until_us: int) -> None:
        """Nobody could renew a lease while the server was away."""
        ...

    async def renew_lease(self, worker_no: int, *, lease_until_us: int) -> bool:
        """False where the lease has run out: the worker must open anew."""
        ...

    async def close_worker(self, worker_no: int, *, now_us: int) -> None:
        """Ends the lease now: its runs are queued."""
        ...

    async def claim_queued(self, namespace: str, tasks: Mapping[str, str], *, limit: int, now_us: int) -> int:
        """Claims at most `limit` queued runs, oldest first, for as many seats as there are; returns how many.

        `tasks` maps names to code versions, as for `open_worker`.
        """
        ...

    async def append_entry(
        self,
        run_no: int,
        epoch: int,
        kind: EntryKind,
        *,
        key: str,
        body: bytes,
        due_us: int | None,
        progress: Progress,
        ended: EndedAttempt | None = None,
        now_us: int,
    ) -> Appended | Fenced | Superseded | Early:
        """Appends what a worker asks for, once for each key. `due_us` is a timer's, which must not be early.

        `ended`: what other attempts or epochs of this step have appended to output streams does not count any more, and
        is marked so in the same transaction; see `OutputStore.append_outputs`.
        """
        ...

    async def note_progress(
        self, run_no: int, epoch: int, progress: Progress, *, now_us: int
    ) -> Appended | Fenced | Superseded:
        """Moves cursors."""
        ...

    async def suspend(
        self,
        run_no: int,
        epoch: int,
        *,
        listening: Collection[str],
        timers: Mapping[int, int],
        checkpoint: bytes,
        progress: Progress,
        now_us: int,
    ) -> Suspended | Refused | Fenced | Superseded:
        """Suspends a run, unless something unapplied would wake it. `timers` maps operations to due times."""
        ...

    async def finish_managed(
        self, run_no: int, epoch: int, state: State, outcome: bytes, *, progress: Progress, now_us: int
    ) -> Done | Fenced | Superseded:
        """Ends a run."""
        ...

    async def block(self, run_no: int, epoch: int, code_version: str, outcome: bytes, *, now_us: int) -> Done | Fenced:
        """Blocks a run until other code is there, or queues it where that is.

        `outcome` holds the failure that shows both sides.
        """
        ...

    async def release(
        self, run_no: int, epoch: int, code_version: str, *, died: bool, crash_loop: bytes, now_us: int
    ) -> Done | Fenced:
        """Queues a run again. After too many deaths it is blocked, as by `block`, with `crash_loop`."""
        ...

    async def restart(
        self, run_no: int, epoch: int, *, body: bytes, progress: Progress, now_us: int
    ) -> Done | Fenced | Superseded:
        """Begins a new generation with the encoded entry `body`."""
        ...

    async def assignments(self, run_no: int, *, limit: int) -> list[Assignment]:
        """The newest assignments of a run, oldest first."""
        ...

    async def read_log(self, run_no: int, *, after_offset: int, max_entries: int, max_bytes: int) -> LogPage | None:
        """Entries of all generations."""
        ...

    async def read_entries(self, run_no: int, *, after_offset: int, max_entries: int, max_bytes: int) -> LogPage | None:
        """Entries of the present generation: its unread records from before, then all from its beginning."""
        ...
