"""A worker's right to its runs: one lease for all of them, renewed by its heartbeat."""

from collections.abc import Collection, Mapping
from typing import Any

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import State
from midstream_server.store.managed import Opened, Seats
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.assignment import end_assignment
from midstream_server.store.sqlite.managed.claim import make_runnable


def open_worker(
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
    worker_no: int = tx.execute(
        "INSERT INTO workers (namespace, id, lease_until_us) VALUES (?, ?, ?) "
        "ON CONFLICT (namespace, id) DO UPDATE SET lease_until_us = excluded.lease_until_us RETURNING no",
        (namespace, worker_id, lease_until_us),
    ).get
    had: list[Any] = tx.execute("SELECT no, id, epoch FROM runs WHERE worker = ?", (worker_no,)).fetchall()
    still = {run_id: run_no for run_no, run_id, epoch in had if (run_id, epoch) in held}
    for run_no, run_id, _ in had:
        if run_id not in still:
            end_assignment(tx, run_no, Ending.LEASE_LOST, now_us=now_us)
            make_runnable(tx, seats, run_no, now_us=now_us)
    for task, code_version in tasks.items():
        blocked: list[Any] = tx.execute(
            "SELECT no FROM runs WHERE namespace = ? AND task = ? AND state = ? "
            "AND NOT EXISTS (SELECT 1 FROM json_each(refused_versions) WHERE value = ?)",
            (namespace, task, int(State.BLOCKED), code_version),
        ).fetchall()
        for (run_no,) in blocked:
            tx.execute("UPDATE runs SET outcome = NULL WHERE no = ?", (run_no,))
            make_runnable(tx, seats, run_no, now_us=now_us)
    return Opened(worker_no, still)


def renew_lease(tx: Transaction, worker_no: int, *, lease_until_us: int) -> bool:
    renewed = tx.execute(
        "UPDATE workers SET lease_until_us = ? WHERE no = ? RETURNING no", (lease_until_us, worker_no)
    ).fetchall()
    return bool(renewed)


def extend_leases(tx: Transaction, *, lease_until_us: int) -> None:
    tx.execute("UPDATE workers SET lease_until_us = ?1 WHERE lease_until_us < ?1", (lease_until_us,))


def end_lease(tx: Transaction, seats: Seats, worker_no: int, *, now_us: int) -> list[tuple[int, str]]:
    """Queues the worker's runs. From here on its epochs are old: whatever it still says is refused."""
    runs: list[Any] = tx.execute("SELECT no, id FROM runs WHERE worker = ?", (worker_no,)).fetchall()
    tx.execute("DELETE FROM workers WHERE no = ?", (worker_no,))
    for run_no, _ in runs:
        end_assignment(tx, run_no, Ending.LEASE_LOST, now_us=now_us)
        make_runnable(tx, seats, run_no, now_us=now_us)
    return runs


def end_due_leases(tx: Transaction, seats: Seats, *, now_us: int) -> list[tuple[int, str]]:
    """Ends the leases that have run out; returns the numbers and ids of their runs."""
    workers: list[Any] = tx.execute("SELECT no FROM workers WHERE lease_until_us <= ?", (now_us,)).fetchall()
    return [run for (worker_no,) in workers for run in end_lease(tx, seats, worker_no, now_us=now_us)]
