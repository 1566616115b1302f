"""Appends to a log what is no record."""

from midstream_server.domain.run import EntryKind
from midstream_server.store.sqlite.find import last_entry
from midstream_server.store.sqlite.group_commit import Transaction

WORKER_STREAM = 0
"""The stream number of entries that workers ask for; the streams of records are numbered from 1."""


def append_fact(
    tx: Transaction, run_no: int, kind: EntryKind, *, body: bytes = b"", key: str | None = None, now_us: int
) -> int:
    """Returns the entry's time. One with a key is a worker's, appended once."""
    offset, last_us = last_entry(tx, run_no)
    at_us = max(now_us, last_us)
    tx.first_appended.setdefault(run_no, offset + 1)
    tx.execute(
        "INSERT INTO entries (run, offset, kind, at_us, body, stream, key) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (run_no, offset + 1, int(kind), at_us, body, None if key is None else WORKER_STREAM, key),
    )
    return at_us
