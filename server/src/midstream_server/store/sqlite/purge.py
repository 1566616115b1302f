"""Deletes runs and output records whose retention is over, in slices, and gives their pages back to the file system."""

from midstream_server.domain.run import TimerKind
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.timers import clear_timer

_PAGES = 256
_SLICE_BYTES = 8 * 1024 * 1024


def purge(tx: Transaction, *, now_us: int, limit: int) -> bool:
    """Deletes at most `limit` entries or output records of one run; true while there may be more to delete."""
    due = tx.execute(
        "SELECT run, kind FROM timers WHERE kind IN (?, ?) AND due_us <= ? ORDER BY due_us LIMIT 1",
        (int(TimerKind.RETENTION), int(TimerKind.OUTPUT_RETENTION), now_us),
    ).fetchone()
    if due is None:
        return _give_back_pages(tx)
    run_no, timer = due
    if timer == TimerKind.OUTPUT_RETENTION:
        if not _delete_slice(tx, "outputs", run_no, limit):
            _forget_writers(tx, run_no)
            clear_timer(tx, run_no, TimerKind.OUTPUT_RETENTION)
        return True
    # Without its id nobody finds the run any more, and the id may be used again.
    tx.execute("UPDATE runs SET id = NULL WHERE no = ? AND id IS NOT NULL", (run_no,))
    if _delete_slice(tx, "entries", run_no, limit) or _delete_slice(tx, "outputs", run_no, limit):
        return True
    _forget_writers(tx, run_no)
    for table in ("handler_failures", "assignments", "operation_timers", "streams", "output_streams", "timers"):
        tx.execute(f"DELETE FROM {table} WHERE run = ?", (run_no,))
    tx.execute("DELETE FROM runs WHERE no = ?", (run_no,))
    return True


def _delete_slice(tx: Transaction, table: str, run_no: int, limit: int) -> bool:
    """False: there is nothing left."""
    last = _end_of_slice(tx, table, run_no, limit)
    if last is not None:
        tx.execute(f"DELETE FROM {table} WHERE run = ? AND offset <= ?", (run_no, last))
    return last is not None


def _forget_writers(tx: Transaction, run_no: int) -> None:
    for table in ("output_writers", "output_ranges"):
        tx.execute(f"DELETE FROM {table} WHERE run = ?", (run_no,))


def _end_of_slice(tx: Transaction, table: str, run_no: int, limit: int) -> int | None:
    """The offset up to which to delete: bounded by bytes too, since every page of a large body is visited."""
    last, size = None, 0
    for offset, length in tx.execute(
        f"SELECT offset, length(body) FROM {table} WHERE run = ? ORDER BY offset LIMIT ?", (run_no, limit)
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
