"""Every store: queued runs are claimed by workers, each by one."""

import asyncio

import pytest

from midstream_server.domain.errors import Refused
from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, Kind, State
from midstream_server.store import Change
from midstream_server.store.managed import Assignment, Claimed, Progress, Seat, Suspended
from store.engines import NAMESPACE, NOW_US, Engine, append, create, draft, drafts, fill, new_run
from store.managed_runs import Desk, Desks, Yard, applied, fact, open_yard


async def test_a_run_waits_for_a_worker(yard: Yard) -> None:
    run = await create(yard.store, kind=Kind.MANAGED)
    assert (run.state, run.started_us) == (State.QUEUED, None)
    assert await yard.claim_queued() == 0
    assert await yard.kinds(run.no) == [EntryKind.CREATED]
    assert await yard.assignments(run.no) == []


async def test_a_worker_gets_a_queued_run(yard: Yard) -> None:
    run = await create(yard.store, kind=Kind.MANAGED)
    await yard.opened(credit=1, now_us=NOW_US + 5)
    claim = yard.claimed()
    assert claim[:-1] == (run.no, "run", "task", 1, 0, 2, None)
    run = await yard.get()
    assert (run.state, run.started_us, run.last_offset) == (State.RUNNING, NOW_US + 5, 2)
    assert await yard.assignments(run.no) == [Assignment(1, "worker", "1", NOW_US + 5, None, None)]
    created, started = await yard.log(run.no)
    assert (created.kind, created.body) == (EntryKind.CREATED, b"spec of run")
    assert (started.kind, started.at_us) == (EntryKind.STARTED, NOW_US + 5)
    assert len(fact(started).started.seed) == 16


async def test_a_claim_may_bring_the_first_entries_of_the_log(yard: Yard) -> None:
    """What it brings is where a reader begins; two records of one transaction, of which the first wakes the run."""
    claim = await yard.suspended(listening=["s"])
    await asyncio.gather(yard.send(), yard.send(), yard.send("t"))
    claim = yard.claimed()
    assert claim.last_offset in (3, 5), "as of the wake-up, or of its whole transaction"
    page = await yard.page(claim.run_no)
    assert page.last_offset == 5
    assert list(claim.entries) == page.entries[: len(claim.entries)]
    assert all(entry.offset <= claim.last_offset for entry in claim.entries)


async def test_a_claim_brings_no_more_than_a_transaction_may_take(yard: Yard) -> None:
    claim = await yard.running(credit=3)
    await fill(yard.store, 1_000)
    await yard.restart(claim, progress=Progress(1002, consumed=[("s", 10)]))
    await yard.suspend(claim, listening=["s"], progress=applied(claim, 1003))
    await yard.send()
    claim = yard.claimed()
    assert (claim.last_offset, claim.generation) == (1004, 1)
    page = await yard.page(claim.run_no)
    assert [entry.offset for entry in page.entries[:2]] == [13, 14]
    assert list(claim.entries) == page.entries[: len(claim.entries)]
    assert len(claim.entries) <= 100


async def test_a_new_run_is_claimed_in_the_transaction_that_creates_it(engine: Engine) -> None:
    commits: list[set[Change]] = []
    desks = Desks()
    store = await engine.open(seats=desks, on_commit=lambda report: commits.append(report.changes))
    yard = Yard(store, desks)
    await yard.opened(credit=1)
    commits.clear()
    new = new_run(kind=Kind.MANAGED, first_records=[("s", draft()), ("t", draft())])
    run, _ = await store.create_run(new, now_us=NOW_US)
    assert run.state is State.RUNNING
    assert len(commits) == 1
    claim = yard.claimed()
    assert claim.last_offset == 4, "what was sent at first precedes the start"
    record = EntryKind.RECORD
    assert await yard.kinds(run.no) == [EntryKind.CREATED, record, record, EntryKind.STARTED]
    await store.close()


async def test_attached_runs_are_no_workers_business(yard: Yard) -> None:
    await yard.opened(credit=5)
    run = await create(yard.store)
    assert run.state is State.RUNNING
    assert await yard.claim_queued() == 0
    assert yard.nothing_claimed()


async def test_the_oldest_run_of_all_tasks_comes_first(yard: Yard) -> None:
    yard.tasks = {"task": "1", "other": "1"}
    for number, task in enumerate(["task", "other", "task", "task", "other"]):
        await create(yard.store, f"run{number}", kind=Kind.MANAGED, task=task, now_us=NOW_US + number)
    await yard.opened(credit=4)
    assert [claim.run_id for claim in yard.desks.claims] == ["run0", "run1", "run2", "run3"]


async def test_no_more_are_claimed_than_there_is_credit_for(yard: Yard) -> None:
    for number in range(5):
        await create(yard.store, f"run{number}", kind=Kind.MANAGED)
    opened = await yard.opened(credit=2)
    assert len(yard.desks.claims) == 2
    yard.desks.by_no[opened.worker_no].credit = 9
    assert await yard.claim_queued(limit=1) == 1
    assert await yard.claim_queued() == 2
    assert await yard.claim_queued() == 0
    assert yard.desks.by_no[opened.worker_no].credit == 6


