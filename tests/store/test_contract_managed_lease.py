"""Every store: a worker has its runs for as long as its lease lasts."""

import pytest

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, Kind, State, TimerKind
from midstream_server.store import Demand, Fired
from midstream_server.store.managed import Appended, Fenced
from store.engines import NAMESPACE, NOW_US, Engine, create
from store.managed_runs import LEASE_US, Yard, open_yard


async def test_a_lease_runs_out(yard: Yard) -> None:
    opened = await yard.opened(lease_until_us=NOW_US + LEASE_US)
    yard.desks.by_no[opened.worker_no].credit = 2
    first, second = await yard.running("first"), await yard.running("second")
    assert await yard.store.next_due_us() == NOW_US + LEASE_US
    assert await yard.fire(NOW_US + LEASE_US - 1) == []
    fired = await yard.fire(NOW_US + LEASE_US)
    assert fired == [Fired(claim.run_no, claim.run_id, TimerKind.LEASE, None) for claim in (first, second)]
    for claim in (first, second):
        assert await yard.state(claim.run_id) is State.QUEUED
        assert await yard.append(claim) == Fenced(), "a worker that comes back says nothing any more"
        (assignment,) = await yard.assignments(claim.run_no)
        assert (assignment.ending, assignment.ended_us) == (Ending.LEASE_LOST, NOW_US + LEASE_US)
    assert not await yard.store.managed.renew_lease(opened.worker_no, lease_until_us=NOW_US + 9 * LEASE_US)
    assert yard.desks.vacated == [opened.worker_no]
    assert await yard.store.next_due_us() is None


async def test_a_run_whose_lease_ran_out_goes_to_another_worker(yard: Yard) -> None:
    lost = await yard.opened("lost", lease_until_us=NOW_US + LEASE_US)
    yard.desks.by_no[lost.worker_no].credit = 5
    old = await yard.running()
    await yard.append(old, "step")
    await yard.opened("another", credit=1)
    await yard.fire(NOW_US + LEASE_US)
    again = yard.claimed()
    assert (again.epoch, again.last_offset) == (2, 3)
    assert [each.worker_id for each in await yard.assignments(old.run_no)] == ["lost", "another"]
    assert (await yard.kinds(old.run_no)).count(EntryKind.STARTED) == 1
    assert await yard.append(old, "late") == Fenced()
    assert await yard.append(again, "step") == Appended(3), "done, by whoever did it"


async def test_a_connection_without_a_lease_does_not_get_its_own_runs_back(yard: Yard) -> None:
    """Nobody would ever take them from it again."""
    opened = await yard.opened(lease_until_us=NOW_US + LEASE_US)
    yard.desks.by_no[opened.worker_no].credit = 5
    await yard.running()
    await yard.fire(NOW_US + LEASE_US)
    assert await yard.state() is State.QUEUED
    assert yard.nothing_claimed()


async def test_a_heartbeat_renews_the_lease_of_all_runs(yard: Yard) -> None:
    opened = await yard.opened(lease_until_us=NOW_US + LEASE_US)
    yard.desks.by_no[opened.worker_no].credit = 2
    await yard.running("first")
    await yard.running("second")
    assert await yard.store.managed.renew_lease(opened.worker_no, lease_until_us=NOW_US + 2 * LEASE_US)
    assert await yard.store.next_due_us() == NOW_US + 2 * LEASE_US
    assert await yard.fire(NOW_US + 2 * LEASE_US - 1) == []
    assert len(await yard.fire(NOW_US + 2 * LEASE_US)) == 2


async def test_leases_are_extended_when_the_server_was_away(engine: Engine) -> None:
    yard = await open_yard(engine)
    opened = await yard.opened(lease_until_us=NOW_US + LEASE_US)
    yard.desks.by_no[opened.worker_no].credit = 1
    claim = await yard.running()
    await yard.opened("longer", lease_until_us=NOW_US + 90 * LEASE_US)
    await yard.store.close()
    yard = await open_yard(engine)
    await yard.store.managed.extend_leases(lease_until_us=NOW_US + 10 * LEASE_US)
    assert await yard.fire(NOW_US + 10 * LEASE_US - 1) == []
    assert await yard.append(claim) == Appended(3)
    assert len(await yard.fire(NOW_US + 10 * LEASE_US)) == 1
    assert await yard.store.next_due_us() == NOW_US + 90 * LEASE_US
    await yard.store.close()


