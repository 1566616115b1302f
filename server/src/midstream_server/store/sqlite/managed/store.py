"""What workers need of the store on SQLite."""

from collections.abc import Callable, Collection, Mapping

import apsw

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
from midstream_server.store.sqlite.group_commit import GroupCommit, Transaction
from midstream_server.store.sqlite.managed import claim, end, journal, lease, log
from midstream_server.store.sqlite.managed.suspend import suspend


class SqliteManagedStore:
    """Implements `ManagedStore`; see there."""

    def __init__(
        self,
        group: GroupCommit,
        read: Callable[..., apsw.Cursor],
        *,
        limits: Limits,
        periods: Periods,
        seats: Seats,
    ) -> None:
        self._group = group
        self._read = read
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
                tx, self._seats, namespace, worker_id, tasks, held, lease_until_us=lease_until_us, now_us=now_us
            )
        )

    async def extend_leases(self, *, lease_until_us: int) -> None:
        await self._group.submit(lambda tx: lease.extend_leases(tx, lease_until_us=lease_until_us))

    async def renew_lease(self, worker_no: int, *, lease_until_us: int) -> bool:
        return await self._group.submit(lambda tx: lease.renew_lease(tx, worker_no, lease_until_us=lease_until_us))

    async def close_worker(self, worker_no: int, *, now_us: int) -> None:
        await self._group.submit(lambda tx: lease.end_lease(tx, self._seats, worker_no, now_us=now_us))

    async def claim_queued(self, namespace: str, tasks: Mapping[str, str], *, limit: int, now_us: int) -> int:
        return await self._group.submit(
            lambda tx: claim.claim_queued(tx, self._seats, namespace, tasks, limit=limit, now_us=now_us), weight=limit
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
            )
        )

    async def note_progress(
        self, run_no: int, epoch: int, progress: Progress, *, now_us: int
    ) -> Appended | Fenced | Superseded:
        return await self._group.submit(lambda tx: journal.note_progress(tx, run_no, epoch, progress, now_us=now_us))

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
            )
        )

    async def finish_managed(
        self, run_no: int, epoch: int, state: State, outcome: bytes, *, progress: Progress, now_us: int
    ) -> Done | Fenced | Superseded:
        return await self._group.submit(
            lambda tx: end.finish_managed(
                tx, run_no, epoch, state, outcome, progress=progress, periods=self._periods, now_us=now_us
            )
        )

    async def block(self, run_no: int, epoch: int, code_version: str, outcome: bytes, *, now_us: int) -> Done | Fenced:
        return await self._group.submit(
            lambda tx: end.block(tx, self._seats, run_no, epoch, code_version, outcome, now_us=now_us)
        )

    async def release(
        self, run_no: int, epoch: int, code_version: str, *, died: bool, crash_loop: bytes, now_us: int
    ) -> Done | Fenced:
        def operation(tx: Transaction) -> Done | Fenced:
            return end.release(
                tx, self._seats, run_no, epoch, code_version, died=died, crash_loop=crash_loop, now_us=now_us
            )

        return await self._group.submit(operation)

    async def restart(
        self, run_no: int, epoch: int, *, body: bytes, progress: Progress, now_us: int
    ) -> Done | Fenced | Superseded:
        return await self._group.submit(
            lambda tx: end.restart(tx, run_no, epoch, body=body, progress=progress, now_us=now_us)
        )

    async def assignments(self, run_no: int, *, limit: int) -> list[Assignment]:
        return log.assignments(self._read, run_no, limit=limit)

    async def read_log(self, run_no: int, *, after_offset: int, max_entries: int, max_bytes: int) -> LogPage | None:
        return log.read_entries(
            self._read,
            run_no,
            after_offset=after_offset,
            max_entries=max_entries,
            max_bytes=max_bytes,
            all_generations=True,
        )

    async def read_entries(self, run_no: int, *, after_offset: int, max_entries: int, max_bytes: int) -> LogPage | None:
        return log.read_entries(
            self._read, run_no, after_offset=after_offset, max_entries=max_entries, max_bytes=max_bytes
        )
