"""Brings a database to the schema of this server: numbered files, each applied once, under a lock."""

from importlib import resources
from typing import NamedTuple

from midstream_server.store.postgres.connections import Connection
from midstream_server.store.unusable import DatabaseUnusable

_LOCK = 0x6D69_6473_7472_0001
"""Of PostgreSQL's advisory locks: two servers that start together migrate one after the other."""


class Migration(NamedTuple):
    version: int
    name: str
    statements: str


def migrations() -> list[Migration]:
    """All that there are, in order. A file is named like `0001_initial.sql`."""
    files = [each for each in (resources.files(__package__) / "migrations").iterdir() if each.name.endswith(".sql")]
    return [
        Migration(int(file.name.partition("_")[0]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in sorted(files, key=lambda file: file.name)
    ]


async def migrate(connection: Connection, *, through: int | None = None) -> list[str]:
    """Applies what the database lacks, in one transaction; returns the names. Raises DatabaseUnusable.

    `through` stops after that version.
    """
    known = migrations()
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        version = await _version(connection)
        if version > known[-1].version:
            raise DatabaseUnusable(
                f"the database has schema version {version}, this server knows up to {known[-1].version}; "
                "use a server at least as new as the one that migrated it"
            )
        lacking = [each for each in known if version < each.version <= (through or each.version)]
        for migration in lacking:
            await connection.execute(migration.statements)
            await connection.execute("UPDATE midstream_schema SET version = $1", migration.version)
    return [migration.name for migration in lacking]


async def _version(connection: Connection) -> int:
    if await connection.fetchval("SELECT to_regclass('midstream_schema')") is None:
        if await connection.fetchval("SELECT to_regclass('runs')") is not None:
            raise DatabaseUnusable("the database belongs to another program; choose another one, or another schema")
        await connection.execute("CREATE TABLE midstream_schema (version integer NOT NULL)")
        await connection.execute("INSERT INTO midstream_schema VALUES (0)")
    version: int = await connection.fetchval("SELECT version FROM midstream_schema")
    return version