async def test_only_runs_of_the_named_tasks_and_namespace_are_claimed(yard: Yard) -> None:
    await create(yard.store, "other-task", kind=Kind.MANAGED, task="other")
    await create(yard.store, "elsewhere", kind=Kind.MANAGED, namespace="elsewhere")
    await create(yard.store, "run", kind=Kind.MANAGED)
    await yard.opened(credit=9)
    assert yard.claimed().run_id == "run"


async def test_each_run_is_claimed_once_by_one_of_two_workers(yard: Yard) -> None:
    for number in range(20):
        await create(yard.store, f"run{number}", kind=Kind.MANAGED)
    first, second = await yard.opened("first"), await yard.opened("second")
    for opened in (first, second):
        yard.desks.by_no[opened.worker_no].credit = 20
    await asyncio.gather(*(yard.claim_queued(limit=7) for _ in range(6)))
    assert sorted(claim.run_id for claim in yard.desks.claims) == sorted(f"run{number}" for number in range(20))
    assert {claim.epoch for claim in yard.desks.claims} == {1}


async def test_a_run_is_started_once_and_every_claim_has_a_new_epoch(yard: Yard) -> None:
    claim = await yard.suspended(listening=["s"])
    for epoch in range(2, 5):
        await yard.send()
        claim = yard.claimed()
        assert (claim.epoch, claim.checkpoint) == (epoch, b"checkpoint")
        assert await yard.suspend(claim, listening=["s"]) == Suspended()
        (desk,) = yard.desks.by_no.values()
        desk.credit = 1
    kinds = await yard.kinds(claim.run_no)
    assert kinds.count(EntryKind.STARTED) == 1
    assert [each.epoch for each in await yard.assignments(claim.run_no)] == [1, 2, 3, 4]
    assert {each.ending for each in await yard.assignments(claim.run_no)} == {Ending.SUSPENDED}


async def test_a_seat_is_given_back_when_the_transaction_fails(engine: Engine) -> None:
    yard = await open_yard(engine)
    opened = await yard.opened(credit=1)
    refused = draft(flaw=Refused("PAYLOAD_INVALID", "planted"))  # type: ignore[arg-type]
    creating = [
        yard.store.create_run(new_run("good", kind=Kind.MANAGED), now_us=NOW_US),
        yard.store.create_run(new_run("bad", kind=Kind.MANAGED, first_records=[("s", refused)]), now_us=NOW_US),
    ]
    (good, created), failure = await asyncio.gather(*creating, return_exceptions=True)  # type: ignore[misc]
    assert isinstance(failure, Refused)
    assert created
    assert (good.run_id, good.state) == ("good", State.RUNNING)
    assert yard.claimed().run_id == "good", "the seat was given back, and taken again"
    assert yard.desks.given_back == 1
    assert yard.desks.by_no[opened.worker_no].credit == 0
    await yard.store.close()


async def test_a_seat_is_filled_only_when_the_claim_is_on_disk(engine: Engine) -> None:
    yard = await open_yard(engine)
    await yard.opened(credit=1)
    seen: list[State] = []
    fill = yard.desks.fill

    def look_and_fill(seat: Seat, claimed: Claimed) -> None:
        seen.append(engine.stored_state("run"))
        fill(seat, claimed)

    setattr(yard.desks, fill.__name__, look_and_fill)
    await create(yard.store, kind=Kind.MANAGED)
    assert seen == [State.RUNNING]
    await yard.store.close()


async def test_a_worker_without_a_lease_gets_no_run(yard: Yard) -> None:
    """Its connection may still be there, with credit."""
    opened = await yard.opened(credit=3)
    await yard.store.managed.close_worker(opened.worker_no, now_us=NOW_US)
    assert yard.desks.vacated == [opened.worker_no]
    yard.desks.by_no[opened.worker_no] = Desk(yard.tasks, 3)
    run = await create(yard.store, kind=Kind.MANAGED)
    assert run.state is State.QUEUED
    assert yard.desks.vacated == [opened.worker_no] * 2
    await yard.opened("another", credit=1)
    assert yard.claimed().epoch == 1


@pytest.mark.parametrize("records", [0, 5])
async def test_records_that_come_before_the_first_claim_precede_the_start(yard: Yard, records: int) -> None:
    run = await create(yard.store, kind=Kind.MANAGED)
    await append(yard.store, *drafts(records)) if records else None
    await yard.opened(credit=1)
    kinds = await yard.kinds(run.no)
    assert kinds == [EntryKind.CREATED, *[EntryKind.RECORD] * records, EntryKind.STARTED]
    assert yard.claimed().last_offset == records + 2


async def test_a_run_whose_time_goes_back_is_started_when_its_log_says(yard: Yard) -> None:
    await create(yard.store, kind=Kind.MANAGED, now_us=NOW_US + 50)
    await yard.opened(credit=1, now_us=NOW_US)
    assert (await yard.get()).started_us == NOW_US + 50


async def test_the_queue_is_kept_when_the_store_is_opened_again(engine: Engine) -> None:
    yard = await open_yard(engine)
    for number in range(3):
        await create(yard.store, f"run{number}", kind=Kind.MANAGED, now_us=NOW_US + number)
    await yard.store.close()
    yard = await open_yard(engine)
    await yard.opened(credit=9)
    assert [claim.run_id for claim in yard.desks.claims] == ["run0", "run1", "run2"]
    assert await yard.store.list_runs(NAMESPACE, task=None, states=(State.QUEUED,), before_no=None, limit=9) == []
    await yard.store.close()
