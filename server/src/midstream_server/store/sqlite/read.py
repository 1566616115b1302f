"""Reads records, from a position and in bounded pieces."""

from collections.abc import Callable, Iterable
from typing import Any

import apsw

from midstream_server.domain import errors
from midstream_server.domain.record import StoredRecord
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Look, Page

Execute = Callable[..., apsw.Cursor]


def look(
    execute: Execute, run_no: int, stream_id: str, *, after_seq: int, max_records: int, max_bytes: int
) -> Look | None:
    row = execute(
        "SELECT state, streams.no, cursor, holder_epoch, "
        "(SELECT max(seq) FROM entries WHERE run = runs.no AND stream = streams.no), "
        "(SELECT max(offset) FROM entries WHERE run = runs.no) "
        "FROM runs JOIN streams ON streams.run = runs.no AND streams.id = ? WHERE runs.no = ? AND runs.id IS NOT NULL",
        (stream_id, run_no),
    ).fetchone()
    if row is None:
        return None
    state, stream_no, cursor, holder_epoch, last_seq, last_offset = row
    after_seq = max(after_seq, cursor)
    records: list[StoredRecord] = []
    if max_records > 0 and (last_seq or 0) > after_seq:
        rows = execute(
            "SELECT seq, offset, at_us, body FROM entries WHERE run = ? AND stream = ? AND seq > ? "
            "ORDER BY seq LIMIT ?",
            (run_no, stream_no, after_seq, max_records),
        )
        records = bounded((StoredRecord(stream_id, *found) for found in rows), max_bytes)
    return Look(records, cursor, last_seq or 0, holder_epoch, State(state), last_offset)


def newest(execute: Execute, namespace: str, run_id: str, stream_id: str) -> tuple[StoredRecord | None, int, int]:
    run_no = resolve(execute, namespace, run_id)
    last_offset: int = execute("SELECT max(offset) FROM entries WHERE run = ?", (run_no,)).get
    row = execute(
        "SELECT cursor, seq, offset, at_us, body FROM streams JOIN entries ON entries.run = streams.run "
        "AND entries.stream = streams.no WHERE streams.run = ? AND streams.id = ? ORDER BY seq DESC LIMIT 1",
        (run_no, stream_id),
    ).fetchone()
    if row is None or row[1] <= row[0]:
        return None, 0, last_offset
    return StoredRecord(stream_id, *row[1:]), row[1] - row[0], last_offset


def resolve(execute: Execute, namespace: str, run_id: str) -> int:
    run_no: int | None = execute("SELECT no FROM runs WHERE namespace = ? AND id = ?", (namespace, run_id)).get
    if run_no is None:
        raise errors.run_not_found(run_id)
    return run_no


def read_log(
    execute: Execute, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
) -> Page | None:
    row = execute(
        "SELECT state, (SELECT max(offset) FROM entries WHERE run = runs.no) FROM runs WHERE no = ? AND id IS NOT NULL",
        (run_no,),
    ).fetchone()
    if row is None:
        return None
    state, last_offset = row
    if stream_id is None:
        rows: Iterable[Any] = execute(
            "SELECT streams.id, seq, offset, at_us, body FROM entries JOIN streams ON streams.run = entries.run "
            "AND streams.no = entries.stream WHERE entries.run = ? AND offset > ? AND kind = ? ORDER BY offset LIMIT ?",
            (run_no, after_offset, int(EntryKind.RECORD), max_records),
        )
    else:
        rows = _of_stream(execute, run_no, stream_id, after_offset, max_records)
    records = bounded((StoredRecord(*found) for found in rows), max_bytes)
    # The state was read first: whatever it says has ended, the records read after it are complete.
    through = records[-1].offset if records else max(after_offset, last_offset)
    return Page(records, through, last_offset, State(state))


def _of_stream(execute: Execute, run_no: int, stream_id: str, after_offset: int, limit: int) -> Iterable[Any]:
    """Seqs and offsets of a stream grow together, so the first seq behind an offset is found by bisection."""
    stream_no = execute("SELECT no FROM streams WHERE run = ? AND id = ?", (run_no, stream_id)).get
    if stream_no is None:
        return ()
    low, high = 0, execute("SELECT max(seq) FROM entries WHERE run = ? AND stream = ?", (run_no, stream_no)).get or 0
    while after_offset and low < high:
        middle = (low + high + 1) // 2
        offset = execute(
            "SELECT offset FROM entries WHERE run = ? AND stream = ? AND seq = ?", (run_no, stream_no, middle)
        ).get
        if offset is None:
            return ()  # The run's retention is over: it is being deleted.
        low, high = (middle, high) if offset <= after_offset else (low, middle - 1)
    return execute(
        "SELECT ?, seq, offset, at_us, body FROM entries WHERE run = ? AND stream = ? AND seq > ? ORDER BY seq LIMIT ?",
        (stream_id, run_no, stream_no, low, limit),
    )


def bounded(records: Iterable[StoredRecord], max_bytes: int) -> list[StoredRecord]:
    """As many as fit, and at least one."""
    taken: list[StoredRecord] = []
    size = 0
    for record in records:
        size += len(record.body)
        if taken and size > max_bytes:
            break
        taken.append(record)
    return taken
