"""Bare PostgreSQL, one connection, durable: what a group commit costs when nothing else happens."""

import os
import time
from collections.abc import Sequence
from typing import Any

import asyncpg

from midstream import ulid
from midstream.v1.record_pb2 import Payload, Record, Sender

Column = list[Any]

_INSERT = (
    "INSERT INTO entries (run, log_offset, kind, at_us, body, stream, seq, key, bytes_through, payload_length) "
    "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::bytea[], $6::bigint[], "
    "$7::bigint[], $8::text[], $9::bigint[], $10::bigint[])"
)
_RUN = -1
"""No run has such a number."""


class BareEntries:
    """The store's own table of entries with its indexes, without the store's checks."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self._connection = connection
        self._last = 0

    def rows(self, count: int, payload_bytes: int) -> list[Column]:
        """The next rows of one stream, by column, with random content and time-ordered keys."""
        numbers = range(self._last + 1, self._last + count + 1)
        self._last += count
        keys = [ulid.new() for _ in numbers]
        bodies = [_body(os.urandom(payload_bytes), key) for key in keys]
        through = [number * payload_bytes for number in numbers]
        same = [[value] * count for value in (_RUN, 2, time.time_ns() // 1_000, 1, payload_bytes)]
        run, kind, at_us, stream, length = same
        return [run, list(numbers), kind, at_us, bodies, stream, list(numbers), keys, through, length]

    async def commit(self, columns: Sequence[Column]) -> None:
        """Stores the rows in one transaction and returns when they are on disk."""
        await self._connection.execute(_INSERT, *columns)


def _body(payload: bytes, key: str) -> bytes:
    """What the store keeps of a record: all but its place."""
    sender = Sender(kind=Sender.KIND_ANONYMOUS)
    return Record(payload=Payload(raw=payload), sender=sender, idempotency_key=key).SerializeToString()