async def test_a_worker_that_opens_again_keeps_what_it_holds(yard: Yard) -> None:
    first = await yard.opened()
    yard.desks.by_no[first.worker_no].credit = 3
    held, dropped, wrong = await yard.running("held"), await yard.running("dropped"), await yard.running("wrong")
    again = await yard.opened(held=[("held", 1), ("wrong", 9), ("unknown", 1)])
    assert again.worker_no != first.worker_no
    assert again.held == {"held": held.run_no}
    assert yard.desks.vacated == [first.worker_no], "the former connection gets no more runs"
    assert await yard.append(held) == Appended(3)
    for claim in (dropped, wrong):
        assert await yard.append(claim) == Fenced()
        assert await yard.state(claim.run_id) is State.QUEUED
        assert (await yard.assignments(claim.run_no))[0].ending is Ending.LEASE_LOST
    assert (await yard.assignments(held.run_no))[0].ending is None


async def test_a_run_on_its_way_to_a_former_connection_goes_to_the_new_one(yard: Yard) -> None:
    """It was claimed, and the connection broke before the worker heard of it."""
    former = await yard.opened()
    yard.desks.by_no[former.worker_no].credit = 1
    lost = await yard.running()
    await yard.opened(credit=1)
    again = yard.claimed()
    assert (again.run_id, again.epoch) == ("run", 2)
    assert await yard.append(lost) == Fenced()


async def test_a_former_connection_that_is_still_there_gets_nothing(yard: Yard) -> None:
    """Its seats outlive it for a moment; what was claimed with them would never be executed."""
    former = await yard.opened(credit=1)
    desk = yard.desks.by_no[former.worker_no]
    await yard.opened()
    yard.desks.by_no = {former.worker_no: desk, **yard.desks.by_no}
    await create(yard.store, kind=Kind.MANAGED)
    assert await yard.state() is State.QUEUED
    assert not await yard.store.managed.renew_lease(former.worker_no, lease_until_us=NOW_US + LEASE_US)


async def test_a_run_whose_code_a_worker_has_no_more_is_not_held(yard: Yard) -> None:
    await yard.opened(credit=1)
    claim = await yard.running()
    again = await yard.opened(tasks={"other": "1"}, held=[("run", 1)])
    assert again.held == {}
    assert await yard.append(claim) == Fenced()


async def test_a_worker_that_lost_its_lease_holds_nothing(yard: Yard) -> None:
    opened = await yard.opened(lease_until_us=NOW_US + LEASE_US)
    yard.desks.by_no[opened.worker_no].credit = 1
    await yard.running()
    await yard.fire(NOW_US + LEASE_US)
    await yard.opened("another", credit=1)
    again = await yard.opened(held=[("run", 1)])
    assert again.held == {}
    assert yard.claimed().epoch == 2
    assert (await yard.assignments(1))[-1].worker_id == "another"


async def test_what_was_suspended_or_ended_is_not_held(yard: Yard) -> None:
    await yard.opened(credit=3)
    suspended, ended = await yard.running("suspended"), await yard.running("ended")
    await yard.suspend(suspended, listening=["s"])
    await yard.finish(ended)
    again = await yard.opened(held=[("suspended", 1), ("ended", 1)])
    assert again.held == {}
    assert await yard.state("suspended") is State.SUSPENDED


async def test_closing_a_worker_ends_its_lease(yard: Yard) -> None:
    opened = await yard.opened()
    yard.desks.by_no[opened.worker_no].credit = 1
    claim = await yard.running()
    await yard.store.managed.close_worker(opened.worker_no, now_us=NOW_US)
    assert await yard.state() is State.QUEUED
    assert await yard.append(claim) == Fenced()
    assert await yard.store.next_due_us() is None


async def test_workers_of_other_namespaces_are_others(yard: Yard) -> None:
    mine = await yard.opened("same name")
    theirs = await yard.store.managed.open_worker(
        "elsewhere", "same name", {"task": "1"}, (), lease_until_us=NOW_US + LEASE_US, now_us=NOW_US
    )
    assert mine.worker_no != theirs.worker_no
    assert yard.desks.vacated == []
    await create(yard.store, namespace="elsewhere", kind=Kind.MANAGED)
    assert await yard.store.managed.claim_queued(NAMESPACE, {"task": "1"}, limit=9, now_us=NOW_US) == 0


@pytest.mark.parametrize("runs", [1, 40])
async def test_all_runs_of_a_lost_worker_are_queued(yard: Yard, runs: int) -> None:
    opened = await yard.opened(lease_until_us=NOW_US + LEASE_US)
    yard.desks.by_no[opened.worker_no].credit = runs
    for number in range(runs):
        await yard.running(f"run{number}")
    await yard.opened("another", credit=runs - 1)
    await yard.fire(NOW_US + LEASE_US)
    assert len(yard.desks.claims) == runs - 1
    assert await yard.store.demand() == Demand(queued={"task": 1}, assigned={"task": runs - 1} if runs > 1 else {})
