"""Appends to a log what is no record."""

from midstream_server.domain.run import EntryKind
from midstream_server.store.postgres.transaction import Transaction

WORKER_STREAM = 0
"""The stream number of entries that workers ask for; the streams of records are numbered from 1."""


async def append_fact(
    tx: Transaction, run_no: int, kind: EntryKind, *, body: bytes = b"", key: str | None = None, now_us: int
) -> int:
    """Returns the entry's time. One with a key is a worker's, appended once."""
    offset, last_us = await tx.last_entry(run_no)
    at_us = max(now_us, last_us)
    await tx.execute(
        "INSERT INTO entries (run, log_offset, kind, at_us, body, stream, key) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        run_no,
        offset + 1,
        int(kind),
        at_us,
        body,
        None if key is None else WORKER_STREAM,
        key,
    )
    tx.appended(run_no, offset + 1, at_us)
    return at_us
