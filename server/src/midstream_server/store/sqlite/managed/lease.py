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
    had = _end_former(tx, seats, namespace, worker_id)
    worker_no: int = tx.execute(
        "INSERT INTO workers (namespace, id, lease_until_us) VALUES (?, ?, ?) RETURNING no",
        (namespace, worker_id, lease_until_us),
    ).get
    still: dict[str, int] = {}
    for run_no, run_id, epoch, task in had:
        if (run_id, epoch) in held and task in tasks:
            still[run_id] = run_no
            tx.execute("UPDATE runs SET worker = ? WHERE no = ?", (worker_no, run_no))
        else:
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


def _end_former(tx: Transaction, seats: Seats, namespace: str, worker_id: str) -> list[Any]:
    """The runs of the worker's former connection: number, id, epoch, task. That one gets no more.

    Each connection has a number of its own, so that a run on its way to a former one is not taken for the new one's.
    """
    former: int | None = tx.execute(
        "DELETE FROM workers WHERE namespace = ? AND id = ? RETURNING no", (namespace, worker_id)
    ).get
    if former is None:
        return []
    seats.vacate(former)
    return tx.execute("SELECT no, id, epoch, task FROM runs WHERE worker = ?", (former,)).fetchall()


def renew_lease(tx: Transaction, worker_no: int, *, lease_until_us: int) -> bool:
    renewed = tx.execute(
        "UPDATE workers SET lease_until_us = ? WHERE no = ? RETURNING no", (lease_until_us, worker_no)
    ).fetchall()
    return bool(renewed)


def extend_leases(tx: Transaction, *, lease_until_us: int) -> None:
    tx.execute("UPDATE workers SET lease_until_us = ?1 WHERE lease_until_us < ?1", (lease_until_us,))


def end_lease(tx: Transaction, seats: Seats, worker_no: int, *, now_us: int) -> list[tuple[int, str]]:
    """Queues the worker's runs. From here on it gets no more, and its epochs are old."""
    runs: list[Any] = tx.execute("SELECT no, id FROM runs WHERE worker = ?", (worker_no,)).fetchall()
    tx.execute("DELETE FROM workers WHERE no = ?", (worker_no,))
    seats.vacate(worker_no)
    for run_no, _ in runs:
        end_assignment(tx, run_no, Ending.LEASE_LOST, now_us=now_us)
        make_runnable(tx, seats, run_no, now_us=now_us)
    return runs


def end_due_leases(tx: Transaction, seats: Seats, *, now_us: int) -> list[tuple[int, str]]:
    """Ends the leases that have run out; returns the numbers and ids of their runs."""
    workers: list[Any] = tx.execute("SELECT no FROM workers WHERE lease_until_us <= ?", (now_us,)).fetchall()
    return [run for (worker_no,) in workers for run in end_lease(tx, seats, worker_no, now_us=now_us)]
