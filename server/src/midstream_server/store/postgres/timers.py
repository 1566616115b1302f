"""What runs wait for: kept in the database, so that a restart forgets none."""

from collections.abc import Collection

from midstream_server.domain.run import TimerKind
from midstream_server.store.postgres.transaction import Transaction


async def set_timer(tx: Transaction, run_no: int, kind: TimerKind, due_us: int) -> None:
    await tx.execute(
        "INSERT INTO timers (run, kind, due_us) VALUES ($1, $2, $3) "
        "ON CONFLICT (run, kind) DO UPDATE SET due_us = excluded.due_us",
        run_no,
        int(kind),
        due_us,
    )


async def clear_timer(tx: Transaction, run_no: int, kind: TimerKind) -> None:
    await tx.execute("DELETE FROM timers WHERE run = $1 AND kind = $2", run_no, int(kind))


async def postpone(tx: Transaction, kind: TimerKind, *, due_us: int, runs: Collection[int] | None = None) -> None:
    """To `due_us` at the earliest; of `runs`, or of all."""
    await tx.execute(
        "UPDATE timers SET due_us = $1 WHERE kind = $2 AND kind NOT IN (4, 7) AND due_us < $1 "
        "AND ($3::bigint[] IS NULL OR run = ANY ($3))",
        due_us,
        int(kind),
        None if runs is None else list(runs),
    )
