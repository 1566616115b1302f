"""Reads output records, from a position and in bounded pieces, and what output streams a run has."""

from typing import Final

from midstream_server.domain.record import Direction, StoredRecord
from midstream_server.domain.run import OutputStatus, State
from midstream_server.store.interface import Page
from midstream_server.store.postgres.connections import Connection
from midstream_server.store.postgres.read import bounded
from midstream_server.store.postgres.text import storable
from midstream_server.store.postgres.transaction import Source

_COLUMNS: Final = "output_streams.id, seq, output_offset, at_us, body"
_JOINED: Final = (
    "outputs JOIN output_streams ON output_streams.run = outputs.run AND output_streams.no = outputs.stream "
    "WHERE outputs.run = $3 AND output_offset > $4 AND output_offset <= $5"
)
_OF_ALL: Final = bounded(_COLUMNS, _JOINED, order="output_offset")
_OF_ONE: Final = bounded(_COLUMNS, f"{_JOINED} AND outputs.stream = $6", order="output_offset")


async def read_outputs(
    connection: Connection, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
) -> Page | None:
    row = await connection.fetchrow(
        "SELECT state, (SELECT max(output_offset) FROM outputs WHERE run = runs.no), output_streams.no FROM runs "
        "LEFT JOIN output_streams ON output_streams.run = runs.no AND output_streams.id = $2 "
        "WHERE runs.no = $1 AND runs.id IS NOT NULL",
        run_no,
        None if stream_id is None else storable(stream_id),
    )
    if row is None:
        return None
    state, last_offset, stream_no = row[0], row[1] or 0, row[2]
    records: list[StoredRecord] = []
    if last_offset > after_offset and (stream_id is None or stream_no is not None):
        position = (max_records, max_bytes, run_no, after_offset, last_offset)
        rows = (
            await connection.fetch(_OF_ALL, *position)
            if stream_id is None
            else await connection.fetch(_OF_ONE, *position, stream_no)
        )
        records = [StoredRecord(*found) for found in rows]
    # The state was read first: whatever it says has ended, the records read after it are complete.
    through = records[-1].offset if records else max(after_offset, last_offset)
    return Page(records, through, last_offset, State(state), Direction.OUTPUT)


async def output_streams(source: Source, run_no: int) -> tuple[OutputStatus, ...]:
    """By name."""
    rows = await source.fetch("SELECT id, last_seq FROM output_streams WHERE run = $1 ORDER BY id", run_no)
    return tuple(OutputStatus(stream_id, last_seq) for stream_id, last_seq in rows)
