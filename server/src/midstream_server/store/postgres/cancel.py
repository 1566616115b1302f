"""Asks a run to stop, because somebody said so or because its deadline has passed."""

from midstream_server.domain import facts
from midstream_server.domain.limits import Periods
from midstream_server.domain.run import EntryKind, Kind, Run, State, TimerKind
from midstream_server.store.interface import Change
from midstream_server.store.managed import Seats
from midstream_server.store.postgres.append_fact import append_fact
from midstream_server.store.postgres.find import find_run
from midstream_server.store.postgres.managed.claim import make_runnable
from midstream_server.store.postgres.managed.wake import fire_operation_timers
from midstream_server.store.postgres.runs import end, read_run
from midstream_server.store.postgres.timers import set_timer
from midstream_server.store.postgres.transaction import RUN_COLUMNS, Transaction


async def request_cancel(
    tx: Transaction, namespace: str, run_id: str, *, periods: Periods, seats: Seats, now_us: int
) -> Run:
    run = find_run(tx, namespace, run_id)
    await ask_to_stop(tx, run.no, deadline_passed=False, periods=periods, seats=seats, now_us=now_us)
    return await read_run(tx, namespace, run_id)


async def ask_to_stop(
    tx: Transaction, run_no: int, *, deadline_passed: bool, periods: Periods, seats: Seats, now_us: int
) -> None:
    """Ends a run that has not started; any other is told, once, and gets a grace to clean up in."""
    run = tx.locked(run_no)
    if run.state.final or run.cancel_us is not None:
        return
    if run.state is State.SUSPENDED:
        await fire_operation_timers(tx, run_no, now_us=now_us)
    fact = facts.cancel_requested(deadline_passed=deadline_passed)
    at_us = await append_fact(tx, run_no, EntryKind.CANCEL_REQUESTED, body=fact, now_us=now_us)
    row = await tx.fetchrow(f"UPDATE runs SET cancel_us = $2 WHERE no = $1 RETURNING {RUN_COLUMNS}", run_no, at_us)
    tx.adopt(row)
    tx.changes.add(Change(run_no, None))
    if run.kind is Kind.MANAGED and run.started_us is None:
        final = State.EXPIRED if deadline_passed else State.CANCELLED
        await end(tx, run_no, final, None, periods=periods, now_us=now_us)
        return
    await set_timer(tx, run_no, TimerKind.CANCEL_GRACE, now_us + periods.cancel_grace_us)
    if run.state is State.SUSPENDED:
        await make_runnable(tx, seats, run_no, now_us=now_us)
