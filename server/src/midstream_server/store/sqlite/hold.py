"""Holders of streams, and their cursors."""

from collections.abc import Sequence

from midstream_server.domain import errors
from midstream_server.domain.holding import check_holder, moved_cursor, next_epoch
from midstream_server.domain.limits import Limits
from midstream_server.domain.run import check_consumable
from midstream_server.store.interface import Change, HandlerFailure, Hold
from midstream_server.store.sqlite.find import StreamRow, find_run, find_stream, last_record, make_stream
from midstream_server.store.sqlite.group_commit import Transaction

_KEPT_FAILURES = 100


def hold(
    tx: Transaction,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    holder_epoch: int,
    after_seq: int | None,
    limits: Limits,
) -> Hold:
    run = find_run(tx, namespace, run_id)
    check_consumable(run_id, run.kind, run.state)
    found = find_stream(tx, run.no, stream_id)
    stream = found or StreamRow(0, 0, 0, 0)
    epoch = next_epoch(stream_id, claimed=holder_epoch, current=stream.holder_epoch)
    last_seq, _ = last_record(tx, run.no, stream.no)
    if after_seq is not None and after_seq > last_seq:
        raise errors.field_invalid("after_seq", f"is {after_seq}, the last stored record is {last_seq}")
    if found is None:
        stream = make_stream(tx, run.no, stream_id, max_streams=limits.max_streams_per_run)
    if epoch != stream.holder_epoch:
        tx.execute("UPDATE streams SET holder_epoch = ? WHERE run = ? AND no = ?", (epoch, run.no, stream.no))
        tx.changes.add(Change(run.no, stream_id))
    return Hold(run.no, epoch, stream.cursor, last_seq)


def ack(
    tx: Transaction,
    namespace: str,
    run_id: str,
    stream_id: str,
    *,
    holder_epoch: int,
    through_seq: int,
    delivered_seq: int | None,
    failures: Sequence[HandlerFailure],
    now_us: int,
) -> int:
    run = find_run(tx, namespace, run_id)
    check_consumable(run_id, run.kind, run.state)
    stream = find_stream(tx, run.no, stream_id) or StreamRow(0, 0, 0, 0)
    check_holder(stream_id, claimed=holder_epoch, current=stream.holder_epoch)
    if delivered_seq is None:
        delivered_seq, _ = last_record(tx, run.no, stream.no)
    cursor = moved_cursor(cursor=stream.cursor, through_seq=through_seq, delivered_seq=delivered_seq)
    if cursor != stream.cursor:
        tx.execute(
            "UPDATE streams SET cursor = ?1, cursor_bytes = "
            "(SELECT bytes_through FROM entries WHERE run = ?2 AND stream = ?3 AND seq = ?1) "
            "WHERE run = ?2 AND no = ?3",
            (cursor, run.no, stream.no),
        )
        tx.changes.add(Change(run.no, stream_id))
    if failures:
        record_failures(tx, run.no, stream.no, failures, now_us)
        tx.changes.add(Change(run.no, stream_id))
    return cursor


def pruned_failures(tx: Transaction, run_no: int) -> bool:
    """Whether there were more than are kept."""
    count: int = tx.execute("SELECT handler_failure_count FROM runs WHERE no = ?", (run_no,)).get
    return count > _KEPT_FAILURES


def record_failures(
    tx: Transaction, run_no: int, stream_no: int, failures: Sequence[HandlerFailure], now_us: int
) -> None:
    for seq, handler, body in failures:
        new = tx.execute(
            "INSERT INTO handler_failures (run, stream, seq, handler, at_us, body) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING RETURNING 1",
            (run_no, stream_no, seq, handler, now_us, body),
        ).get
        if new is not None:
            tx.execute("UPDATE runs SET handler_failure_count = handler_failure_count + 1 WHERE no = ?", (run_no,))
    tx.execute(
        "DELETE FROM handler_failures WHERE run = ?1 AND (stream, seq, handler) IN "
        "(SELECT stream, seq, handler FROM handler_failures WHERE run = ?1 "
        "ORDER BY at_us DESC, stream DESC, seq DESC, handler DESC LIMIT -1 OFFSET ?2)",
        (run_no, _KEPT_FAILURES),
    )
