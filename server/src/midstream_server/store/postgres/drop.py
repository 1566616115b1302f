"""Drops the oldest unread records of streams: they stay in the log, and count as consumed."""

from collections.abc import Sequence
from typing import NamedTuple

from midstream_server.domain import facts
from midstream_server.domain.overflow import Overflow
from midstream_server.domain.run import EntryKind
from midstream_server.store.postgres.transaction import Transaction

End = tuple[int, int]
"""Seq and bytes_through of a record."""


class Drop(NamedTuple):
    """What one batch has pushed out: all from `first_seq` through `last`."""

    run_no: int
    stream_no: int
    stream_id: str
    first_seq: int
    last: End
    offset: int
    at_us: int


async def last_dropped(tx: Transaction, run_no: int, stream_no: int, overflow: Overflow, newest: Sequence[End]) -> End:
    """The last record that is dropped. `newest`: the stream's last stored one, and all that are not stored yet."""
    if overflow.through_seq < newest[0][0]:
        row = await tx.fetchrow(
            "SELECT seq, bytes_through FROM entries WHERE run = $1 AND stream = $2 AND seq >= $3 "
            "AND bytes_through >= $4 ORDER BY seq LIMIT 1",
            run_no,
            stream_no,
            overflow.through_seq,
            overflow.through_bytes,
        )
        if row is not None:
            return row["seq"], row["bytes_through"]
    return next(end for end in newest if end[0] >= overflow.through_seq and end[1] >= overflow.through_bytes)


async def store_drops(tx: Transaction, drops: Sequence[Drop]) -> None:
    """Writes the entries that tell, and moves the cursors. The last one of a stream has its cursor."""
    if not drops:
        return
    await tx.execute(
        "INSERT INTO entries (kind, run, log_offset, at_us, body) "
        "SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])",
        int(EntryKind.RECORDS_DROPPED),
        [drop.run_no for drop in drops],
        [drop.offset for drop in drops],
        [drop.at_us for drop in drops],
        [facts.records_dropped(drop.stream_id, drop.first_seq, drop.last[0]) for drop in drops],
    )
    cursors = {(drop.run_no, drop.stream_no): drop.last for drop in drops}
    await tx.execute(
        "UPDATE streams SET cursor = moved.cursor, cursor_bytes = moved.cursor_bytes "
        "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS moved (run, no, cursor, cursor_bytes) "
        "WHERE streams.run = moved.run AND streams.no = moved.no",
        [run_no for run_no, _ in cursors],
        [stream_no for _, stream_no in cursors],
        [cursor for cursor, _ in cursors.values()],
        [cursor_bytes for _, cursor_bytes in cursors.values()],
    )
