"""The schema on PostgreSQL: made once, rolled forward from every earlier version, never touched by an older server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import pytest

from midstream_server import keys_command, migrate_command
from midstream_server.domain.limits import Limits, Periods
from midstream_server.domain.run import Kind
from midstream_server.store import DatabaseUnusable
from midstream_server.store.postgres import PostgresStore
from midstream_server.store.postgres.connections import check
from midstream_server.store.postgres.migrate import migrate, migrations
from store.engines import append, create, draft, ignore
from support.postgres import Databases, asked

T = TypeVar("T")

VERSIONS = [each.version for each in migrations()]
SCHEMA = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns "
    "WHERE table_schema = 'public' ORDER BY 1, 2"
)
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


@pytest.fixture
def url(databases: Databases) -> str:
    return databases.bare()


async def on(url: str, act: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[T]]) -> T:
    connection = await asyncpg.connect(url)
    try:
        return await act(connection)
    finally:
        await connection.close()


async def opened(url: str) -> PostgresStore:
    return await PostgresStore.open(url, limits=Limits(), periods=Periods(), on_commit=ignore)


def described(url: str) -> list[tuple[object, ...]]:
    columns = asked(url, lambda connection: connection.fetch(SCHEMA))
    return [tuple(row) for row in (*columns, *asked(url, lambda connection: connection.fetch(INDEXES)))]


def test_versions_are_without_gaps() -> None:
    assert list(range(1, len(VERSIONS) + 1)) == VERSIONS


async def test_it_is_made_once(url: str) -> None:
    assert await on(url, migrate) == [each.name for each in migrations()]
    assert await on(url, migrate) == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_earlier_schema_is_rolled_forward(url: str, databases: Databases, version: int) -> None:
    """And what was stored under it is still there."""

    async def make_earlier(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        await migrate(connection, through=version)
        await connection.execute(
            "INSERT INTO runs (namespace, id, task, kind, state, spec, digest, created_us) "
            "VALUES ('default', 'before', 'task', $1, 2, '', '', 1)",
            int(Kind.ATTACHED),
        )

    await on(url, make_earlier)
    store = await opened(url)
    await append(store, draft(), run_id="before")
    await create(store, "after")
    await store.close()
    with databases.one() as new:
        assert described(url) == described(new)


async def test_servers_that_start_together_migrate_once(url: str) -> None:
    applied = await asyncio.gather(*(on(url, migrate) for _ in range(5)))
    assert sorted(map(len, applied)) == [0, 0, 0, 0, len(VERSIONS)]


async def test_a_newer_schema_is_refused(url: str) -> None:
    await on(url, migrate)
    await on(url, lambda connection: connection.execute("UPDATE midstream_schema SET version = 999"))
    with pytest.raises(DatabaseUnusable, match=f"has schema version 999, this server knows up to {VERSIONS[-1]}"):
        await opened(url)


async def test_the_database_of_another_program_is_left_alone(url: str) -> None:
    await on(url, lambda connection: connection.execute("CREATE TABLE runs (distance integer)"))
    with pytest.raises(DatabaseUnusable, match="belongs to another program"):
        await opened(url)
    assert described(url)[0][:2] == ("runs", "distance")
    assert len(described(url)) == 1


async def test_nobody_there() -> None:
    with pytest.raises(DatabaseUnusable, match=r"cannot connect to PostgreSQL .*; check the URL"):
        await check("postgresql://postgres@127.0.0.1:1/nowhere")


def test_the_command(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate_command.main(["--store", url]) == 0
    assert capsys.readouterr().out.split() == [each.name for each in migrations()]
    assert migrate_command.main(["--store", url]) == 0
    assert capsys.readouterr().out == "the schema is the newest already\n"


@pytest.mark.parametrize(
    ("store", "code"),
    [
        ("mysql://root:secret@host/x", 2),
        ("sqlite:///midstream.db", 2),
        ("postgresql://postgres:secret@127.0.0.1:1/x", 1),
    ],
)
def test_what_the_command_refuses(store: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate_command.main(["--store", store]) == code
    assert "secret" not in capsys.readouterr().err


def test_keys_on_postgresql(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys_command.main(["create", "--store", url, "--name", "backend"]) == 0
    key_id = capsys.readouterr().out.split("_")[1]
    assert keys_command.main(["list", "--store", url]) == 0
    assert key_id in capsys.readouterr().out
    assert keys_command.main(["revoke", "--store", url, key_id]) == 0
    assert keys_command.main(["revoke", "--store", url, "unknown"]) == 1
