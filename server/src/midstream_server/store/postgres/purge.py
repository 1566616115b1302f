"""Deletes runs whose retention is over, in slices. PostgreSQL's vacuum then frees their space."""

from midstream_server.domain.run import TimerKind
from midstream_server.store.postgres.timers import clear_timer
from midstream_server.store.postgres.transaction import Transaction

_OFFSETS = {"entries": "log_offset", "outputs": "output_offset"}
_SLICE_BYTES = 8 * 1024 * 1024


async def purge(tx: Transaction, *, now_us: int, limit: int) -> bool:
    """Deletes at most `limit` entries or output records of one run; true while there may be more to delete."""
    # Runs that another replica is deleting are passed over.
    due = await tx.fetchrow(
        "SELECT run, kind FROM timers WHERE kind IN (4, 7) AND due_us <= $1 ORDER BY due_us LIMIT 1 "
        "FOR UPDATE SKIP LOCKED",
        now_us,
    )
    if due is None:
        return False
    run_no, timer = due
    if timer == TimerKind.OUTPUT_RETENTION:
        if not await _delete_slice(tx, "outputs", run_no, limit):
            await _forget_writers(tx, run_no)
            await clear_timer(tx, run_no, TimerKind.OUTPUT_RETENTION)
        return True
    # Without its id nobody finds the run any more, and the id may be used again.
    await tx.execute("UPDATE runs SET id = NULL WHERE no = $1 AND id IS NOT NULL", run_no)
    if await _delete_slice(tx, "entries", run_no, limit) or await _delete_slice(tx, "outputs", run_no, limit):
        return True
    await _forget_writers(tx, run_no)
    for table in ("handler_failures", "assignments", "operation_timers", "streams", "output_streams", "timers"):
        await tx.execute(f"DELETE FROM {table} WHERE run = $1", run_no)
    await tx.execute("DELETE FROM runs WHERE no = $1", run_no)
    return True


async def _delete_slice(tx: Transaction, table: str, run_no: int, limit: int) -> bool:
    """False: there is nothing left."""
    offset = _OFFSETS[table]
    last = await _end_of_slice(tx, table, offset, run_no, limit)
    if last is not None:
        await tx.execute(f"DELETE FROM {table} WHERE run = $1 AND {offset} <= $2", run_no, last)
    return last is not None


async def _forget_writers(tx: Transaction, run_no: int) -> None:
    for table in ("output_writers", "output_ranges"):
        await tx.execute(f"DELETE FROM {table} WHERE run = $1", run_no)


async def _end_of_slice(tx: Transaction, table: str, offset_column: str, run_no: int, limit: int) -> int | None:
    """The offset up to which to delete: bounded by bytes too."""
    last, size = None, 0
    for offset, length in await tx.fetch(
        f"SELECT {offset_column}, octet_length(body) FROM {table} WHERE run = $1 ORDER BY {offset_column} LIMIT $2",
        run_no,
        limit,
    ):
        size += length
        if last is not None and size > _SLICE_BYTES:
            break
        last = offset
    return last
