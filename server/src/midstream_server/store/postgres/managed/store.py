"""What workers need of the store on PostgreSQL."""

from collections.abc import Collection, Mapping

from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.managed import (
    Appended,
    Assignment,
    Done,
    Early,
    EndedAttempt,
    Fenced,
    LogPage,
    Opened,
    Progress,
    Refused,
    Seats,
    Superseded,
    Suspended,
)
from midstream_server.store.postgres.group_commit import GroupCommit
from midstream_server.store.postgres.managed import claim, end, journal, lease, log
from midstream_server.store.postgres.managed.suspend import suspend
from midstream_server.store.postgres.reader import Reader
from midstream_server.store.postgres.text import storable
from midstream_server.store.postgres.transaction import Transaction


class PostgresManagedStore:
    """Implements `ManagedStore`; see there."""

    def __init__(self, group: GroupCommit, reader: Reader, *, limits: Limits, periods: Periods, seats: Seats) -> None:
        self._group = group
        self._read = reader
        self._limits = limits
        self._periods = periods
        self._seats = seats

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
        return await self._group.submit(
            lambda tx: lease.open_worker(
                tx,
                self._seats,
                namespace,
                worker_id,
                _storable(tasks),
                held,
                lease_until_us=lease_until_us,
                now_us=now_us,
            ),
            alone=True,
        )

    async def extend_leases(self, *, lease_until_us: int) -> None:
        await self._group.submit(lambda tx: lease.extend_leases(tx, lease_until_us=lease_until_us), alone=True)

    async def renew_lease(self, worker_no: int, *, lease_until_us: int) -> bool:
        return await self._group.submit(
            lambda tx: lease.renew_lease(tx, worker_no, lease_until_us=lease_until_us), alone=True
        )

    async def close_worker(self, worker_no: int, *, now_us: int) -> None:
        await self._group.submit(lambda tx: lease.end_lease(tx, self._seats, worker_no, now_us=now_us), alone=True)

    async def claim_queued(self, namespace: str, tasks: Mapping[str, str], *, limit: int, now_us: int) -> int:
        return await self._group.submit(
            lambda tx: claim.claim_queued(tx, self._seats, namespace, _storable(tasks), limit=limit, now_us=now_us),
            weight=limit,
        )

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
        return await self._group.submit(
            lambda tx: journal.append_entry(
                tx,
                run_no,
                epoch,
                kind,
                key=key,
                body=body,
                due_us=due_us,
                progress=progress,
                ended=ended,
                limits=self._limits,
                now_us=now_us,
            ),
            numbers=[run_no],
        )

    async def note_progress(
        self, run_no: int, epoch: int, progress: Progress, *, now_us: int
    ) -> Appended | Fenced | Superseded:
        return await self._group.submit(
            lambda tx: journal.note_progress(tx, run_no, epoch, progress, now_us=now_us), numbers=[run_no]
        )

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
        return await self._group.submit(
            lambda tx: suspend(
                tx,
                run_no,
                epoch,
                listening=listening,
                timers=timers,
                checkpoint=checkpoint,
                progress=progress,
                now_us=now_us,
            ),
            numbers=[run_no],
        )

    async def finish_managed(
        self, run_no: int, epoch: int, state: State, outcome: bytes, *, progress: Progress, now_us: int
    ) -> Done | Fenced | Superseded:
        return await self._group.submit(
            lambda tx: end.finish_managed(
                tx, run_no, epoch, state, outcome, progress=progress, periods=self._periods, now_us=now_us
            ),
            numbers=[run_no],
        )

    async def block(self, run_no: int, epoch: int, code_version: str, outcome: bytes, *, now_us: int) -> Done | Fenced:
        return await self._group.submit(
            lambda tx: end.block(tx, self._seats, run_no, epoch, storable(code_version), outcome, now_us=now_us),
            numbers=[run_no],
        )

    async def release(
        self, run_no: int, epoch: int, code_version: str, *, died: bool, crash_loop: bytes, now_us: int
    ) -> Done | Fenced:
        async def operation(tx: Transaction) -> Done | Fenced:
            return await end.release(
                tx, self._seats, run_no, epoch, storable(code_version), died=died, crash_loop=crash_loop, now_us=now_us
            )

        return await self._group.submit(operation, numbers=[run_no])

    async def restart(
        self, run_no: int, epoch: int, *, body: bytes, progress: Progress, now_us: int
    ) -> Done | Fenced | Superseded:
        return await self._group.submit(
            lambda tx: end.restart(tx, run_no, epoch, body=body, progress=progress, now_us=now_us), numbers=[run_no]
        )

    async def assignments(self, run_no: int, *, limit: int) -> list[Assignment]:
        return await self._read(lambda connection: log.assignments(connection, run_no, limit=limit))

    async def read_log(self, run_no: int, *, after_offset: int, max_entries: int, max_bytes: int) -> LogPage | None:
        return await self._read(
            lambda connection: log.read_entries(
                connection,
                run_no,
                after_offset=after_offset,
                max_entries=max_entries,
                max_bytes=max_bytes,
                all_generations=True,
            )
        )

    async def read_entries(self, run_no: int, *, after_offset: int, max_entries: int, max_bytes: int) -> LogPage | None:
        return await self._read(
            lambda connection: log.read_entries(
                connection, run_no, after_offset=after_offset, max_entries=max_entries, max_bytes=max_bytes
            )
        )


def _storable(tasks: Mapping[str, str]) -> dict[str, str]:
    return {task: storable(code_version) for task, code_version in tasks.items()}
