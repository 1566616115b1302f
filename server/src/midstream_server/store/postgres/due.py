"""Lets the timers of runs come due. What another replica is about to do is passed over."""

from collections.abc import Callable

from midstream_server.domain.limits import Periods
from midstream_server.domain.run import Kind, TimerKind, state_when_due
from midstream_server.store.interface import Fired
from midstream_server.store.managed import Seats
from midstream_server.store.postgres.cancel import ask_to_stop
from midstream_server.store.postgres.connections import Connection
from midstream_server.store.postgres.managed.end import final_state
from midstream_server.store.postgres.runs import end
from midstream_server.store.postgres.timers import clear_timer, set_timer
from midstream_server.store.postgres.transaction import RUN_COLUMNS, Transaction


async def next_due_us(connection: Connection) -> int | None:
    """Of runs' timers, retention, operations and leases."""
    due_us: int | None = await connection.fetchval(
        "SELECT least((SELECT min(due_us) FROM timers WHERE kind NOT IN (4, 7)), "
        "(SELECT min(due_us) FROM timers WHERE kind IN (4, 7)), "
        "(SELECT min(due_us) FROM operation_timers), (SELECT min(lease_until_us) FROM workers))"
    )
    return due_us


async def fire_run_timers(
    tx: Transaction,
    *,
    now_us: int,
    last_held_us: Callable[[int], int | None],
    periods: Periods,
    seats: Seats,
    limit: int,
) -> list[Fired]:
    """Retention is not fired here: see `purge`."""
    locked = await tx.fetch(
        f"SELECT {RUN_COLUMNS} FROM runs WHERE no = ANY (ARRAY("
        "SELECT run FROM timers WHERE due_us <= $1 AND timers.kind NOT IN (4, 7) ORDER BY due_us LIMIT $2)) "
        "ORDER BY no FOR UPDATE SKIP LOCKED",
        now_us,
        limit,
    )
    runs = {run.no: run for run in (tx.adopt(row) for row in locked)}
    # Read again, now that nobody else can change them.
    due = await tx.fetch(
        "SELECT run, kind FROM timers WHERE run = ANY ($1) AND due_us <= $2 AND kind NOT IN (4, 7) ORDER BY due_us",
        list(runs),
        now_us,
    )
    fired: list[Fired] = []
    ended: set[int] = set()
    for run_no, timer_no in due:
        if run_no in ended:
            continue  # Its other timers went with it.
        run = tx.locked(run_no)
        timer = TimerKind(timer_no)
        if timer is TimerKind.UNHELD:
            held_us = last_held_us(run_no)
            if held_us is not None and held_us + periods.unheld_expiry_us > now_us:
                await set_timer(tx, run_no, timer, held_us + periods.unheld_expiry_us)
                fired.append(Fired(run_no, run.id, timer, None))
                continue
        await clear_timer(tx, run_no, timer)
        state = state_when_due(timer, run.state)
        if state is not None and run.kind is Kind.MANAGED:
            if timer is TimerKind.DEADLINE:
                await ask_to_stop(tx, run_no, deadline_passed=True, periods=periods, seats=seats, now_us=now_us)
                fired.append(Fired(run_no, run.id, timer, None))
                continue
            state = final_state(tx, run_no, state)
        if state is not None:
            await end(tx, run_no, state, None, periods=periods, now_us=now_us)
            ended.add(run_no)
        fired.append(Fired(run_no, run.id, timer, state))
    return fired
