"""What runs wait for: kept in the database, so that a restart forgets none."""

from collections.abc import Callable
from typing import Any

from midstream_server.domain.limits import Periods
from midstream_server.domain.run import State, TimerKind, state_when_due
from midstream_server.store.interface import Fired
from midstream_server.store.sqlite.group_commit import Transaction


def set_timer(tx: Transaction, run_no: int, kind: TimerKind, due_us: int) -> None:
    tx.execute(
        "INSERT INTO timers (run, kind, due_us) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET due_us = excluded.due_us",
        (run_no, int(kind), due_us),
    )


def clear_timer(tx: Transaction, run_no: int, kind: TimerKind) -> None:
    tx.execute("DELETE FROM timers WHERE run = ? AND kind = ?", (run_no, int(kind)))


def postpone(tx: Transaction, kind: TimerKind, *, due_us: int) -> None:
    tx.execute("UPDATE timers SET due_us = ?1 WHERE kind = ?2 AND due_us < ?1", (due_us, int(kind)))


def fire_due(
    tx: Transaction,
    *,
    now_us: int,
    last_held_us: Callable[[int], int | None],
    end_run: Callable[[Transaction, int, State], None],
    periods: Periods,
    limit: int,
) -> list[Fired]:
    """Retention is not fired here: see `purge`."""
    due: list[Any] = tx.execute(
        "SELECT timers.run, timers.kind, runs.id, runs.state FROM timers JOIN runs ON runs.no = timers.run "
        "WHERE due_us <= ? AND timers.kind != ? ORDER BY due_us LIMIT ?",
        (now_us, int(TimerKind.RETENTION), limit),
    ).fetchall()
    fired: list[Fired] = []
    ended: set[int] = set()
    for run_no, kind_no, run_id, state_no in due:
        if run_no in ended:
            continue  # Its other timers went with it.
        kind = TimerKind(kind_no)
        if kind is TimerKind.UNHELD:
            held_us = last_held_us(run_no)
            if held_us is not None and held_us + periods.unheld_expiry_us > now_us:
                set_timer(tx, run_no, kind, held_us + periods.unheld_expiry_us)
                fired.append(Fired(run_no, run_id, kind, None))
                continue
        clear_timer(tx, run_no, kind)
        state = state_when_due(kind, State(state_no))
        if state is not None:
            end_run(tx, run_no, state)
            ended.add(run_no)
        fired.append(Fired(run_no, run_id, kind, state))
    return fired
