"""Reads records, from a position and in bounded pieces."""

from midstream_server.domain import errors
from midstream_server.domain.record import StoredRecord
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.interface import Look, Page
from midstream_server.store.postgres.connections import Connection
from midstream_server.store.postgres.text import storable


def bounded(columns: str, source: str, *, order: str) -> str:
    """A query for at most $1 rows whose bodies have at most $2 bytes together, and for one row at least.

    Bodies are measured where they are: what does not fit is not sent.
    """
    names = ", ".join(column.rpartition(".")[2] for column in columns.split(", "))
    return (
        f"SELECT {names} FROM (SELECT *, row_number() OVER ordered AS number, "
        "sum(octet_length(body)) OVER ordered AS bytes_so_far FROM "
        f"(SELECT {columns} FROM {source} ORDER BY {order} LIMIT $1) AS found "
        f"WINDOW ordered AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING)) AS measured "
        f"WHERE number = 1 OR bytes_so_far <= $2 ORDER BY {order}"
    )


async def look(
    connection: Connection, run_no: int, stream_id: str, *, after_seq: int, max_records: int, max_bytes: int
) -> Look | None:
    row = await connection.fetchrow(
        "SELECT state, streams.no, cursor, holder_epoch, "
        "(SELECT max(seq) FROM entries WHERE run = runs.no AND stream = streams.no AND seq IS NOT NULL), "
        "(SELECT max(log_offset) FROM entries WHERE run = runs.no) "
        "FROM runs JOIN streams ON streams.run = runs.no AND streams.id = $2 "
        "WHERE runs.no = $1 AND runs.id IS NOT NULL",
        run_no,
        storable(stream_id),
    )
    if row is None:
        return None
    state, stream_no, cursor, holder_epoch, last_seq, last_offset = row
    after_seq = max(after_seq, cursor)
    records: list[StoredRecord] = []
    if max_records > 0 and (last_seq or 0) > after_seq:
        rows = await connection.fetch(
            bounded(
                "seq, log_offset, at_us, body",
                "entries WHERE run = $3 AND stream = $4 AND seq > $5 AND seq <= $6",
                order="seq",
            ),
            max_records,
            max_bytes,
            run_no,
            stream_no,
            after_seq,
            last_seq,
        )
        records = [StoredRecord(stream_id, *found) for found in rows]
    return Look(records, cursor, last_seq or 0, holder_epoch, State(state), last_offset)


async def newest(
    connection: Connection, namespace: str, run_id: str, stream_id: str
) -> tuple[StoredRecord | None, int, int]:
    row = await connection.fetchrow(
        "SELECT (SELECT max(log_offset) FROM entries WHERE run = runs.no), cursor, newest.* FROM runs "
        "LEFT JOIN streams ON streams.run = runs.no AND streams.id = $3 "
        "LEFT JOIN LATERAL (SELECT seq, log_offset, at_us, body FROM entries WHERE entries.run = runs.no "
        "AND entries.stream = streams.no AND seq IS NOT NULL ORDER BY seq DESC LIMIT 1) AS newest ON true "
        "WHERE runs.namespace = $1 AND runs.id = $2",
        namespace,
        storable(run_id),
        storable(stream_id),
    )
    if row is None:
        raise errors.run_not_found(run_id)
    last_offset, cursor, seq, offset, at_us, body = row
    if seq is None or seq <= cursor:
        return None, 0, last_offset
    return StoredRecord(stream_id, seq, offset, at_us, body), seq - cursor, last_offset


async def resolve(connection: Connection, namespace: str, run_id: str) -> int:
    run_no: int | None = await connection.fetchval(
        "SELECT no FROM runs WHERE namespace = $1 AND id = $2", namespace, storable(run_id)
    )
    if run_no is None:
        raise errors.run_not_found(run_id)
    return run_no


async def read_log(
    connection: Connection, run_no: int, stream_id: str | None, *, after_offset: int, max_records: int, max_bytes: int
) -> Page | None:
    row = await connection.fetchrow(
        "SELECT state, (SELECT max(log_offset) FROM entries WHERE run = runs.no), streams.no FROM runs "
        "LEFT JOIN streams ON streams.run = runs.no AND streams.id = $2 WHERE runs.no = $1 AND runs.id IS NOT NULL",
        run_no,
        None if stream_id is None else storable(stream_id),
    )
    if row is None:
        return None
    state, last_offset, stream_no = row
    records: list[StoredRecord] = []
    if last_offset > after_offset and (stream_id is None or stream_no is not None):
        position = after_offset if stream_id is None else await _seq_at(connection, run_no, stream_no, after_offset)
        which = "log_offset > $4 AND kind = $6" if stream_id is None else "stream = $6 AND seq > $4"
        rows = await connection.fetch(
            bounded(
                "streams.id, seq, log_offset, at_us, body",
                "entries JOIN streams ON streams.run = entries.run AND streams.no = entries.stream "
                f"WHERE entries.run = $3 AND {which} AND log_offset <= $5",
                order="log_offset" if stream_id is None else "seq",
            ),
            max_records,
            max_bytes,
            run_no,
            position,
            last_offset,
            int(EntryKind.RECORD) if stream_id is None else stream_no,
        )
        records = [StoredRecord(*found) for found in rows]
    # The state was read first: whatever it says has ended, the records read after it are complete.
    through = records[-1].offset if records else max(after_offset, last_offset)
    return Page(records, through, last_offset, State(state))


async def _seq_at(connection: Connection, run_no: int, stream_no: int, offset: int) -> int:
    """A stream's last seq up to an offset. They grow together, so that bisection finds it, in the database."""
    if offset == 0:
        return 0
    seq: int = await connection.fetchval(
        "WITH RECURSIVE half (low, high) AS ("
        "SELECT 0::bigint, coalesce(max(seq), 0) FROM entries WHERE run = $1 AND stream = $2 AND seq IS NOT NULL "
        "UNION ALL SELECT CASE WHEN before THEN middle ELSE low END, CASE WHEN before THEN high ELSE middle - 1 END "
        "FROM (SELECT low, high, (low + high + 1) / 2 AS middle, (SELECT log_offset <= $3 FROM entries "
        "WHERE run = $1 AND stream = $2 AND seq = (low + high + 1) / 2) AS before FROM half WHERE low < high) AS step) "
        "SELECT low FROM half WHERE low >= high LIMIT 1",
        run_no,
        stream_no,
        offset,
    )
    return seq
