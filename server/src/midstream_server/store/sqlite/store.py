"""The store on SQLite: one process, one file, nothing to set up."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from midstream_server.agreed_clock import AgreedClock
from midstream_server.domain.accept import Accepted
from midstream_server.domain.access_token import Uses
from midstream_server.domain.errors import Refused
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.policy import UNDECLARED, Policy
from midstream_server.domain.record import Draft, StoredRecord
from midstream_server.domain.run import Run, State, TimerKind
from midstream_server.store.commit_report import CommitReport
from midstream_server.store.interface import Demand, Fired, HandlerFailure, Hold, Look, NewRun, Page, Snapshot
from midstream_server.store.managed import NO_SEATS, Seats
from midstream_server.store.notice import Notice
from midstream_server.store.sqlite import due, hold, purge, read, runs, timers
from midstream_server.store.sqlite.append import append
from midstream_server.store.sqlite.cancel import request_cancel
from midstream_server.store.sqlite.credentials.store import SqliteCredentialStore
from midstream_server.store.sqlite.database import Lock, open_reader, open_writer
from midstream_server.store.sqlite.group_commit import GroupCommit
from midstream_server.store.sqlite.managed.store import SqliteManagedStore
from midstream_server.store.sqlite.outputs.store import SqliteOutputStore
from midstream_server.store.sqlite.schemas.store import SqliteSchemaStore


class SqliteStore:
    """Implements `Store`; see there.

    Writes go through group commit. Reads use a connection of their own on the event loop's thread: each is bounded, and
    mostly finds its pages in memory.
    """

    shared = False

    def __init__(
        self,
        database: Path,
        *,
        limits: Limits,
        periods: Periods,
        on_commit: Callable[[CommitReport], None],
        seats: Seats = NO_SEATS,
    ) -> None:
        self._limits = limits
        self._periods = periods
        self._seats = seats
        self._lock = Lock(database)
        try:
            self._writer = open_writer(database)
            self._reader = open_reader(database)
        except BaseException:
            self._lock.release()
            raise
        self._read = self._reader.execute
        self._group = GroupCommit(self._writer, on_commit)
        self.outputs = SqliteOutputStore(self._group, self._read, limits=limits)
        self.managed = SqliteManagedStore(self._group, self._read, limits=limits, periods=periods, seats=seats)
        self.credentials = SqliteCredentialStore(self._group, self._read)
        self.schemas = SqliteSchemaStore(self._group, self._read)

    async def listen(
        self,
        heard: Callable[[Notice], None],
        resume: Callable[[bool], Awaitable[None]],
        *,
        clock: AgreedClock | None = None,
    ) -> None:
        """No other server can be there, and the store is never away."""
        del heard, clock
        await resume(True)

    async def close(self) -> None:
        await self._group.close()
        self._reader.close()
        self._writer.close()
        self._lock.release()

    async def create_run(self, new: NewRun, *, now_us: int) -> tuple[Run, bool]:
        try:
            return await self._group.submit(
                lambda tx: runs.create(
                    tx, new, limits=self._limits, periods=self._periods, seats=self._seats, now_us=now_us
                ),
                weight=1 + len(new.first_records),
            )
        except runs.FirstRecordRefused as refused:
            raise refused.refusal from None

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
        return await self._group.submit(
            lambda tx: append(
                tx,
                namespace,
                run_id,
                stream_id,
                drafts,
                limits=self._limits,
                seats=self._seats,
                now_us=now_us,
                uses=uses,
                policy=policy,
            ),
            weight=len(drafts),
        )

    async def hold(
        self, namespace: str, run_id: str, stream_id: str, *, holder_epoch: int, after_seq: int | None
    ) -> Hold:
        return await self._group.submit(
            lambda tx: hold.hold(
                tx,
                namespace,
                run_id,
                stream_id,
                holder_epoch=holder_epoch,
                after_seq=after_seq,
                limits=self._limits,
            )
        )

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
        return await self._group.submit(
            lambda tx: hold.ack(
                tx,
                namespace,
                run_id,
                stream_id,
                holder_epoch=holder_epoch,
                through_seq=through_seq,
                delivered_seq=delivered_seq,
                failures=failures,
                now_us=now_us,
            )
        )

    async def request_cancel(self, namespace: str, run_id: str, *, now_us: int) -> Run:
        return await self._group.submit(
            lambda tx: request_cancel(tx, namespace, run_id, periods=self._periods, seats=self._seats, now_us=now_us)
        )

    async def finish(self, namespace: str, run_id: str, state: State, outcome: bytes, *, now_us: int) -> Run:
        return await self._group.submit(
            lambda tx: runs.finish(tx, namespace, run_id, state, outcome, periods=self._periods, now_us=now_us)
        )

    async def fire_due(self, *, now_us: int, last_held_us: Callable[[int], int | None], limit: int) -> list[Fired]:
        return await self._group.submit(
            lambda tx: due.fire_due(
                tx,
                now_us=now_us,
                last_held_us=last_held_us,
                periods=self._periods,
                seats=self._seats,
                limit=limit,
            ),
            weight=limit,
        )

    async def purge(self, *, now_us: int, limit: int) -> bool:
        return await self._group.submit(lambda tx: purge.purge(tx, now_us=now_us, limit=limit), weight=limit)

    async def next_due_us(self) -> int | None:
        return due.next_due_us(self._read)

    async def postpone_unheld(self, *, due_us: int, runs: Collection[int] | None = None) -> None:
        await self._group.submit(lambda tx: timers.postpone(tx, TimerKind.UNHELD, due_us=due_us, runs=runs))

    async def look(
        self, run_no: int, stream_id: str, *, after_seq: int, max_records: int, max_bytes: int
    ) -> Look | None:
        return read.look(
            self._read, run_no, stream_id, after_seq=after_seq, max_records=max_records, max_bytes=max_bytes
        )

    async def newest(self, namespace: str, run_id: str, stream_id: str) -> tuple[StoredRecord | None, int, int]:
        return read.newest(self._read, namespace, run_id, stream_id)

    async def resolve(self, namespace: str, run_id: str) -> int:
        return read.resolve(self._read, namespace, run_id)

    async def read_log(
        self, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
    ) -> Page | None:
        return read.read_log(
            self._read, run_no, stream_id, after_offset=after_offset, max_records=max_records, max_bytes=max_bytes
        )

    async def get_run(self, namespace: str, run_id: str) -> Run:
        return runs.read_run(self._read, namespace, run_id)

    async def list_runs(
        self, namespace: str, *, task: str | None, states: Sequence[State], before_no: int | None, limit: int
    ) -> list[Run]:
        return runs.list_runs(self._read, namespace, task=task, states=states, before_no=before_no, limit=limit)

    async def snapshot(self) -> Snapshot:
        runs = self._read("SELECT state, count(*) FROM runs GROUP BY state")
        timers = self._read("SELECT kind, count(*) FROM timers GROUP BY kind")
        return Snapshot(
            {State(state): count for state, count in runs}, {TimerKind(kind): count for kind, count in timers}
        )

    async def demand(self) -> Demand:
        queued = self._read("SELECT task, count(*) FROM runs WHERE queued_us IS NOT NULL GROUP BY task")
        assigned = self._read("SELECT task, count(*) FROM runs WHERE worker IS NOT NULL GROUP BY task")
        return Demand(dict(queued), dict(assigned))
