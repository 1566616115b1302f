"""Appends what a worker asks for, under its epoch and once for each operation."""

from midstream_server.domain.managed import Tenure, fenced, timer_is_early
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Change
from midstream_server.store.managed import Appended, Early, Fenced, Progress
from midstream_server.store.sqlite.append_fact import WORKER_STREAM, append_fact
from midstream_server.store.sqlite.find import find_stream, last_entry
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.hold import record_failures


def tenure_of(tx: Transaction, run_no: int) -> Tenure | None:
    row = tx.execute("SELECT state, epoch FROM runs WHERE no = ? AND id IS NOT NULL", (run_no,)).fetchone()
    return None if row is None else Tenure(State(row[0]), row[1])


def is_fenced(tx: Transaction, run_no: int, epoch: int) -> bool:
    tenure = tenure_of(tx, run_no)
    return tenure is None or fenced(tenure, epoch)


def append_entry(
    tx: Transaction,
    run_no: int,
    epoch: int,
    kind: EntryKind,
    *,
    key: str,
    body: bytes,
    due_us: int | None,
    progress: Progress,
    now_us: int,
) -> Appended | Fenced | Early:
    if is_fenced(tx, run_no, epoch):
        return Fenced()
    _, last_us = last_entry(tx, run_no)
    now_us = max(now_us, last_us)
    if due_us is not None and timer_is_early(due_us, now_us):
        return Early(now_us)
    before: int | None = tx.execute(
        "SELECT offset FROM entries INDEXED BY entries_key WHERE run = ? AND stream = ? AND key = ?",
        (run_no, WORKER_STREAM, key),
    ).get
    if before is not None:
        return Appended(before)
    append_fact(tx, run_no, kind, body=body, key=key, now_us=now_us)
    note(tx, run_no, progress, now_us=now_us)
    tx.changes.add(Change(run_no, None))
    return Appended(last_entry(tx, run_no)[0])


def note_progress(tx: Transaction, run_no: int, epoch: int, progress: Progress, *, now_us: int) -> Appended | Fenced:
    if is_fenced(tx, run_no, epoch):
        return Fenced()
    note(tx, run_no, progress, now_us=now_us)
    return Appended(last_entry(tx, run_no)[0])


def note(tx: Transaction, run_no: int, progress: Progress, *, now_us: int) -> None:
    """Moves cursors forward and records handler failures."""
    for stream_id, cursor in progress.consumed:
        tx.execute(
            "UPDATE streams SET cursor = ?1, cursor_bytes = (SELECT bytes_through FROM entries "
            "WHERE run = ?2 AND stream = streams.no AND seq = ?1) WHERE run = ?2 AND id = ?3 AND cursor < ?1 "
            "AND EXISTS (SELECT 1 FROM entries WHERE run = ?2 AND stream = streams.no AND seq = ?1)",
            (cursor, run_no, stream_id),
        )
        tx.changes.add(Change(run_no, stream_id))
    for stream_id, failure in progress.failures:
        stream = find_stream(tx, run_no, stream_id)
        if stream is not None:
            record_failures(tx, run_no, stream.no, [failure], now_us)
