"""A run becomes runnable, and a worker gets it."""

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from midstream_server.domain import facts
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change
from midstream_server.store.managed import Claimed, Seat, Seats
from midstream_server.store.sqlite.append_fact import append_fact
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.log import read_entries

_SEED_BYTES: Final = 16
_FIRST_ENTRIES: Final = 100
_FIRST_BYTES: Final = 64 * 1024
"""Read together with a claim, while the pages are at hand; bounded, since every other sender waits meanwhile."""


def make_runnable(tx: Transaction, seats: Seats, run_no: int, *, now_us: int) -> None:
    """Claims a run at once where a worker has a seat, without passing through the queue; else queues it."""
    tx.execute("DELETE FROM operation_timers WHERE run = ?", (run_no,))
    row: Any = tx.execute("SELECT namespace, task, refused_versions FROM runs WHERE no = ?", (run_no,)).fetchall()[0]
    namespace, task, refused = row
    seat = _take(tx, seats, namespace, task, json.loads(refused))
    if seat is not None:
        _claim(tx, seats, seat, run_no, now_us=now_us)
        return
    tx.execute(
        "UPDATE runs SET state = ?, queued_us = ?, worker = NULL WHERE no = ?", (int(State.QUEUED), now_us, run_no)
    )
    tx.changes.add(Change(run_no, None))


def claim_queued(
    tx: Transaction, seats: Seats, namespace: str, tasks: Mapping[str, str], *, limit: int, now_us: int
) -> int:
    """Claims queued runs, the oldest of all tasks first, for as many seats as there are."""
    if tx.execute("SELECT 1 FROM runs WHERE namespace = ? AND queued_us IS NOT NULL LIMIT 1", (namespace,)).get is None:
        return 0
    queued: list[Any] = []
    for task, code_version in tasks.items():
        queued += tx.execute(
            "SELECT queued_us, no, task, refused_versions FROM runs "
            "WHERE namespace = ? AND task = ? AND queued_us IS NOT NULL "
            "AND NOT EXISTS (SELECT 1 FROM json_each(refused_versions) WHERE value = ?) "
            "ORDER BY queued_us, no LIMIT ?",
            (namespace, task, code_version, limit),
        ).fetchall()
    claimed = 0
    for _, run_no, task, refused in sorted(queued)[:limit]:
        seat = _take(tx, seats, namespace, task, json.loads(refused))
        if seat is None:
            break
        _claim(tx, seats, seat, run_no, now_us=now_us)
        claimed += 1
    return claimed


def _take(tx: Transaction, seats: Seats, namespace: str, task: str, refused: Collection[str]) -> Seat | None:
    """A seat at a worker that has a lease: a connection may outlive its own."""
    while (seat := seats.take(namespace, task, refused)) is not None:
        if tx.execute("SELECT 1 FROM workers WHERE no = ?", (seat.worker_no,)).get is not None:
            break
        seats.vacate(seat.worker_no)
    return seat


def _claim(tx: Transaction, seats: Seats, seat: Seat, run_no: int, *, now_us: int) -> None:
    tx.on_rollback.append(_later(seats.give_back, seat))
    row: Any = tx.execute(
        "UPDATE runs SET state = ?, queued_us = NULL, worker = ?, epoch = epoch + 1 WHERE no = ? "
        "RETURNING id, task, epoch, generation, checkpoint, started_us",
        (int(State.RUNNING), seat.worker_no, run_no),
    ).fetchall()[0]
    run_id, task, epoch, generation, checkpoint, started_us = row
    if started_us is None:
        seed = facts.started(secrets.token_bytes(_SEED_BYTES), seat.runtime)
        at_us = append_fact(tx, run_no, EntryKind.STARTED, body=seed, now_us=now_us)
        tx.execute("UPDATE runs SET started_us = ? WHERE no = ?", (at_us, run_no))
    tx.execute(
        "INSERT INTO assignments (run, epoch, worker_id, code_version, assigned_us) "
        "SELECT ?, ?, id, ?, ? FROM workers WHERE no = ?",
        (run_no, epoch, seat.code_version, now_us, seat.worker_no),
    )
    claimed = Claimed(run_no, run_id, task, epoch, generation, 0, checkpoint)
    tx.before_commit.append(lambda: _fill(tx, seats, seat, claimed))
    tx.changes.add(Change(run_no, None))


def _fill(tx: Transaction, seats: Seats, seat: Seat, claimed: Claimed) -> None:
    """With the log as it is when all operations of the transaction have been done."""
    page = read_entries(tx.execute, claimed.run_no, after_offset=0, max_entries=_FIRST_ENTRIES, max_bytes=_FIRST_BYTES)
    if page is not None and (page.state, page.epoch) == (State.RUNNING, claimed.epoch):
        claimed = claimed._replace(generation=page.generation, last_offset=page.last_offset, entries=page.entries)
        new_from = tx.first_appended.get(claimed.run_no)
        if claimed.checkpoint is not None and new_from is not None and not tx.while_committing:
            tx.while_committing.append(lambda: seats.prepare(seat, claimed, through_offset=new_from - 1))
            tx.on_rollback.append(lambda: seats.withdraw(seat, claimed))
    tx.on_commit.append(lambda: seats.fill(seat, claimed))


def _later(call: Callable[[Seat], None], seat: Seat) -> Callable[[], None]:
    return lambda: call(seat)
