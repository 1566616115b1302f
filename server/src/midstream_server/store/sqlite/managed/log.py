"""Reads a run's log for the worker that has it."""

from collections.abc import Callable
from typing import Any

import apsw

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.managed import Assignment, LogPage, StoredEntry

Execute = Callable[..., apsw.Cursor]


def read_entries(
    execute: Execute,
    run_no: int,
    *,
    after_offset: int,
    max_entries: int,
    max_bytes: int,
    all_generations: bool = False,
) -> LogPage | None:
    run: Any = execute(
        "SELECT task, state, epoch, generation, generation_offset, "
        "(SELECT max(offset) FROM entries WHERE run = runs.no) FROM runs WHERE no = ? AND id IS NOT NULL",
        (run_no,),
    ).fetchone()
    if run is None:
        return None
    task, state, epoch, generation, generation_offset, last_offset = run
    if all_generations:
        generation_offset = 0
    entries: list[StoredEntry] = []
    size = 0
    rows: Any = (
        ()
        if last_offset <= after_offset
        else execute(
            "SELECT offset, kind, at_us, body, streams.id, seq FROM entries LEFT JOIN streams "
            "ON streams.run = entries.run AND streams.no = entries.stream WHERE entries.run = ?1 AND offset > ?2 "
            "AND (offset >= ?3 OR kind = ?4 AND seq > streams.replay_cursor) ORDER BY offset LIMIT ?5",
            (run_no, after_offset, generation_offset, int(EntryKind.RECORD), max_entries),
        )
    )
    for offset, kind, at_us, body, stream_id, seq in rows:
        size += len(body)
        if entries and size > max_bytes:
            break
        entries.append(StoredEntry(offset, EntryKind(kind), at_us, body, stream_id, seq))
    return LogPage(entries, task, State(state), epoch, generation, last_offset)


def assignments(execute: Execute, run_no: int, *, limit: int) -> list[Assignment]:
    """The newest ones, oldest first."""
    rows: list[Any] = execute(
        "SELECT epoch, worker_id, code_version, assigned_us, ended_us, ending FROM assignments WHERE run = ? "
        "ORDER BY epoch DESC LIMIT ?",
        (run_no, limit),
    ).fetchall()
    return [
        Assignment(epoch, worker_id, version, assigned_us, ended_us, None if ending is None else Ending(ending))
        for epoch, worker_id, version, assigned_us, ended_us, ending in reversed(rows)
    ]
