"""Reads a run's log for the worker that has it."""

from typing import Final

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.managed import Assignment, LogPage, StoredEntry
from midstream_server.store.postgres.connections import Connection
from midstream_server.store.postgres.read import bounded
from midstream_server.store.postgres.transaction import RunRow, Source, Transaction

_COLUMNS: Final = "log_offset, kind, at_us, body, streams.id, seq"
_ALL: Final = bounded(
    _COLUMNS,
    "entries LEFT JOIN streams ON streams.run = entries.run AND streams.no = entries.stream "
    "WHERE entries.run = $3 AND log_offset > $4 AND log_offset <= $5",
    order="log_offset",
)
_UNREAD: Final = bounded(
    _COLUMNS,
    "streams JOIN entries ON entries.run = streams.run AND entries.stream = streams.no AND seq > replay_cursor "
    "WHERE streams.run = $3 AND log_offset > $4 AND log_offset < $5",
    order="log_offset",
)
"""Records of earlier generations that the present one gets. By stream, since the log before it may be long."""


async def read_entries(
    connection: Source,
    run_no: int,
    *,
    after_offset: int,
    max_entries: int,
    max_bytes: int,
    all_generations: bool = False,
) -> LogPage | None:
    run = await connection.fetchrow(
        "SELECT task, state, epoch, generation, generation_offset, "
        "(SELECT max(log_offset) FROM entries WHERE run = runs.no) FROM runs WHERE no = $1 AND id IS NOT NULL",
        run_no,
    )
    if run is None:
        return None
    task, state, epoch, generation, generation_offset, last_offset = run
    begin = 0 if all_generations else generation_offset
    entries = await _entries(connection, run_no, begin, last_offset, after_offset, max_entries, max_bytes)
    return LogPage(entries, task, State(state), epoch, generation, last_offset)


async def first_entries(tx: Transaction, run: RunRow, *, max_entries: int, max_bytes: int) -> LogPage:
    """Of a locked run, as the transaction has left it so far: nothing is asked that it knows."""
    last_offset, _ = await tx.last_entry(run.no)
    entries = await _entries(tx, run.no, run.generation_offset, last_offset, 0, max_entries, max_bytes)
    return LogPage(entries, run.task, run.state, run.epoch, run.generation, last_offset)


async def _entries(
    connection: Source, run_no: int, begin: int, last_offset: int, after_offset: int, max_entries: int, max_bytes: int
) -> list[StoredEntry]:
    entries: list[StoredEntry] = []
    if after_offset + 1 < begin:
        rows = await connection.fetch(_UNREAD, max_entries, max_bytes, run_no, after_offset, begin)
        entries += [StoredEntry(*row) for row in rows]
    room = max_bytes - sum(len(entry.body) for entry in entries)
    if after_offset < last_offset and len(entries) < max_entries and room > 0:
        rows = await connection.fetch(
            _ALL, max_entries - len(entries), room, run_no, max(after_offset, begin - 1), last_offset
        )
        entries += [StoredEntry(*row) for row in rows]
    return [entry._replace(kind=EntryKind(entry.kind)) for entry in entries]


async def assignments(connection: Connection, run_no: int, *, limit: int) -> list[Assignment]:
    """The newest ones, oldest first."""
    rows = await connection.fetch(
        "SELECT epoch, worker_id, code_version, assigned_us, ended_us, ending FROM assignments WHERE run = $1 "
        "ORDER BY epoch DESC LIMIT $2",
        run_no,
        limit,
    )
    return [
        Assignment(epoch, worker_id, version, assigned_us, ended_us, None if ending is None else Ending(ending))
        for epoch, worker_id, version, assigned_us, ended_us, ending in reversed(rows)
    ]
