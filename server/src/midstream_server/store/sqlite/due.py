"""Lets timers come due: those of runs, those of suspended operations, and the leases of workers."""

from collections.abc import Callable
from typing import Any

from midstream_server.domain.limits import Periods
from midstream_server.domain.run import Kind, State, TimerKind, state_when_due
from midstream_server.store.interface import Fired
from midstream_server.store.managed import Seats
from midstream_server.store.sqlite.cancel import ask_to_stop
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.managed.end import final_state
from midstream_server.store.sqlite.managed.lease import end_due_leases
from midstream_server.store.sqlite.managed.wake import fire_due_operations
from midstream_server.store.sqlite.runs import end
from midstream_server.store.sqlite.timers import clear_timer, set_timer


def next_due_us(execute: Callable[..., Any]) -> int | None:
    """Of everything here, and of retention."""
    due_us: int | None = execute(
        "SELECT min(due_us) FROM (SELECT min(due_us) AS due_us FROM timers "
        "UNION ALL SELECT min(due_us) FROM operation_timers UNION ALL SELECT min(lease_until_us) FROM workers)"
    ).get
    return due_us


def fire_due(
    tx: Transaction,
    *,
    now_us: int,
    last_held_us: Callable[[int], int | None],
    periods: Periods,
    seats: Seats,
    limit: int,
) -> list[Fired]:
    """Retention is not fired here: see `purge`."""
    fired = _fire_run_timers(tx, now_us=now_us, last_held_us=last_held_us, periods=periods, seats=seats, limit=limit)
    for run_no, run_id in fire_due_operations(tx, seats, now_us=now_us, limit=limit):
        fired.append(Fired(run_no, run_id, TimerKind.OPERATION, None))
    for run_no, run_id in end_due_leases(tx, seats, now_us=now_us):
        fired.append(Fired(run_no, run_id, TimerKind.LEASE, None))
    return fired


def _fire_run_timers(
    tx: Transaction,
    *,
    now_us: int,
    last_held_us: Callable[[int], int | None],
    periods: Periods,
    seats: Seats,
    limit: int,
) -> list[Fired]:
    due: list[Any] = tx.execute(
        "SELECT timers.run, timers.kind, runs.id, runs.kind, runs.state FROM timers JOIN runs ON runs.no = timers.run "
        "WHERE due_us <= ? AND timers.kind NOT IN (?, ?) ORDER BY due_us LIMIT ?",
        (now_us, int(TimerKind.RETENTION), int(TimerKind.OUTPUT_RETENTION), limit),
    ).fetchall()
    fired: list[Fired] = []
    ended: set[int] = set()
    for run_no, timer_no, run_id, kind_no, state_no in due:
        if run_no in ended:
            continue  # Its other timers went with it.
        timer = TimerKind(timer_no)
        if timer is TimerKind.UNHELD:
            held_us = last_held_us(run_no)
            if held_us is not None and held_us + periods.unheld_expiry_us > now_us:
                set_timer(tx, run_no, timer, held_us + periods.unheld_expiry_us)
                fired.append(Fired(run_no, run_id, timer, None))
                continue
        clear_timer(tx, run_no, timer)
        state = state_when_due(timer, State(state_no))
        if state is not None and kind_no == Kind.MANAGED:
            if timer is TimerKind.DEADLINE:
                ask_to_stop(tx, run_no, deadline_passed=True, periods=periods, seats=seats, now_us=now_us)
                fired.append(Fired(run_no, run_id, timer, None))
                continue
            state = final_state(tx, run_no, state)
        if state is not None:
            end(tx, run_no, state, None, periods=periods, now_us=now_us)
            ended.add(run_no)
        fired.append(Fired(run_no, run_id, timer, state))
    return fired
