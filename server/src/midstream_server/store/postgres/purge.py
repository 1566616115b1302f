"""Deletes runs whose retention is over, in slices. PostgreSQL's vacuum then frees their space."""

from midstream_server.store.postgres.transaction import Transaction

_SLICE_BYTES = 8 * 1024 * 1024


async def purge(tx: Transaction, *, now_us: int, limit: int) -> bool:
    """Deletes at most `limit` entries of one run; true while there may be more to delete."""
    # Runs that another replica is deleting are passed over.
    run_no = await tx.fetchval(
        "SELECT run FROM timers WHERE kind = 4 AND due_us <= $1 ORDER BY due_us LIMIT 1 FOR UPDATE SKIP LOCKED", now_us
    )
    if run_no is None:
        return False
    # Without its id nobody finds the run any more, and the id may be used again.
    await tx.execute("UPDATE runs SET id = NULL WHERE no = $1 AND id IS NOT NULL", run_no)
    last = await _end_of_slice(tx, run_no, limit)
    if last is not None:
        await tx.execute("DELETE FROM entries WHERE run = $1 AND log_offset <= $2", run_no, last)
        return True
    for table in ("handler_failures", "assignments", "operation_timers", "streams", "timers"):
        await tx.execute(f"DELETE FROM {table} WHERE run = $1", run_no)
    await tx.execute("DELETE FROM runs WHERE no = $1", run_no)
    return True


async def _end_of_slice(tx: Transaction, run_no: int, limit: int) -> int | None:
    """The offset up to which to delete: bounded by bytes too."""
    last, size = None, 0
    for offset, length in await tx.fetch(
        "SELECT log_offset, octet_length(body) FROM entries WHERE run = $1 ORDER BY log_offset LIMIT $2", run_no, limit
    ):
        size += length
        if last is not None and size > _SLICE_BYTES:
            break
        last = offset
    return last
