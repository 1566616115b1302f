"""What runs wait for: kept in the database, so that a restart forgets none."""

from collections.abc import Collection

from midstream_server.domain.run import TimerKind
from midstream_server.store.sqlite.group_commit import Transaction


def set_timer(tx: Transaction, run_no: int, kind: TimerKind, due_us: int) -> None:
    tx.execute(
        "INSERT INTO timers (run, kind, due_us) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET due_us = excluded.due_us",
        (run_no, int(kind), due_us),
    )


def clear_timer(tx: Transaction, run_no: int, kind: TimerKind) -> None:
    tx.execute("DELETE FROM timers WHERE run = ? AND kind = ?", (run_no, int(kind)))


def postpone(tx: Transaction, kind: TimerKind, *, due_us: int, runs: Collection[int] | None = None) -> None:
    """To `due_us` at the earliest; those of `runs`, or all."""
    if runs is None:
        tx.execute("UPDATE timers SET due_us = ?1 WHERE kind = ?2 AND due_us < ?1", (due_us, int(kind)))
        return
    tx.executemany(
        "UPDATE timers SET due_us = ?1 WHERE run = ?3 AND kind = ?2 AND due_us < ?1",
        [(due_us, int(kind), run_no) for run_no in runs],
    )
