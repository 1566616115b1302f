"""Finds runs and streams by their names."""

from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.domain.accept import Head
from midstream_server.domain.run import Kind, State
from midstream_server.store.sqlite.group_commit import Transaction


class RunRow(NamedTuple):
    no: int
    kind: Kind
    state: State
    epoch: int


class StreamRow(NamedTuple):
    no: int
    cursor: int
    cursor_bytes: int
    holder_epoch: int
    listening_epoch: int = 0


def find_run(tx: Transaction, namespace: str, run_id: str) -> RunRow:
    row = tx.execute(
        "SELECT no, kind, state, epoch FROM runs WHERE namespace = ? AND id = ?", (namespace, run_id)
    ).fetchone()
    if row is None:
        raise errors.run_not_found(run_id)
    return RunRow(row[0], Kind(row[1]), State(row[2]), row[3])


def find_stream(tx: Transaction, run_no: int, stream_id: str) -> StreamRow | None:
    row = tx.execute(
        "SELECT no, cursor, cursor_bytes, holder_epoch, listening_epoch FROM streams WHERE run = ? AND id = ?",
        (run_no, stream_id),
    ).fetchone()
    return None if row is None else StreamRow(*row)


def make_stream(tx: Transaction, run_no: int, stream_id: str, *, max_streams: int) -> StreamRow:
    """Streams of a run are numbered from 1."""
    count: int = tx.execute("SELECT count(*) FROM streams WHERE run = ?", (run_no,)).get
    if count >= max_streams:
        raise errors.too_many_streams(max_streams)
    tx.execute("INSERT INTO streams (run, no, id) VALUES (?, ?, ?)", (run_no, count + 1, stream_id))
    return StreamRow(count + 1, 0, 0, 0)


def last_entry(tx: Transaction, run_no: int) -> tuple[int, int]:
    """Offset and time of the log's newest entry."""
    row = tx.execute(
        "SELECT offset, at_us FROM entries WHERE run = ? ORDER BY offset DESC LIMIT 1", (run_no,)
    ).fetchone()
    return (0, 0) if row is None else row


def last_record(tx: Transaction, run_no: int, stream_no: int) -> tuple[int, int]:
    """Seq and bytes_through of a stream's newest record."""
    row = tx.execute(
        "SELECT seq, bytes_through FROM entries WHERE run = ? AND stream = ? ORDER BY seq DESC LIMIT 1",
        (run_no, stream_no),
    ).fetchone()
    return (0, 0) if row is None else row


def head_of(tx: Transaction, run_no: int, stream: StreamRow) -> Head:
    offset, at_us = last_entry(tx, run_no)
    seq, bytes_through = last_record(tx, run_no, stream.no)
    return Head(offset, at_us, seq, bytes_through, stream.cursor, stream.cursor_bytes)
