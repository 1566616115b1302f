"""Many runs at once: copies of one, made in the database, in whatever tables the store has."""

from typing import Any

import asyncpg

_ID = "run_clone"


def clone_id(number: int) -> str:
    """Of the clones, which are numbered from 1."""
    return f"{_ID}{number}"


async def clone(connection: "asyncpg.Connection[Any]", run_id: str, count: int) -> None:
    """Copies the run with everything that is stored under its number, and has statistics made."""
    model = await connection.fetchval("SELECT no FROM runs WHERE id = $1", run_id)
    last = await connection.fetchval("SELECT max(no) FROM runs")
    await _copy(connection, "runs", "no", model, last, count, also={"id": f"'{_ID}' || g"})
    tables = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'run'"
    )
    for (table,) in tables:
        await _copy(connection, table, "run", model, last, count, also={})
    await connection.execute("SELECT setval(pg_get_serial_sequence('runs', 'no'), max(no)) FROM runs")
    await connection.execute("VACUUM ANALYZE")


async def _copy(
    connection: "asyncpg.Connection[Any]",
    table: str,
    number: str,
    model: int,
    last: int,
    count: int,
    *,
    also: dict[str, str],
) -> None:
    names = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1 "
        "AND is_generated = 'NEVER' ORDER BY ordinal_position",
        table,
    )
    columns = [name for (name,) in names]
    values = {number: f"{last} + g", **also}
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE "
        f"SELECT {', '.join(values.get(column, column) for column in columns)} "
        f"FROM {table}, generate_series(1, {count}) AS g WHERE {number} = {model}"
    )
