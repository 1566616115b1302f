"""A worker's right to its runs: one lease for all of them, renewed by its heartbeat.

A worker's row is deleted before its runs are looked for: from then on no replica claims a run for it.
"""

import json
from collections.abc import Collection, Mapping

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import State
from midstream_server.store.managed import Opened, Seats
from midstream_server.store.postgres.managed import workers
from midstream_server.store.postgres.managed.assignment import end_assignment
from midstream_server.store.postgres.managed.claim import make_runnable
from midstream_server.store.postgres.transaction import RUN_COLUMNS, RunRow, Transaction


async def open_worker(
    tx: Transaction,
    seats: Seats,
    namespace: str,
    worker_id: str,
    tasks: Mapping[str, str],
    held: Collection[tuple[str, int]],
    *,
    lease_until_us: int,
    now_us: int,
) -> Opened:
    await workers.let_one_open(tx, namespace)
    had = await _end_former(tx, seats, namespace, worker_id)
    worker_no: int = await tx.fetchval(
        "INSERT INTO workers (namespace, id, lease_until_us, tasks) VALUES ($1, $2, $3, $4::text::jsonb) RETURNING no",
        namespace,
        worker_id,
        lease_until_us,
        json.dumps(dict(tasks)),
    )
    still: dict[str, int] = {}
    for run in had:
        if (run.id, run.epoch) in held and run.task in tasks:
            still[run.id] = run.no
            await tx.execute("UPDATE runs SET worker = $1 WHERE no = $2", worker_no, run.no)
        else:
            await end_assignment(tx, run.no, Ending.LEASE_LOST, now_us=now_us)
            await make_runnable(tx, seats, run.no, now_us=now_us)
    for task, code_version in tasks.items():
        blocked = await tx.fetch(
            f"SELECT {RUN_COLUMNS} FROM runs WHERE namespace = $1 AND task = $2 AND state = $3 "
            "AND NOT $4 = ANY (refused_versions) ORDER BY no FOR UPDATE",
            namespace,
            task,
            int(State.BLOCKED),
            code_version,
        )
        for run in [tx.adopt(row) for row in blocked]:
            await tx.execute("UPDATE runs SET outcome = NULL WHERE no = $1", run.no)
            await make_runnable(tx, seats, run.no, now_us=now_us)
    return Opened(worker_no, still)


async def _end_former(tx: Transaction, seats: Seats, namespace: str, worker_id: str) -> list[RunRow]:
    """The runs of the worker's former connection, at whichever replica. That one gets no more.

    Each connection has a number of its own, so that a run on its way to a former one is not taken for the new one's.
    """
    former: int | None = await tx.fetchval(
        "DELETE FROM workers WHERE namespace = $1 AND id = $2 RETURNING no", namespace, worker_id
    )
    return [] if former is None else await _vacate(tx, seats, former)


async def _vacate(tx: Transaction, seats: Seats, worker_no: int) -> list[RunRow]:
    """The runs of a worker whose row is deleted."""
    seats.vacate(worker_no)
    tx.vacated.append(worker_no)
    rows = await tx.fetch(f"SELECT {RUN_COLUMNS} FROM runs WHERE worker = $1 ORDER BY no FOR UPDATE", worker_no)
    return [tx.adopt(row) for row in rows]


async def renew_lease(tx: Transaction, worker_no: int, *, lease_until_us: int) -> bool:
    renewed: int | None = await tx.fetchval(
        "UPDATE workers SET lease_until_us = $2 WHERE no = $1 RETURNING no", worker_no, lease_until_us
    )
    return renewed is not None


async def extend_leases(tx: Transaction, *, lease_until_us: int) -> None:
    await tx.execute("UPDATE workers SET lease_until_us = $1 WHERE lease_until_us < $1", lease_until_us)


async def end_lease(tx: Transaction, seats: Seats, worker_no: int, *, now_us: int) -> list[tuple[int, str]]:
    """Queues the worker's runs. From here on it gets no more, and its epochs are old."""
    await tx.execute("DELETE FROM workers WHERE no = $1", worker_no)
    runs = await _vacate(tx, seats, worker_no)
    for run in runs:
        await end_assignment(tx, run.no, Ending.LEASE_LOST, now_us=now_us)
        await make_runnable(tx, seats, run.no, now_us=now_us)
    return [(run.no, run.id) for run in runs]


async def end_due_leases(tx: Transaction, seats: Seats, *, now_us: int) -> list[tuple[int, str]]:
    """Ends the leases that have run out; returns the numbers and ids of their runs."""
    due = await tx.fetch("SELECT no FROM workers WHERE lease_until_us <= $1 ORDER BY no FOR UPDATE SKIP LOCKED", now_us)
    return [run for (worker_no,) in due for run in await end_lease(tx, seats, worker_no, now_us=now_us)]
