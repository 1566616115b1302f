"""Deletes runs whose retention is over, in slices, and gives their pages back to the file system."""

from midstream_server.domain.run import TimerKind
from midstream_server.store.sqlite.group_commit import Transaction

_PAGES = 256
_SLICE_BYTES = 8 * 1024 * 1024


def purge(tx: Transaction, *, now_us: int, limit: int) -> bool:
    """Deletes at most `limit` entries of one run; true while there may be more to delete."""
    run_no = tx.execute(
        "SELECT run FROM timers WHERE kind = ? AND due_us <= ? ORDER BY due_us LIMIT 1",
        (int(TimerKind.RETENTION), now_us),
    ).get
    if run_no is None:
        return _give_back_pages(tx)
    # Without its id nobody finds the run any more, and the id may be used again.
    tx.execute("UPDATE runs SET id = NULL WHERE no = ? AND id IS NOT NULL", (run_no,))
    last = _end_of_slice(tx, run_no, limit)
    if last is not None:
        tx.execute("DELETE FROM entries WHERE run = ? AND offset <= ?", (run_no, last))
        return True
    for table in ("handler_failures", "assignments", "operation_timers", "streams", "timers"):
        tx.execute(f"DELETE FROM {table} WHERE run = ?", (run_no,))
    tx.execute("DELETE FROM runs WHERE no = ?", (run_no,))
    return True


def _end_of_slice(tx: Transaction, run_no: int, limit: int) -> int | None:
    """The offset up to which to delete: bounded by bytes too, since every page of a large body is visited."""
    last, size = None, 0
    for offset, length in tx.execute(
        "SELECT offset, length(body) FROM entries WHERE run = ? ORDER BY offset LIMIT ?", (run_no, limit)
    ):
        size += length
        if last is not None and size > _SLICE_BYTES:
            break
        last = offset
    return last


def _give_back_pages(tx: Transaction) -> bool:
    free: int = tx.execute("PRAGMA freelist_count").get
    if free <= _PAGES:
        return False
    tx.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
    return True
