"""SQLite: what of a log was on the disk before the transaction that claims its run may be told while that commits."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from midstream_server.domain.policy import Policy
from midstream_server.domain.run import EntryKind, Kind
from store.engines import NOW_US, SqliteEngine, append, create, draft
from store.managed_runs import Yard, applied, open_yard

DROPPING = Policy(None, 1, drop_oldest=True, backend_only=False)


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    yard = await open_yard(SqliteEngine(tmp_path))
    yield yard
    await yard.store.close()


async def new_kinds(yard: Yard) -> list[EntryKind]:
    """Of the entries that the one preparation has left out; it is about the claim that was filled then."""
    claim = yard.claimed()
    ((prepared, through_offset),) = yard.desks.prepared
    assert prepared == claim
    assert not yard.desks.withdrawn
    return [entry.kind for entry in claim.entries if entry.offset > through_offset]


async def test_a_record_is_left_out(yard: Yard) -> None:
    await yard.suspended(listening=["s"])
    await yard.send()
    assert await new_kinds(yard) == [EntryKind.RECORD]


async def test_timers_in_front_of_a_record_are_left_out(yard: Yard) -> None:
    await yard.suspended(listening=["s"], timers={1: NOW_US + 1})
    await yard.send(now_us=NOW_US + 2)
    assert await new_kinds(yard) == [EntryKind.TIMER_FIRED, EntryKind.RECORD]


async def test_a_drop_in_front_of_a_record_is_left_out(yard: Yard) -> None:
    claim = await yard.running(credit=2)
    await append(yard.store, draft(), policy=DROPPING)
    await yard.suspend(claim, listening=["s"], progress=applied(claim, 3))
    await append(yard.store, draft(), policy=DROPPING)
    assert await new_kinds(yard) == [EntryKind.RECORDS_DROPPED, EntryKind.RECORD]


async def test_a_timer_that_wakes_the_run_is_left_out(yard: Yard) -> None:
    await yard.suspended(timers={1: NOW_US + 1})
    await yard.fire(NOW_US + 1)
    assert await new_kinds(yard) == [EntryKind.TIMER_FIRED]


async def test_a_run_that_is_begun_is_not_prepared(yard: Yard) -> None:
    await create(yard.store, kind=Kind.MANAGED)
    await yard.opened(credit=1)
    assert yard.claimed().run_id == "run"
    assert not yard.desks.prepared
