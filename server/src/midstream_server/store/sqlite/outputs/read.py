"""Reads output records, from a position and in bounded pieces, and what output streams a run has."""

from collections.abc import Callable, Iterable
from typing import Any

import apsw

from midstream_server.domain.record import Direction, StoredRecord
from midstream_server.domain.run import OutputStatus, State
from midstream_server.store.interface import Page
from midstream_server.store.sqlite.read import bounded

Execute = Callable[..., apsw.Cursor]


def read_outputs(
    execute: Execute, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
) -> Page | None:
    row = execute(
        "SELECT state, (SELECT max(offset) FROM outputs WHERE run = runs.no) FROM runs WHERE no = ? AND id IS NOT NULL",
        (run_no,),
    ).fetchone()
    if row is None:
        return None
    state, last_offset = row[0], row[1] or 0
    rows: Iterable[Any]
    if last_offset <= after_offset:
        rows = ()
    elif stream_id is None:
        rows = execute(
            "SELECT output_streams.id, seq, offset, at_us, body FROM outputs JOIN output_streams "
            "ON output_streams.run = outputs.run AND output_streams.no = outputs.stream "
            "WHERE outputs.run = ? AND offset > ? ORDER BY offset LIMIT ?",
            (run_no, after_offset, max_records),
        )
    else:
        rows = _of_stream(execute, run_no, stream_id, after_offset, max_records)
    records = bounded((StoredRecord(*found) for found in rows), max_bytes)
    # The state was read first: whatever it says has ended, the records read after it are complete.
    through = records[-1].offset if records else max(after_offset, last_offset)
    return Page(records, through, last_offset, State(state), Direction.OUTPUT)


def _of_stream(execute: Execute, run_no: int, stream_id: str, after_offset: int, limit: int) -> Iterable[Any]:
    """Seqs and offsets of a stream grow together, so the first seq behind an offset is found by bisection."""
    stream: Any = execute(
        "SELECT no, last_seq FROM output_streams WHERE run = ? AND id = ?", (run_no, stream_id)
    ).fetchone()
    if stream is None:
        return ()
    stream_no, high = stream
    first = execute("SELECT min(seq) FROM outputs WHERE run = ? AND stream = ?", (run_no, stream_no)).get
    if first is None:
        return ()
    low = first - 1
    while after_offset and low < high:
        middle = (low + high + 1) // 2
        offset = execute(
            "SELECT offset FROM outputs WHERE run = ? AND stream = ? AND seq = ?", (run_no, stream_no, middle)
        ).get
        # None: it has been trimmed meanwhile, as the oldest are.
        low, high = (middle, high) if offset is None or offset <= after_offset else (low, middle - 1)
    return execute(
        "SELECT ?, seq, offset, at_us, body FROM outputs WHERE run = ? AND stream = ? AND seq > ? ORDER BY seq LIMIT ?",
        (stream_id, run_no, stream_no, low, limit),
    )


def output_streams(execute: Execute, run_no: int) -> tuple[OutputStatus, ...]:
    """By name."""
    rows = execute("SELECT id, last_seq FROM output_streams WHERE run = ? ORDER BY id", (run_no,))
    return tuple(OutputStatus(stream_id, last_seq) for stream_id, last_seq in rows)
