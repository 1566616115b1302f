"""The plans of all statements on PostgreSQL: none reads a whole table, however small the tables were."""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from midstream_server.store.postgres.connections import Connection, connect
from store.engines import PostgresEngine
from store.managed_calls import every_managed_call, every_output_call
from store.managed_runs import Desks, Yard
from store.store_calls import every_call
from support.postgres import Databases

Plans = dict[str, str]

WHOLE_TABLE = {
    "SELECT state, count(*) FROM runs GROUP BY state",
    "SELECT kind, count(*) FROM timers GROUP BY kind",
    "SELECT version FROM midstream_schema",
    "UPDATE workers SET lease_until_us = $1 WHERE lease_until_us < $1",
}
"""Figures for the metrics, which are counts of everything; what concerns all workers; and a single row."""


async def plan_of(connection: Connection, statement: str) -> str:
    """The plan for arguments that are not known yet, as the store's connections make it."""
    count = len((await connection.prepare(statement)).get_parameters())
    await connection.execute(f"PREPARE probe AS {statement}")
    arguments = f"({', '.join(['NULL'] * count)})" if count else ""
    lines = await connection.fetch(f"EXPLAIN EXECUTE probe {arguments}")
    await connection.execute("DEALLOCATE probe")
    return "\n".join(line for (line,) in lines)


@pytest.fixture
async def plans(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Plans]:
    statements: set[str] = set()

    def noting(method: Any) -> Any:
        async def noted(connection: Any, statement: str, *arguments: Any, **options: Any) -> Any:
            if re.match("SELECT|INSERT|UPDATE|DELETE|WITH", statement):
                statements.add(statement)
            return await method(connection, statement, *arguments, **options)

        return noted

    with databases.one() as url, monkeypatch.context() as patched:
        for name in ("execute", "fetch", "fetchrow", "fetchval"):
            patched.setattr(asyncpg.Connection, name, noting(getattr(asyncpg.Connection, name)))
        desks = Desks()
        store = await PostgresEngine(url).open(seats=desks)
        await every_output_call(store, desks)
        await every_managed_call(Yard(store, desks))
        await every_call(store)
        await store.close()
        patched.undo()
        connection = await connect(url)
        explained = {each: await plan_of(connection, each) for each in statements}
        await connection.close()
        yield explained


async def test_no_statement_reads_a_whole_table(plans: Plans) -> None:
    assert len(plans) > 60
    whole = {sql: plan for sql, plan in plans.items() if re.search("Seq Scan on (?!server_seed)", plan)}
    assert whole.keys() <= WHOLE_TABLE, whole


async def test_an_append_finds_the_end_of_the_log_by_its_key(plans: Plans) -> None:
    (plan,) = [plan for sql, plan in plans.items() if sql.startswith("SELECT asked.run, newest.log_offset")]
    assert "Index Scan Backward using entries_pkey on entries" in plan
    (plan,) = [plan for sql, plan in plans.items() if sql.startswith("SELECT streams.run, streams.id, streams.no")]
    assert "Index Scan Backward using entries_seq on entries" in plan
    assert "Index Only Scan Backward using entries_key on entries" in plan


async def test_what_is_due_is_found_by_its_time(plans: Plans) -> None:
    for table, index in (
        ("timers WHERE due_us", "timers_due"),
        ("operation_timers WHERE due_us", "operation_timers_due"),
        ("workers WHERE lease_until_us", "workers_lease"),
        ("timers WHERE kind IN (4, 7)", "timers_retention"),
    ):
        found = [plan for sql, plan in plans.items() if f"FROM {table}" in sql]
        assert found, table
        assert all(re.search(f"(using|on) {index}\\b", plan) for plan in found), found
