"""A durable PostgreSQL of the bench's own, and servers on it."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import asyncpg

from bench.context import Context
from bench.processes import ROOT, Child, child

# The tests know how to run one without root.
sys.path.append(str(ROOT / "tests"))

from support.postgres import Postgres

T = TypeVar("T")

OPTIONS = ("shared_buffers=512MB", "max_wal_size=8GB")
"""For a database of a million runs; the rest as PostgreSQL has it, with its disk writes and its autovacuum."""


def start_postgres(context: Context) -> Postgres:
    """Until the context's cleanup."""
    return context.cleanup.enter_context(Postgres(durable=True, options=OPTIONS))


async def database(postgres: Postgres, name: str) -> str:
    """A new database's URL."""
    await ask(postgres.url(), lambda connection: connection.execute(f"CREATE DATABASE {name}"))
    return postgres.url(name)


async def ask(url: str, question: "Callable[[asyncpg.Connection[Any]], Awaitable[T]]") -> T:
    """What a connection of its own answers."""
    connection = await asyncpg.connect(url)
    try:
        return await question(connection)
    finally:
        await connection.close()


def server_on(context: Context, store: str) -> Child:
    """One more server on the database, as users start it."""
    args = ["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    return context.cleanup.enter_context(
        child("midstream_server", *args, "--store", store, ready_event="server_started")
    )
