"""Finds runs and streams by their names."""

from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.store.postgres.text import storable
from midstream_server.store.postgres.transaction import RunRow, Transaction


class StreamRow(NamedTuple):
    no: int
    cursor: int
    cursor_bytes: int
    holder_epoch: int


def find_run(tx: Transaction, namespace: str, run_id: str) -> RunRow:
    """One of the runs that were locked. Raises Refused: RUN_NOT_FOUND."""
    run = tx.run_named(namespace, run_id)
    if run is None:
        raise errors.run_not_found(run_id)
    return run


async def find_stream(tx: Transaction, run_no: int, stream_id: str) -> StreamRow | None:
    row = await tx.fetchrow(
        "SELECT no, cursor, cursor_bytes, holder_epoch FROM streams WHERE run = $1 AND id = $2",
        run_no,
        storable(stream_id),
    )
    return None if row is None else StreamRow(*row)


async def make_stream(tx: Transaction, run_no: int, stream_id: str, *, max_streams: int) -> StreamRow:
    """Streams of a run are numbered from 1."""
    count: int = await tx.fetchval("SELECT count(*) FROM streams WHERE run = $1", run_no)
    if count >= max_streams:
        raise errors.too_many_streams(max_streams)
    await tx.execute("INSERT INTO streams (run, no, id) VALUES ($1, $2, $3)", run_no, count + 1, stream_id)
    return StreamRow(count + 1, 0, 0, 0)


async def last_record(tx: Transaction, run_no: int, stream_no: int) -> int:
    """Seq of a stream's newest record."""
    seq: int | None = await tx.fetchval(
        "SELECT max(seq) FROM entries WHERE run = $1 AND stream = $2 AND seq IS NOT NULL", run_no, stream_no
    )
    return seq or 0
