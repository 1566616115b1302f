"""The rows that one transaction adds to a run's output records."""

from typing import NamedTuple

from midstream_server.domain import errors
from midstream_server.domain.limits import Limits
from midstream_server.domain.record import Direction
from midstream_server.store.interface import Change
from midstream_server.store.sqlite.group_commit import Transaction
from midstream_server.store.sqlite.outputs.trim import trim


class Head(NamedTuple):
    """The newest output record of a run."""

    offset: int
    at_us: int
    bytes_through: int


class _Stream:
    __slots__ = ("last_seq", "no", "stored_seq")

    def __init__(self, no: int, last_seq: int) -> None:
        self.no = no
        self.last_seq = self.stored_seq = last_seq


class OutputRows:
    """Gives records their places, and writes them with `write`. Time never goes backwards along output records."""

    def __init__(self, tx: Transaction, run_no: int, *, limits: Limits, now_us: int) -> None:
        self._tx = tx
        self._run_no = run_no
        self._limits = limits
        self._streams: dict[str, _Stream] = {}
        self._rows: list[tuple[object, ...]] = []
        self.head = head_of(tx, run_no)
        self.at_us = max(now_us, self.head.at_us)
        self._offset, _, self._bytes = self.head

    def add(self, stream_id: str, body: bytes, *, key: str | None = None, payload_length: int | None = None) -> int:
        """Returns its seq. Raises Refused: TOO_MANY_STREAMS."""
        stream = self.open(stream_id)
        stream.last_seq += 1
        self._offset += 1
        self._bytes += len(body)
        row = (self._run_no, self._offset, stream.no, stream.last_seq, self.at_us, body, self._bytes)
        self._rows.append((*row, key, payload_length))
        return stream.last_seq

    def number(self, stream_id: str) -> int:
        """Of a stream that was opened."""
        return self._streams[stream_id].no

    def open(self, stream_id: str) -> _Stream:
        """Finds a stream, or makes it. Raises Refused: TOO_MANY_STREAMS."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = find_stream(self._tx, self._run_no, stream_id) or self._make(stream_id)
            self._streams[stream_id] = stream
        return stream

    def write(self) -> None:
        tx, run_no = self._tx, self._run_no
        if not self._rows:
            return
        tx.executemany(
            "INSERT INTO outputs (run, offset, stream, seq, at_us, body, bytes_through, key, payload_length) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            self._rows,
        )
        self._rows.clear()
        for stream_id, stream in self._streams.items():
            if stream.last_seq != stream.stored_seq:
                stream.stored_seq = stream.last_seq
                tx.execute(
                    "UPDATE output_streams SET last_seq = ? WHERE run = ? AND no = ?",
                    (stream.last_seq, run_no, stream.no),
                )
                tx.changes.add(Change(run_no, stream_id, Direction.OUTPUT))
        trim(tx, run_no, self._bytes - self._limits.max_output_bytes)

    def _make(self, stream_id: str) -> _Stream:
        count: int = self._tx.execute("SELECT count(*) FROM output_streams WHERE run = ?", (self._run_no,)).get
        if count >= self._limits.max_streams_per_run:
            raise errors.too_many_streams(self._limits.max_streams_per_run)
        self._tx.execute(
            "INSERT INTO output_streams (run, no, id) VALUES (?, ?, ?)", (self._run_no, count + 1, stream_id)
        )
        return _Stream(count + 1, 0)


def head_of(tx: Transaction, run_no: int) -> Head:
    row = tx.execute(
        "SELECT offset, at_us, bytes_through FROM outputs WHERE run = ? ORDER BY offset DESC LIMIT 1", (run_no,)
    ).fetchone()
    return Head(0, 0, 0) if row is None else Head(*row)


def find_stream(tx: Transaction, run_no: int, stream_id: str) -> _Stream | None:
    row = tx.execute("SELECT no, last_seq FROM output_streams WHERE run = ? AND id = ?", (run_no, stream_id)).fetchone()
    return None if row is None else _Stream(*row)
