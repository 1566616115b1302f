"""Reads a run's log for the worker that has it."""

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.managed import Assignment, LogPage, StoredEntry
from midstream_server.store.postgres.connections import Connection
from midstream_server.store.postgres.read import bounded


async def read_entries(
    connection: Connection,
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
    entries: list[StoredEntry] = []
    if last_offset > after_offset:
        rows = await connection.fetch(
            bounded(
                "log_offset, kind, at_us, body, streams.id, seq",
                "entries LEFT JOIN streams ON streams.run = entries.run AND streams.no = entries.stream "
                "WHERE entries.run = $3 AND log_offset > $4 AND log_offset <= $5 "
                "AND (log_offset >= $6 OR kind = $7 AND seq > streams.replay_cursor)",
                order="log_offset",
            ),
            max_entries,
            max_bytes,
            run_no,
            after_offset,
            last_offset,
            0 if all_generations else generation_offset,
            int(EntryKind.RECORD),
        )
        entries = [StoredEntry(*row)._replace(kind=EntryKind(row[1])) for row in rows]
    return LogPage(entries, task, State(state), epoch, generation, last_offset)


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
