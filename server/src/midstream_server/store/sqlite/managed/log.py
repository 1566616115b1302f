"""Reads a run's log for the worker that has it."""

from collections.abc import Callable
from typing import Any, Final

import apsw

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, State
from midstream_server.store.managed import Assignment, LogPage, StoredEntry

Execute = Callable[..., apsw.Cursor]

_COLUMNS: Final = "SELECT offset, kind, at_us, body, streams.id, seq FROM"
_ALL: Final = (
    f"{_COLUMNS} entries LEFT JOIN streams ON streams.run = entries.run AND streams.no = entries.stream "
    "WHERE entries.run = ? AND offset > ? ORDER BY offset LIMIT ?"
)
_UNREAD: Final = (
    f"{_COLUMNS} streams CROSS JOIN entries INDEXED BY entries_seq ON entries.run = streams.run "
    "AND entries.stream = streams.no AND seq > replay_cursor "
    "WHERE streams.run = ? AND offset > ? AND offset < ? ORDER BY offset LIMIT ?"
)
"""Records of earlier generations that the present one gets. By stream, since the log before it may be long."""


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
    begin = 0 if all_generations else generation_offset
    rows: list[Any] = []
    if after_offset + 1 < begin:
        rows += execute(_UNREAD, (run_no, after_offset, begin, max_entries))
    if after_offset < last_offset and len(rows) < max_entries:
        rows += execute(_ALL, (run_no, max(after_offset, begin - 1), max_entries - len(rows)))
    entries: list[StoredEntry] = []
    size = 0
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
