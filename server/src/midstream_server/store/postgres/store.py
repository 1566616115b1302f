"""The store on PostgreSQL: for many replicas of the server, and for one."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Self, TypeVar

from midstream_server.agreed_clock import AgreedClock
from midstream_server.domain import errors
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
from midstream_server.store.postgres import due, figures, hold, purge, read, runs, timers
from midstream_server.store.postgres.append import AppendCall
from midstream_server.store.postgres.cancel import request_cancel
from midstream_server.store.postgres.connections import as_refusal, check, connect, discard
from midstream_server.store.postgres.credentials.store import PostgresCredentialStore
from midstream_server.store.postgres.group_commit import GroupCommit
from midstream_server.store.postgres.listener import Listener
from midstream_server.store.postgres.managed import lease, wake
from midstream_server.store.postgres.managed.store import PostgresManagedStore
from midstream_server.store.postgres.migrate import migrate
from midstream_server.store.postgres.outputs.store import PostgresOutputStore
from midstream_server.store.postgres.reader import Reader
from midstream_server.store.postgres.schemas.store import PostgresSchemaStore
from midstream_server.store.postgres.transaction import Transaction

T = TypeVar("T")


class PostgresStore:
    """Implements `Store`; see there. Made by `open`."""

    shared = True

    def __init__(
        self, url: str, group: GroupCommit, reader: Reader, *, limits: Limits, periods: Periods, seats: Seats
    ) -> None:
        self._url = url
        self._group = group
        self._listener: Listener | None = None
        self._read = reader
        self._limits = limits
        self._periods = periods
        self._seats = seats
        self.managed = PostgresManagedStore(group, reader, limits=limits, periods=periods, seats=seats)
        self.outputs = PostgresOutputStore(group, reader, limits=limits)
        self.credentials = PostgresCredentialStore(group, reader)
        self.schemas = PostgresSchemaStore(group, reader)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        limits: Limits,
        periods: Periods,
        on_commit: Callable[[CommitReport], None],
        seats: Seats = NO_SEATS,
    ) -> Self:
        """Connects to the primary among the URL's servers, and migrates the database. Raises DatabaseUnusable."""
        connection = await check(url)
        try:
            await migrate(connection)
            reader = Reader(url)
            await reader.open()
        except BaseException:
            await discard(connection)
            raise
        group = GroupCommit(connection, lambda: connect(url), on_commit)
        return cls(url, group, reader, limits=limits, periods=periods, seats=seats)

    async def listen(
        self,
        heard: Callable[[Notice], None],
        resume: Callable[[bool], Awaitable[None]],
        *,
        clock: AgreedClock | None = None,
    ) -> None:
        self._listener = Listener(
            self._url,
            heard=heard,
            resume=resume,
            is_own=lambda process_id: process_id == self._group.process_id,
            clock=clock,
        )
        try:
            await self._listener.start()
        except Exception as error:
            raise as_refusal(error) from error

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.stop()
        await self._group.close()
        await self._read.close()

    async def create_run(self, new: NewRun, *, now_us: int) -> tuple[Run, bool]:
        async def operation(tx: Transaction) -> tuple[Run, bool]:
            return await runs.create(
                tx, new, limits=self._limits, periods=self._periods, seats=self._seats, now_us=now_us
            )

        try:
            return await self._group.submit(
                operation, names=[(new.namespace, new.run_id)], weight=1 + len(new.first_records)
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
        call = AppendCall(
            namespace=namespace,
            run_id=run_id,
            stream_id=stream_id,
            drafts=drafts,
            limits=self._limits,
            seats=self._seats,
            now_us=now_us,
            uses=uses,
            policy=policy,
        )
        outcomes: list[Accepted | Refused] = await self._group.append(call)
        return outcomes

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
            ),
            names=[(namespace, run_id)],
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
            ),
            names=[(namespace, run_id)],
        )

    async def request_cancel(self, namespace: str, run_id: str, *, now_us: int) -> Run:
        return await self._group.submit(
            lambda tx: request_cancel(tx, namespace, run_id, periods=self._periods, seats=self._seats, now_us=now_us),
            names=[(namespace, run_id)],
        )

    async def finish(self, namespace: str, run_id: str, state: State, outcome: bytes, *, now_us: int) -> Run:
        return await self._group.submit(
            lambda tx: runs.finish(tx, namespace, run_id, state, outcome, periods=self._periods, now_us=now_us),
            names=[(namespace, run_id)],
        )

    async def fire_due(self, *, now_us: int, last_held_us: Callable[[int], int | None], limit: int) -> list[Fired]:
        """In three transactions, so that each waits for locks of one sort only.

        Not while this server is cut off: what workers and holders have told the others may not have been heard.
        """
        if self._listener is not None and not self._listener.present:
            raise errors.store_unavailable("this server does not hear of the others")
        fired = await self._alone(
            lambda tx: due.fire_run_timers(
                tx, now_us=now_us, last_held_us=last_held_us, periods=self._periods, seats=self._seats, limit=limit
            )
        )
        woken = await self._alone(lambda tx: wake.fire_due_operations(tx, self._seats, now_us=now_us, limit=limit))
        lost = await self._alone(lambda tx: lease.end_due_leases(tx, self._seats, now_us=now_us))
        fired += [Fired(run_no, run_id, TimerKind.OPERATION, None) for run_no, run_id in woken]
        fired += [Fired(run_no, run_id, TimerKind.LEASE, None) for run_no, run_id in lost]
        return fired

    async def purge(self, *, now_us: int, limit: int) -> bool:
        return await self._alone(lambda tx: purge.purge(tx, now_us=now_us, limit=limit))

    async def next_due_us(self) -> int | None:
        return await self._read(due.next_due_us)

    async def postpone_unheld(self, *, due_us: int, runs: Collection[int] | None = None) -> None:
        await self._alone(lambda tx: timers.postpone(tx, TimerKind.UNHELD, due_us=due_us, runs=runs))

    async def look(
        self, run_no: int, stream_id: str, *, after_seq: int, max_records: int, max_bytes: int
    ) -> Look | None:
        return await self._read(
            lambda connection: read.look(
                connection, run_no, stream_id, after_seq=after_seq, max_records=max_records, max_bytes=max_bytes
            )
        )

    async def newest(self, namespace: str, run_id: str, stream_id: str) -> tuple[StoredRecord | None, int, int]:
        return await self._read(lambda connection: read.newest(connection, namespace, run_id, stream_id))

    async def resolve(self, namespace: str, run_id: str) -> int:
        return await self._read(lambda connection: read.resolve(connection, namespace, run_id))

    async def read_log(
        self, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
    ) -> Page | None:
        return await self._read(
            lambda connection: read.read_log(
                connection, run_no, stream_id, after_offset=after_offset, max_records=max_records, max_bytes=max_bytes
            )
        )

    async def get_run(self, namespace: str, run_id: str) -> Run:
        return await self._read(lambda connection: runs.read_run(connection, namespace, run_id))

    async def list_runs(
        self, namespace: str, *, task: str | None, states: Sequence[State], before_no: int | None, limit: int
    ) -> list[Run]:
        return await self._read(
            lambda connection: runs.list_runs(
                connection, namespace, task=task, states=states, before_no=before_no, limit=limit
            )
        )

    async def snapshot(self) -> Snapshot:
        return await self._read(figures.snapshot)

    async def demand(self) -> Demand:
        return await self._read(figures.demand)

    async def _alone(self, operation: Callable[[Transaction], Awaitable[T]]) -> T:
        return await self._group.submit(operation, alone=True)
