"""What wakes a suspended run: a record on a stream it listens to, a timer, a cancel request."""

from typing import Any

from midstream_server.domain import facts
from midstream_server.domain.run import EntryKind
from midstream_server.store.managed import Seats
from midstream_server.store.sqlite.append_fact import append_fact
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.claim import make_runnable


def fire_operation_timers(tx: Transaction, run_no: int, *, now_us: int) -> bool:
    """Appends the timers of a suspended run that are due, in their order; true if there was one.

    To be called before anything else is appended, so that a wait of 5 s takes no record sent after 8 s, whether the run
    was suspended or warm.
    """
    due: list[Any] = tx.execute(
        "SELECT operation, due_us FROM operation_timers WHERE run = ? AND due_us <= ? ORDER BY due_us, operation",
        (run_no, now_us),
    ).fetchall()
    for operation, due_us in due:
        append_fact(
            tx, run_no, EntryKind.TIMER_FIRED, body=facts.timer_fired(operation, due_us), now_us=max(now_us, due_us)
        )
        tx.execute("DELETE FROM operation_timers WHERE run = ? AND operation = ?", (run_no, operation))
    return bool(due)


def fire_due_operations(tx: Transaction, seats: Seats, *, now_us: int, limit: int) -> list[tuple[int, str]]:
    """Wakes suspended runs whose timers are due, at most `limit`; returns their numbers and ids."""
    runs: list[Any] = tx.execute(
        "SELECT DISTINCT run, runs.id FROM operation_timers JOIN runs ON runs.no = run WHERE due_us <= ? LIMIT ?",
        (now_us, limit),
    ).fetchall()
    for run_no, _ in runs:
        fire_operation_timers(tx, run_no, now_us=now_us)
        make_runnable(tx, seats, run_no, now_us=now_us)
    return runs
