"""What wakes a suspended run: a record on a stream it listens to, a timer, a cancel request."""

from midstream_server.domain import facts
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.managed import Seats
from midstream_server.store.postgres.append_fact import append_fact
from midstream_server.store.postgres.managed.claim import make_runnable
from midstream_server.store.postgres.transaction import RUN_COLUMNS, Transaction


async def fire_operation_timers(tx: Transaction, run_no: int, *, now_us: int) -> bool:
    """Appends the timers of a suspended run that are due, in their order; true if there was one.

    To be called before anything else is appended, so that a wait of 5 s takes no record sent after 8 s, whether the run
    was suspended or warm.
    """
    due = await tx.fetch(
        "WITH due AS (DELETE FROM operation_timers WHERE run = $1 AND due_us <= $2 RETURNING operation, due_us) "
        "SELECT operation, due_us FROM due ORDER BY due_us, operation",
        run_no,
        now_us,
    )
    for operation, due_us in due:
        body = facts.timer_fired(operation, due_us)
        await append_fact(tx, run_no, EntryKind.TIMER_FIRED, body=body, now_us=max(now_us, due_us))
    return bool(due)


async def fire_due_operations(tx: Transaction, seats: Seats, *, now_us: int, limit: int) -> list[tuple[int, str]]:
    """Wakes suspended runs whose timers are due, at most `limit`; returns their numbers and ids."""
    rows = await tx.fetch(
        f"SELECT {RUN_COLUMNS} FROM runs WHERE no = ANY (ARRAY("
        "SELECT run FROM operation_timers WHERE due_us <= $1 ORDER BY due_us LIMIT $2)) "
        "ORDER BY no FOR UPDATE SKIP LOCKED",
        now_us,
        limit,
    )
    woken: list[tuple[int, str]] = []
    for run in [tx.adopt(row) for row in rows]:
        # Another replica may have woken it between the look and the lock.
        if run.state is State.SUSPENDED and await fire_operation_timers(tx, run.no, now_us=now_us):
            await make_runnable(tx, seats, run.no, now_us=now_us)
            woken.append((run.no, run.id))
    return woken
