"""The rows that one transaction adds to a run's output records."""

from typing import NamedTuple, Self

from midstream_server.domain import errors
from midstream_server.domain.limits import Limits
from midstream_server.domain.record import Direction
from midstream_server.store.interface import Change
from midstream_server.store.postgres.outputs.trim import trim
from midstream_server.store.postgres.transaction import Transaction


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
    """Gives records their places, and writes them with `write`. Time never goes backwards along output records.

    Made by `behind_the_last`.
    """

    def __init__(self, tx: Transaction, run_no: int, head: Head, *, limits: Limits, now_us: int) -> None:
        self._tx = tx
        self._run_no = run_no
        self._limits = limits
        self._streams: dict[str, _Stream] = {}
        self._rows: list[tuple[object, ...]] = []
        self.head = head
        self.at_us = max(now_us, self.head.at_us)
        self._offset, _, self._bytes = self.head

    @classmethod
    async def behind_the_last(cls, tx: Transaction, run_no: int, *, limits: Limits, now_us: int) -> Self:
        return cls(tx, run_no, await _head_of(tx, run_no), limits=limits, now_us=now_us)

    def add(self, stream_id: str, body: bytes, *, key: str | None = None, payload_length: int | None = None) -> int:
        """To a stream that was opened; returns the record's seq."""
        stream = self._streams[stream_id]
        stream.last_seq += 1
        self._offset += 1
        self._bytes += len(body)
        row = (self._run_no, self._offset, stream.no, stream.last_seq, self.at_us, body, self._bytes)
        self._rows.append((*row, key, payload_length))
        return stream.last_seq

    def number(self, stream_id: str) -> int:
        """Of a stream that was opened."""
        return self._streams[stream_id].no

    async def find(self, stream_id: str) -> _Stream | None:
        """Opens a stream, where there is one."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = await _find_stream(self._tx, self._run_no, stream_id)
            if stream is not None:
                self._streams[stream_id] = stream
        return stream

    async def open(self, stream_id: str) -> _Stream:
        """Opens a stream, or makes it. Raises Refused: TOO_MANY_STREAMS."""
        stream = await self.find(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = await self._make(stream_id)
        return stream

    async def write(self) -> None:
        tx, run_no = self._tx, self._run_no
        if not self._rows:
            return
        await tx.execute(
            "INSERT INTO outputs (run, output_offset, stream, seq, at_us, body, bytes_through, key, payload_length) "
            "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], "
            "$7::bigint[], $8::text[], $9::bigint[])",
            *(list(column) for column in zip(*self._rows, strict=True)),
        )
        self._rows.clear()
        for stream_id, stream in self._streams.items():
            if stream.last_seq != stream.stored_seq:
                stream.stored_seq = stream.last_seq
                await tx.execute(
                    "UPDATE output_streams SET last_seq = $1 WHERE run = $2 AND no = $3",
                    stream.last_seq,
                    run_no,
                    stream.no,
                )
                tx.changes.add(Change(run_no, stream_id, Direction.OUTPUT))
        await trim(tx, run_no, self._bytes - self._limits.max_output_bytes)

    async def _make(self, stream_id: str) -> _Stream:
        count: int = await self._tx.fetchval("SELECT count(*) FROM output_streams WHERE run = $1", self._run_no)
        if count >= self._limits.max_streams_per_run:
            raise errors.too_many_streams(self._limits.max_streams_per_run)
        await self._tx.execute(
            "INSERT INTO output_streams (run, no, id) VALUES ($1, $2, $3)", self._run_no, count + 1, stream_id
        )
        return _Stream(count + 1, 0)


async def _head_of(tx: Transaction, run_no: int) -> Head:
    row = await tx.fetchrow(
        "SELECT output_offset, at_us, bytes_through FROM outputs WHERE run = $1 ORDER BY output_offset DESC LIMIT 1",
        run_no,
    )
    return Head(0, 0, 0) if row is None else Head(*row)


async def _find_stream(tx: Transaction, run_no: int, stream_id: str) -> _Stream | None:
    row = await tx.fetchrow("SELECT no, last_seq FROM output_streams WHERE run = $1 AND id = $2", run_no, stream_id)
    return None if row is None else _Stream(*row)
