"""Bare SQLite through apsw, one thread, durable: what a commit costs when nothing else happens."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from midstream import ulid
from midstream.v1.record_pb2 import Payload, Record, Sender
from midstream_server.store.sqlite.database import open_writer

Row = tuple[Any, ...]

_SENDER = Sender(kind=Sender.KIND_ANONYMOUS)


class BareTable:
    """A database of its own, opened exactly as the store opens its own, and one statement that fills one table."""

    def __init__(self, path: Path, *, insert: str, row: Callable[[int, bytes], Row], create: str | None = None) -> None:
        self._connection = open_writer(path)
        if create is not None:
            self._connection.execute(create)
        self._insert = insert
        self._row = row
        self._last = 0

    def rows(self, count: int, payload_bytes: int) -> list[Row]:
        """The next rows of one stream, with random content and time-ordered keys."""
        first = self._last + 1
        self._last += count
        return [self._row(number, os.urandom(payload_bytes)) for number in range(first, first + count)]

    def commit(self, rows: Sequence[Row]) -> None:
        """Stores the rows in one transaction and returns when they are on disk."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(self._insert, rows)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def one_table(path: Path) -> BareTable:
    """Payloads under a number, no other index: the outer limit."""
    return BareTable(
        path,
        create="CREATE TABLE payloads (no INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
        insert="INSERT INTO payloads VALUES (?, ?)",
        row=lambda number, payload: (number, payload),
    )


def store_schema(path: Path) -> BareTable:
    """The store's own table of entries with its indexes, without the store's checks."""
    return BareTable(
        path,
        insert="INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row=_entry,
    )


def _entry(number: int, payload: bytes) -> Row:
    key = ulid.new()
    # What the store keeps of a record: all but its place.
    body = Record(payload=Payload(raw=payload), sender=_SENDER, idempotency_key=key).SerializeToString()
    return 1, number, 1, time.time_ns() // 1_000, body, 1, number, key, number * len(payload), len(payload)
