"""Drops the oldest unread records of a stream: they stay in the log, and count as consumed."""

from midstream_server.domain import facts
from midstream_server.domain.overflow import Overflow
from midstream_server.domain.run import EntryKind
from midstream_server.store.sqlite.group_commit import Transaction


def drop_oldest(tx: Transaction, run_no: int, stream_no: int, stream_id: str, overflow: Overflow, *, at_us: int) -> int:
    """Returns the last seq that is dropped. The new records are stored already."""
    last: tuple[int, int] = next(
        tx.execute(
            "SELECT seq, bytes_through FROM entries INDEXED BY entries_seq WHERE run = ? AND stream = ? AND seq >= ? "
            "AND bytes_through >= ? ORDER BY seq LIMIT 1",
            (run_no, stream_no, overflow.through_seq, overflow.through_bytes),
        )
    )
    tx.execute(
        "UPDATE streams SET cursor = ?, cursor_bytes = ? WHERE run = ? AND no = ?",
        (*last, run_no, stream_no),
    )
    tx.execute(
        "INSERT INTO entries (run, offset, kind, at_us, body) VALUES (?, ?, ?, ?, ?)",
        (
            run_no,
            overflow.offset,
            int(EntryKind.RECORDS_DROPPED),
            at_us,
            facts.records_dropped(stream_id, overflow.first_seq, last[0]),
        ),
    )
    return last[0]
