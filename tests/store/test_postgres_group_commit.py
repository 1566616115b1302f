"""Group commit on PostgreSQL: one transaction for many, and what becomes of it when something fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from midstream_server.domain.accept import Accepted
from midstream_server.domain.errors import Reason, Refused
from midstream_server.domain.run import Kind, State
from midstream_server.store import CommitReport
from midstream_server.store.postgres import PostgresStore
from midstream_server.store.postgres.group_commit import GroupCommit
from midstream_server.store.postgres.transaction import Transaction
from store.engines import NAMESPACE, NOW_US, PostgresEngine, append, create, draft, drafts, new_run, refusal, short
from store.managed_runs import Desks, Yard
from support.postgres import Databases, asked


@pytest.fixture
def engine(databases: Databases) -> Iterator[PostgresEngine]:
    with databases.one() as url:
        yield PostgresEngine(url)


@asynccontextmanager
async def opened(engine: PostgresEngine, **options: Any) -> AsyncIterator[PostgresStore]:
    store = await engine.open(**options)
    try:
        yield store
    finally:
        await store.close()


def group_of(store: PostgresStore) -> GroupCommit:
    return store._group


async def commit(store: PostgresStore, operation: Callable[[Transaction], Awaitable[object]]) -> object:
    return await group_of(store).submit(operation)


async def test_what_comes_together_shares_a_transaction(engine: PostgresEngine) -> None:
    reports: list[CommitReport] = []
    async with opened(engine, on_commit=reports.append) as store:
        await asyncio.gather(*(create(store, f"run{number}") for number in range(5)))
        reports.clear()
        await asyncio.gather(*(append(store, draft(), run_id=f"run{number % 5}") for number in range(200)))
        assert [report.operations for report in reports] == [200]
        assert {change.run_no for change in reports[0].changes} == {1, 2, 3, 4, 5}


async def test_statements_do_not_grow_with_the_number_of_batches(engine: PostgresEngine) -> None:
    async with opened(engine) as store:
        await asyncio.gather(*(create(store, f"run{number}") for number in range(50)))
        counted: list[str] = []
        connection = group_of(store)._connection
        assert connection is not None
        for batches in (1, 50):
            for first in (True, False):
                with connection.query_logger(lambda record: counted.append(record.query)):
                    await asyncio.gather(*(append(store, draft(), run_id=f"run{number}") for number in range(batches)))
                if first:
                    counted.clear()
            assert len(counted) <= 8, counted
            counted.clear()


async def test_an_operation_that_breaks_fails_alone(engine: PostgresEngine) -> None:
    async with opened(engine) as store:
        await create(store)

        async def broken(tx: Transaction) -> object:
            return await tx.fetchval("SELECT 1 / 0")

        results = await asyncio.gather(
            append(store, draft(b"1")), commit(store, broken), append(store, draft(b"2")), return_exceptions=True
        )
        assert [results[0], results[2]] == [[Accepted(1, 2, NOW_US)], [Accepted(2, 3, NOW_US)]]
        assert isinstance(results[1], asyncpg.DivisionByZeroError)


async def test_servers_that_lock_the_same_runs_do_not_harm_each_other(engine: PostgresEngine) -> None:
    async with opened(engine) as one, opened(engine) as two:
        names = [f"run{number}" for number in range(10)]
        for name in names:
            await create(one, name)
        stores = [one, two]
        calls = [
            append(stores[number % 2], draft(key=f"{number}"), run_id=names[number * step % 10], stream_id=f"s{step}")
            for number in range(100)
            for step in (1, 3, 7)
        ]
        results = await asyncio.gather(*calls)
        assert all(isinstance(outcome, Accepted) for outcomes in results for outcome in outcomes)
        assert sum([(await one.get_run(NAMESPACE, name)).last_offset - 1 for name in names]) == 300


async def test_servers_that_create_the_same_runs_agree(engine: PostgresEngine) -> None:
    async with opened(engine) as one, opened(engine) as two:
        names = [f"run{number}" for number in range(20)]
        calls = [one.create_run(new_run(name), now_us=NOW_US) for name in names]
        calls += [two.create_run(new_run(name), now_us=NOW_US) for name in reversed(names)]
        results = await asyncio.gather(*calls)
        assert [created for _, created in results].count(True) == 20


async def test_a_dead_lock_is_done_again(engine: PostgresEngine) -> None:
    """Two that lock in different orders, as operations that are alone may."""
    async with opened(engine) as one, opened(engine) as two:
        for name in ("a", "b"):
            await create(one, name)
        met = asyncio.Barrier(2)
        tries = 0

        def locks(first: str, second: str) -> Callable[[Transaction], Awaitable[object]]:
            async def operation(tx: Transaction) -> object:
                nonlocal tries
                tries += 1
                lock = "SELECT no FROM runs WHERE id = $1 FOR UPDATE"
                await tx.fetchval(lock, first)
                if tries <= 2:
                    await met.wait()
                return await tx.fetchval(lock, second)

            return operation

        found: list[object] = list(await asyncio.gather(commit(one, locks("a", "b")), commit(two, locks("b", "a"))))
        assert found == [2, 1]
        assert tries == 3


class Cut:
    """A connection whose next COMMIT gets no answer, and is done or not."""

    def __init__(self, connection: Any, *, committed: bool) -> None:
        self._connection = connection
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, statement: str, *arguments: object) -> object:
        if statement != "COMMIT":
            return await self._connection.execute(statement, *arguments)
        if self._committed:
            await self._connection.execute(statement)
        self._connection.terminate()
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


def cut_during_commit(store: PostgresStore, *, committed: bool) -> None:
    group: Any = group_of(store)
    group._connection = Cut(group._connection, committed=committed)


@pytest.mark.parametrize("committed", [True, False])
async def test_a_commit_without_an_answer_is_not_acknowledged(engine: PostgresEngine, committed: bool) -> None:
    reports: list[CommitReport] = []
    async with opened(engine, on_commit=reports.append) as store:
        await create(store)
        reports.clear()
        cut_during_commit(store, committed=committed)
        assert await refusal(append(store, draft(key="k"))) is Reason.STORE_UNAVAILABLE
        assert reports[0].changes, "whoever watches looks, since it may be there"
        (again,) = await append(store, draft(key="k"))
        assert isinstance(again, Accepted)
        assert (again.seq, again.deduplicated) == (1, committed)


@pytest.mark.parametrize("committed", [True, False])
async def test_a_claim_without_an_answer_is_nobodys_until_its_worker_opens_anew(
    engine: PostgresEngine, committed: bool
) -> None:
    """Else the run would be with a worker that never hears of it, for as long as that one lives."""
    desks = Desks()
    async with opened(engine, seats=desks) as store:
        yard = Yard(store, desks)
        opening = await yard.opened(credit=1)
        cut_during_commit(store, committed=committed)
        assert await refusal(create(store, kind=Kind.MANAGED)) is Reason.STORE_UNAVAILABLE
        assert (desks.vacated, desks.claims) == ([opening.worker_no], [])
        await yard.opened(credit=1)
        if not committed:
            await create(store, kind=Kind.MANAGED)
        claim = yard.claimed()
        assert (claim.run_id, claim.epoch) == ("run", 2 if committed else 1)
        assert await yard.state() is State.RUNNING


async def test_another_server_ends_a_lease_while_a_run_is_claimed_for_it(engine: PostgresEngine) -> None:
    """Either the claim is first, and the run is queued again, or the worker is seen to have gone."""
    here, there = Desks(), Desks()
    async with opened(engine, seats=here) as one, opened(engine, seats=there) as two:
        yard = Yard(one, here)
        for number in range(15):
            opening = await yard.opened(f"worker{number}", credit=3)
            run_id = f"run{number}"
            await asyncio.gather(
                create(one, run_id, kind=Kind.MANAGED), two.managed.close_worker(opening.worker_no, now_us=NOW_US)
            )
            assert await yard.state(run_id) is State.QUEUED
            here.by_no.clear()


async def test_what_is_not_text_for_postgresql_does_no_harm(engine: PostgresEngine) -> None:
    async with opened(engine) as store:
        await create(store)
        results = await asyncio.gather(
            store.get_run(NAMESPACE, "a\0b"),
            append(store, *drafts(2)),
            append(store, draft(), run_id="a\0b"),
            return_exceptions=True,
        )
        assert isinstance(results[1], list)
        assert short(results[1]) == [1, 2]
        for result in (results[0], results[2]):
            assert isinstance(result, Refused)
            assert result.reason is Reason.RUN_NOT_FOUND


async def test_acknowledged_means_on_disk_whatever_the_default(engine: PostgresEngine) -> None:
    asked(engine.url, lambda to: to.execute("ALTER ROLE postgres SET synchronous_commit = off"))
    try:
        async with opened(engine) as store:

            async def shown(tx: Transaction) -> object:
                return await tx.fetchval("SHOW synchronous_commit")

            assert await commit(store, shown) == "on"
    finally:
        asked(engine.url, lambda to: to.execute("ALTER ROLE postgres RESET synchronous_commit"))


async def test_runs_that_others_change_meanwhile_are_all_there(engine: PostgresEngine) -> None:
    """PostgreSQL looks again at rows that it has waited for, and must not lose some of them by that."""
    runs = [f"run{number}" for number in range(4)]
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with opened(engine) as store:
        for run_id in runs:
            await create(store, run_id)
        other = await asyncpg.connect(engine.url)
        try:
            await other.execute("BEGIN")
            await other.execute("UPDATE runs SET queued_us = queued_us")
            appending = asyncio.gather(*(append(store, draft(), run_id=run_id) for run_id in runs))
            while asked(engine.url, lambda connection: connection.fetchval(waits)) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await other.execute("COMMIT")
            outcomes = await appending
        finally:
            await other.close()
        assert [outcome.seq for (outcome,) in outcomes if isinstance(outcome, Accepted)] == [1] * len(runs)
