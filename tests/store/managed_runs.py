"""Workers without a server: seats that a test offers, and short names for what it does to managed runs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from midstream.v1.entry_pb2 import Entry
from midstream_server.domain.accept import Accepted
from midstream_server.domain.run import EntryKind, Kind, Run, State
from midstream_server.store import Fired, HandlerFailure
from midstream_server.store.managed import (
    Appended,
    Assignment,
    Claimed,
    Done,
    Early,
    EndedAttempt,
    Fenced,
    LogPage,
    Opened,
    Progress,
    Refused,
    Seat,
    StoredEntry,
    Superseded,
    Suspended,
)
from store.engines import MUCH, NAMESPACE, NOW_US, SECOND_US, Engine, WholeStore, append, create, draft

LEASE_US = 15 * SECOND_US
FAR_US = NOW_US + 10**15
"""For leases that are not to run out."""


@dataclass
class Desk:
    """A connected worker."""

    tasks: Mapping[str, str]
    credit: int


@dataclass
class Desks:
    """Seats by worker number; the first with credit is taken. What is filled waits in `claims`."""

    by_no: dict[int, Desk] = field(default_factory=dict)
    claims: list[Claimed] = field(default_factory=list)
    prepared: list[tuple[Claimed, int]] = field(default_factory=list)
    withdrawn: list[Claimed] = field(default_factory=list)
    given_back: int = 0
    vacated: list[int] = field(default_factory=list)

    def take(self, namespace: str, task: str, refused_versions: Collection[str]) -> Seat | None:
        for worker_no, desk in self.by_no.items():
            if namespace == NAMESPACE and desk.credit and desk.tasks.get(task, "") not in {"", *refused_versions}:
                desk.credit -= 1
                return Seat(worker_no, desk.tasks[task])
        return None

    def give_back(self, seat: Seat) -> None:
        self.given_back += 1
        if seat.worker_no in self.by_no:
            self.by_no[seat.worker_no].credit += 1

    def prepare(self, seat: Seat, claimed: Claimed, *, through_offset: int) -> None:
        self.prepared.append((claimed, through_offset))

    def withdraw(self, seat: Seat, claimed: Claimed) -> None:
        self.withdrawn.append(claimed)

    def fill(self, seat: Seat, claimed: Claimed) -> None:
        self.claims.append(claimed)

    def vacate(self, worker_no: int) -> None:
        self.by_no.pop(worker_no, None)
        self.vacated.append(worker_no)

    def other_code(self, namespace: str, task: str, refused_versions: Collection[str]) -> bool:
        return any(desk.tasks.get(task, "") not in {"", *refused_versions} for desk in self.by_no.values())


@dataclass
class Yard:
    """A store with its workers. `tasks` is what every worker has code for, if a test does not say otherwise."""

    store: WholeStore
    desks: Desks
    tasks: Mapping[str, str] = field(default_factory=lambda: {"task": "1"})

    # Workers.

    async def opened(
        self,
        worker_id: str = "worker",
        *,
        credit: int = 0,
        tasks: Mapping[str, str] | None = None,
        held: Collection[tuple[str, int]] = (),
        lease_until_us: int = FAR_US,
        now_us: int = NOW_US,
    ) -> Opened:
        """Opens a worker, and lets it take so many runs."""
        tasks = self.tasks if tasks is None else tasks
        opened = await self.store.managed.open_worker(
            NAMESPACE, worker_id, tasks, held, lease_until_us=lease_until_us, now_us=now_us
        )
        self.desks.by_no[opened.worker_no] = Desk(tasks, credit)
        if credit:
            await self.claim_queued(tasks=tasks, limit=credit, now_us=now_us)
        return opened

    async def claim_queued(
        self, *, tasks: Mapping[str, str] | None = None, limit: int = 1_000, now_us: int = NOW_US
    ) -> int:
        tasks = self.tasks if tasks is None else tasks
        return await self.store.managed.claim_queued(NAMESPACE, tasks, limit=limit, now_us=now_us)

    def claimed(self) -> Claimed:
        """The one run that was claimed since the last call."""
        (claim,) = self.desks.claims
        self.desks.claims.clear()
        return claim

    def nothing_claimed(self) -> bool:
        return not self.desks.claims

    async def running(self, run_id: str = "run", *, credit: int = 1, max_duration_us: int | None = None) -> Claimed:
        """A new run that a worker has got; `credit` is left, less this one."""
        if not any(desk.credit for desk in self.desks.by_no.values()):
            await self.opened(f"worker-of-{run_id}", credit=credit)
        await create(self.store, run_id, kind=Kind.MANAGED, max_duration_us=max_duration_us)
        return self.claimed()

    async def suspended(
        self, run_id: str = "run", *, listening: Collection[str] = (), timers: Mapping[int, int] | None = None
    ) -> Claimed:
        """A new run that is suspended; its worker takes it again as soon as it can."""
        claim = await self.running(run_id, credit=2)
        assert await self.suspend(claim, listening=listening, timers=timers) == Suspended()
        return claim

    # What a worker says.

    async def append(
        self,
        claim: Claimed,
        key: str = "k",
        *,
        kind: EntryKind = EntryKind.STEP_ENDED,
        body: bytes = b"body",
        due_us: int | None = None,
        progress: Progress | None = None,
        ended: EndedAttempt | None = None,
        epoch: int | None = None,
        now_us: int = NOW_US,
    ) -> Appended | Fenced | Superseded | Early:
        return await self.store.managed.append_entry(
            claim.run_no,
            claim.epoch if epoch is None else epoch,
            kind,
            key=key,
            body=body,
            due_us=due_us,
            progress=applied(claim) if progress is None else progress,
            ended=ended,
            now_us=now_us,
        )

    async def suspend(
        self,
        claim: Claimed,
        *,
        listening: Collection[str] = (),
        timers: Mapping[int, int] | None = None,
        progress: Progress | None = None,
        checkpoint: bytes = b"checkpoint",
        now_us: int = NOW_US,
    ) -> Suspended | Refused | Fenced | Superseded:
        return await self.store.managed.suspend(
            claim.run_no,
            claim.epoch,
            listening=listening,
            timers=timers or {},
            checkpoint=checkpoint,
            progress=applied(claim) if progress is None else progress,
            now_us=now_us,
        )

    async def finish(
        self,
        claim: Claimed,
        state: State = State.COMPLETED,
        outcome: bytes = b"outcome",
        *,
        progress: Progress | None = None,
        now_us: int = NOW_US,
    ) -> Done | Fenced | Superseded:
        progress = applied(claim) if progress is None else progress
        return await self.store.managed.finish_managed(
            claim.run_no, claim.epoch, state, outcome, progress=progress, now_us=now_us
        )

    async def block(self, claim: Claimed, version: str = "1", *, now_us: int = NOW_US) -> Done | Fenced:
        return await self.store.managed.block(claim.run_no, claim.epoch, version, b"both sides", now_us=now_us)

    async def release(self, claim: Claimed, *, died: bool = False, version: str = "1") -> Done | Fenced:
        return await self.store.managed.release(
            claim.run_no, claim.epoch, version, died=died, crash_loop=b"crash loop", now_us=NOW_US
        )

    async def restart(
        self, claim: Claimed, *, progress: Progress | None = None, body: bytes = b"restarted"
    ) -> Done | Fenced | Superseded:
        progress = applied(claim) if progress is None else progress
        return await self.store.managed.restart(claim.run_no, claim.epoch, body=body, progress=progress, now_us=NOW_US)

    # What others do, and see.

    async def send(self, stream_id: str = "s", *, run_id: str = "run", now_us: int = NOW_US) -> int:
        """Returns the record's offset."""
        (outcome,) = await append(self.store, draft(), run_id=run_id, stream_id=stream_id, now_us=now_us)
        assert isinstance(outcome, Accepted), outcome
        return outcome.offset

    async def fire(self, now_us: int) -> Sequence[Fired]:
        return await self.store.fire_due(now_us=now_us, last_held_us=lambda _: None, limit=100)

    async def get(self, run_id: str = "run") -> Run:
        return await self.store.get_run(NAMESPACE, run_id)

    async def state(self, run_id: str = "run") -> State:
        return (await self.get(run_id)).state

    async def cancel(self, run_id: str = "run", *, now_us: int = NOW_US) -> Run:
        return await self.store.request_cancel(NAMESPACE, run_id, now_us=now_us)

    async def page(self, run_no: int, *, after: int = 0, max_entries: int = 1_000, max_bytes: int = MUCH) -> LogPage:
        """Of the present generation."""
        page = await self.store.managed.read_entries(
            run_no, after_offset=after, max_entries=max_entries, max_bytes=max_bytes
        )
        assert page is not None
        return page

    async def log(self, run_no: int) -> list[StoredEntry]:
        """Every entry of every generation."""
        page = await self.store.managed.read_log(run_no, after_offset=0, max_entries=100_000, max_bytes=MUCH)
        assert page is not None
        return page.entries

    async def kinds(self, run_no: int) -> list[EntryKind]:
        return [entry.kind for entry in await self.log(run_no)]

    async def assignments(self, run_no: int) -> list[Assignment]:
        return await self.store.managed.assignments(run_no, limit=1_000)


async def open_yard(engine: Engine, *, desks: Desks | None = None) -> Yard:
    desks = Desks() if desks is None else desks
    return Yard(await engine.open(seats=desks), desks)


def applied(claim: Claimed, offset: int | None = None) -> Progress:
    """Nothing consumed, everything up to `offset` applied; None: what there was when it was claimed."""
    return Progress(claim.last_offset if offset is None else offset)


def failure(seq: int, handler: str = "h") -> HandlerFailure:
    return HandlerFailure(seq, handler, b"failure %d" % seq)


def fact(entry: StoredEntry) -> Entry:
    """An entry that the server appended by itself."""
    return Entry.FromString(entry.body)
