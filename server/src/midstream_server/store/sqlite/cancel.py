"""Asks a run to stop, because somebody said so or because its deadline has passed."""

from typing import Any

from midstream_server.domain import facts
from midstream_server.domain.limits import Periods
from midstream_server.domain.run import EntryKind, Kind, Run, State, TimerKind
from midstream_server.store.interface import Change
from midstream_server.store.managed import Seats
from midstream_server.store.sqlite.append_fact import append_fact
from midstream_server.store.sqlite.find import find_run
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.claim import make_runnable
from midstream_server.store.sqlite.managed.wake import fire_operation_timers
from midstream_server.store.sqlite.runs import end, read_run
from midstream_server.store.sqlite.timers import set_timer


def request_cancel(tx: Transaction, namespace: str, run_id: str, *, periods: Periods, seats: Seats, now_us: int) -> Run:
    run = find_run(tx, namespace, run_id)
    ask_to_stop(tx, run.no, deadline_passed=False, periods=periods, seats=seats, now_us=now_us)
    return read_run(tx.execute, namespace, run_id)


def ask_to_stop(
    tx: Transaction, run_no: int, *, deadline_passed: bool, periods: Periods, seats: Seats, now_us: int
) -> None:
    """Ends a run that has not started; any other is told, once, and gets a grace to clean up in."""
    row: Any = tx.execute("SELECT state, kind, started_us, cancel_us FROM runs WHERE no = ?", (run_no,)).fetchall()[0]
    state_no, kind_no, started_us, asked_us = row
    state = State(state_no)
    if state.final or asked_us is not None:
        return
    if state is State.SUSPENDED:
        fire_operation_timers(tx, run_no, now_us=now_us)
    fact = facts.cancel_requested(deadline_passed=deadline_passed)
    at_us = append_fact(tx, run_no, EntryKind.CANCEL_REQUESTED, body=fact, now_us=now_us)
    tx.execute("UPDATE runs SET cancel_us = ? WHERE no = ?", (at_us, run_no))
    tx.changes.add(Change(run_no, None))
    if kind_no == Kind.MANAGED and started_us is None:
        final = State.EXPIRED if deadline_passed else State.CANCELLED
        end(tx, run_no, final, None, periods=periods, now_us=now_us)
        return
    set_timer(tx, run_no, TimerKind.CANCEL_GRACE, now_us + periods.cancel_grace_us)
    if state is State.SUSPENDED:
        make_runnable(tx, seats, run_no, now_us=now_us)
