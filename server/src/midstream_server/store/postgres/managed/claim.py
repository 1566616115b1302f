"""A run becomes runnable, and a worker gets it."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from midstream_server.domain import facts
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change
from midstream_server.store.managed import Claimed, Seat, Seats
from midstream_server.store.postgres.append_fact import append_fact
from midstream_server.store.postgres.managed.log import first_entries
from midstream_server.store.postgres.transaction import RUN_COLUMNS, RunRow, Transaction

_SEED_BYTES = 16
_FIRST_ENTRIES = 100
_FIRST_BYTES = 64 * 1024
"""Read together with a claim, which spares a worker's session a look."""


async def make_runnable(tx: Transaction, seats: Seats, run_no: int, *, now_us: int) -> None:
    """Claims a run at once where a worker of this replica has a seat; else queues it.

    A run that is queued is told to the other replicas with the commit.
    """
    if await _claim(tx, seats, tx.locked(run_no), now_us=now_us):
        return
    row = await tx.fetchrow(
        "WITH disarmed AS (DELETE FROM operation_timers WHERE run = $1) "
        f"UPDATE runs SET state = $2, queued_us = $3, worker = NULL WHERE no = $1 RETURNING {RUN_COLUMNS}",
        run_no,
        int(State.QUEUED),
        now_us,
    )
    tx.adopt(row)
    tx.changes.add(Change(run_no, None))


async def claim_queued(
    tx: Transaction, seats: Seats, namespace: str, tasks: Mapping[str, str], *, limit: int, now_us: int
) -> int:
    """Claims queued runs, the oldest of all tasks first, for as many seats as there are.

    Runs that another transaction has locked are passed over: it tells all replicas of them when it ends.
    """
    some = "SELECT EXISTS (SELECT FROM runs WHERE namespace = $1 AND queued_us IS NOT NULL)"
    if not await tx.fetchval(some, namespace):
        return 0
    queued: list[Any] = []
    for task, code_version in tasks.items():
        queued += await tx.fetch(
            f"SELECT {RUN_COLUMNS}, queued_us FROM runs WHERE namespace = $1 AND task = $2 "
            "AND queued_us IS NOT NULL AND NOT $3 = ANY (refused_versions) "
            "ORDER BY queued_us, no LIMIT $4 FOR UPDATE SKIP LOCKED",
            namespace,
            task,
            code_version,
            limit,
        )
    queued.sort(key=lambda row: (row["queued_us"], row["no"]))
    claimed = 0
    for run in [tx.adopt(row) for row in queued][:limit]:
        if not await _claim(tx, seats, run, now_us=now_us):
            break
        claimed += 1
    return claimed


async def _claim(tx: Transaction, seats: Seats, run: RunRow, *, now_us: int) -> bool:
    """For a seat at a worker that has a lease, since a connection may outlive its own; False where there is none."""
    while (seat := seats.take(run.namespace, run.task, run.refused_versions)) is not None:
        if await _assign(tx, seats, seat, run, now_us=now_us):
            return True
        seats.vacate(seat.worker_no)
    return False


async def _assign(tx: Transaction, seats: Seats, seat: Seat, run: RunRow, *, now_us: int) -> bool:
    """False where the worker has no lease any more.

    The worker's row stays as it is until the claim is on disk. Where another replica is about to end the lease, the
    row is locked, and the worker as good as gone.
    """
    tx.on_rollback.append(_later(seats.give_back, seat))
    # If the claim is on disk after all, the worker must open anew: then its runs that it does not hold are queued.
    tx.on_doubt.append(lambda: seats.vacate(seat.worker_no))
    _, last_us = await tx.last_entry(run.no)
    row: Any = await tx.fetchrow(
        "WITH leased AS (SELECT no, id FROM workers WHERE no = $4 FOR KEY SHARE SKIP LOCKED), "
        "disarmed AS (DELETE FROM operation_timers WHERE run = $1 AND EXISTS (SELECT FROM leased)), "
        "claimed AS (UPDATE runs SET state = $2, queued_us = NULL, started_us = $3, worker = $4, "
        "epoch = epoch + 1 WHERE no = $1 AND EXISTS (SELECT FROM leased) RETURNING *), "
        "assigned AS (INSERT INTO assignments (run, epoch, worker_id, code_version, assigned_us) "
        "SELECT claimed.no, claimed.epoch, leased.id, $5, greatest($6, (SELECT ended_us FROM assignments AS former "
        "WHERE former.run = $1 ORDER BY former.epoch DESC LIMIT 1)) FROM claimed, leased) "
        f"SELECT {RUN_COLUMNS}, checkpoint FROM claimed AS runs",
        run.no,
        int(State.RUNNING),
        max(now_us, last_us) if run.started_us is None else run.started_us,
        seat.worker_no,
        seat.code_version,
        now_us,
    )
    if row is None:
        return False
    claimed = tx.adopt(row)
    if run.started_us is None:
        body = facts.started(secrets.token_bytes(_SEED_BYTES), seat.runtime)
        await append_fact(tx, run.no, EntryKind.STARTED, body=body, now_us=now_us)
    tx.before_commit.append(lambda: _fill(tx, seats, seat, claimed, row["checkpoint"]))
    tx.changes.add(Change(run.no, None))
    return True


async def _fill(tx: Transaction, seats: Seats, seat: Seat, claimed: RunRow, checkpoint: bytes | None) -> None:
    """With the log as it is when all operations of the transaction have been done."""
    filled = Claimed(claimed.no, claimed.id, claimed.task, claimed.epoch, claimed.generation, 0, checkpoint)
    run = tx.run(claimed.no)
    if run is not None and (run.state, run.epoch) == (State.RUNNING, claimed.epoch):
        page = await first_entries(tx, run, max_entries=_FIRST_ENTRIES, max_bytes=_FIRST_BYTES)
        filled = filled._replace(generation=page.generation, last_offset=page.last_offset, entries=page.entries)
    tx.on_commit.append(lambda: seats.fill(seat, filled))


def _later(call: Callable[[Seat], None], seat: Seat) -> Callable[[], None]:
    return lambda: call(seat)
