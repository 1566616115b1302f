"""Every store: a worker lets go of a run, and a run is asked to stop."""

import pytest

from midstream.v1.entry_pb2 import Checkpoint, Consumed, Entry, SeqRange
from midstream_server.domain.limits import Periods
from midstream_server.domain.managed import MAX_DEATHS, Ending
from midstream_server.domain.run import EntryKind, Kind, State, TimerKind
from midstream_server.store import Fired
from midstream_server.store.managed import Appended, Claimed, Done, Fenced, Progress, Superseded, Suspended
from store.engines import MUCH, NAMESPACE, NOW_US, SECOND_US, Engine, append, create, draft, fill, purge_all, short
from store.managed_runs import Yard, applied, fact, failure, open_yard

PERIODS = Periods()
GRACE_US = PERIODS.cancel_grace_us
CANCEL, ENDED = EntryKind.CANCEL_REQUESTED, EntryKind.ENDED


# Finish.


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_a_run_is_finished(yard: Yard, state: State) -> None:
    claim = await yard.running(max_duration_us=SECOND_US)
    await fill(yard.store, 3)
    progress = Progress(4, consumed=[("s", 2)], failures=[("s", failure(2))])
    assert await yard.finish(claim, state, progress=progress, now_us=NOW_US + 1) == Done(state)
    run = await yard.get()
    assert (run.state, run.outcome, run.finished_us) == (state, b"outcome", NOW_US + 1)
    assert [(stream.cursor, stream.unread) for stream in run.streams] == [(2, 1)], "the last one is unconsumed"
    assert run.handler_failure_count == 1
    last = (await yard.log(claim.run_no))[-1]
    assert fact(last).ended.state == state.value
    (assignment,) = await yard.assignments(claim.run_no)
    assert (assignment.ending, assignment.ended_us) == (Ending.FINISHED, NOW_US + 1)
    assert await yard.fire(NOW_US + 2 * SECOND_US) == [], "its deadline went with it"
    assert await yard.finish(claim, state) == Fenced()


async def test_finishing_is_never_refused_for_what_is_unapplied(yard: Yard) -> None:
    claim = await yard.running()
    await yard.send()
    await yard.cancel()
    assert await yard.finish(claim) == Done(State.COMPLETED)


async def test_only_its_worker_finishes_a_run(yard: Yard) -> None:
    claim = await yard.running()
    assert await yard.finish(claim._replace(epoch=0)) == Fenced()
    assert await yard.finish(claim._replace(epoch=2)) == Fenced()
    assert await yard.state() is State.RUNNING


# Block, offer again.


async def test_a_blocked_run_waits_for_other_code(yard: Yard) -> None:
    claim = await yard.running()
    assert await yard.block(claim, now_us=NOW_US + 3) == Done(State.BLOCKED)
    run = await yard.get()
    assert (run.state, run.outcome, run.finished_us) == (State.BLOCKED, b"both sides", None)
    assert [each.ending for each in await yard.assignments(claim.run_no)] == [Ending.BLOCKED]
    assert await yard.append(claim) == Fenced()
    await yard.send()
    await yard.opened("same code", credit=1)
    assert await yard.state() is State.BLOCKED
    await yard.opened("other code", credit=1, tasks={"task": "2"})
    again = yard.claimed()
    assert (again.epoch, again.last_offset) == (2, 3)
    assert (await yard.get()).outcome is None


async def test_each_version_is_offered_a_blocked_run_once(yard: Yard) -> None:
    claim = await yard.running()
    for version in ("1", "2", "3"):
        assert await yard.block(claim, version) == Done(State.BLOCKED)
        for old in range(1, int(version) + 1):
            await yard.opened(f"worker {old}", credit=1, tasks={"task": f"{old}"})
        assert yard.nothing_claimed()
        yard.desks.by_no.clear()
        await yard.opened("newer", credit=1, tasks={"task": f"{int(version) + 1}"})
        claim = yard.claimed()
    assert claim.epoch == 4


async def test_a_worker_with_other_code_that_is_there_already_gets_a_blocked_run(yard: Yard) -> None:
    claim = await yard.running()
    await yard.opened("other code", credit=1, tasks={"task": "2"})
    assert await yard.block(claim) == Done(State.QUEUED)
    assert yard.claimed().epoch == 2


async def test_a_busy_worker_with_other_code_gets_a_blocked_run_later(yard: Yard) -> None:
    claim = await yard.running()
    opened = await yard.opened("other code", tasks={"task": "2"})
    assert await yard.block(claim) == Done(State.QUEUED)
    assert await yard.state() is State.QUEUED
    yard.desks.by_no[opened.worker_no].credit = 1
    assert await yard.claim_queued(tasks={"task": "1"}) == 0, "this code has refused it"
    assert await yard.claim_queued(tasks={"task": "2"}) == 1


async def test_a_run_that_this_code_has_refused_does_not_keep_others_from_it(yard: Yard) -> None:
    await yard.opened("other code", tasks={"task": "2"})
    for number in range(5):
        await yard.block(await yard.running(f"refused{number}"))
    yard.desks.by_no.clear()
    await create(yard.store, "later", kind=Kind.MANAGED, now_us=NOW_US + 9)
    await yard.opened("this code", credit=2)
    assert yard.claimed().run_id == "later"


async def test_a_blocked_run_is_cancelled_after_its_grace(yard: Yard) -> None:
    claim = await yard.running()
    await yard.block(claim)
    assert (await yard.cancel()).state is State.BLOCKED
    await yard.fire(NOW_US + GRACE_US)
    assert await yard.state() is State.CANCELLED


async def test_a_blocked_run_outlives_the_store(engine: Engine) -> None:
    yard = await open_yard(engine)
    await yard.block(await yard.running())
    await yard.store.close()
    yard = await open_yard(engine)
    await yard.opened(credit=1)
    assert yard.nothing_claimed()
    await yard.opened(credit=1, tasks={"task": "2"})
    assert yard.claimed().epoch == 2
    await yard.store.close()


# Release, deaths.


async def test_a_released_run_is_queued(yard: Yard) -> None:
    claim = await yard.running()
    await yard.send()
    assert await yard.release(claim) == Done(State.QUEUED)
    assert await yard.state() is State.QUEUED
    await yard.opened("another", credit=1)
    assert yard.claimed()[3:6] == (2, 0, 3)
    endings = [each.ending for each in await yard.assignments(claim.run_no)]
    assert endings == [Ending.RELEASED, None]
    assert await yard.release(claim) == Fenced()


async def die(yard: Yard, claim: Claimed, times: int) -> Claimed:
    """So often, and each time but the last it is claimed again."""
    for _ in range(times):
        for desk in yard.desks.by_no.values():
            desk.credit = 1
        await yard.release(claim, died=True)
        if yard.nothing_claimed():
            return claim
        claim = yard.claimed()
    return claim


async def test_deaths_without_a_new_entry_block_a_run(yard: Yard) -> None:
    claim = await die(yard, await yard.running(), MAX_DEATHS - 1)
    assert claim.epoch == MAX_DEATHS
    assert await yard.state() is State.RUNNING
    await die(yard, claim, 1)
    run = await yard.get()
    assert (run.state, run.outcome) == (State.BLOCKED, b"crash loop")
    assert [each.ending for each in await yard.assignments(claim.run_no)] == [Ending.DIED] * MAX_DEATHS


async def test_a_new_entry_begins_the_count_of_deaths_anew(yard: Yard) -> None:
    claim = await yard.running()
    for number in range(3):
        claim = await die(yard, claim, MAX_DEATHS - 1)
        await yard.append(claim, f"{number}")
    assert await yard.state() is State.RUNNING


async def test_the_count_of_deaths_outlives_the_store(engine: Engine) -> None:
    yard = await open_yard(engine)
    claim = await die(yard, await yard.running(), MAX_DEATHS - 1)
    await yard.store.close()
    yard = await open_yard(engine)
    assert await yard.release(claim, died=True) == Done(State.BLOCKED)
    await yard.store.close()


async def test_other_code_begins_the_count_of_deaths_anew(yard: Yard) -> None:
    claim = await die(yard, await yard.running(), MAX_DEATHS)
    await yard.opened("other code", credit=1, tasks={"task": "2"})
    claim = await die(yard, yard.claimed(), MAX_DEATHS - 1)
    assert await yard.state() is State.RUNNING
    assert await yard.release(claim, died=True, version="2") == Done(State.BLOCKED)


# Generations.


async def test_a_new_generation_begins_with_what_is_unread(yard: Yard) -> None:
    claim = await yard.running(credit=3)
    await fill(yard.store, 4)
    await fill(yard.store, 2, stream_id="t")
    await yard.append(claim, "0.1")
    progress = Progress(9, consumed=[("s", 3), ("t", 1)])
    assert await yard.restart(claim, progress=progress, body=b"generation 1") == Done(State.RUNNING)
    page = await yard.page(claim.run_no)
    assert (page.generation, page.epoch, page.last_offset) == (1, 1, 10)
    assert [(entry.offset, entry.stream_id, entry.seq) for entry in page.entries] == [
        (6, "s", 4),
        (8, "t", 2),
        (10, None, None),
    ]
    assert page.entries[-1].body == b"generation 1"
    assert len(await yard.log(claim.run_no)) == 10, "the whole log is kept"


async def test_a_new_generation_is_told_what_was_consumed_beyond_the_cursors(yard: Yard) -> None:
    claim = await yard.running(credit=2)
    await fill(yard.store, 3)
    beyond = [SeqRange(first_seq=3, last_seq=3)]
    checkpoint = Checkpoint(applied_offset=5, consumed=[Consumed(stream_id="s", cursor=1, beyond=beyond)])
    body = Entry(restarted=Entry.Restarted(generation=1), checkpoint=checkpoint).SerializeToString()
    assert await yard.restart(claim, progress=Progress(5, consumed=[("s", 1)]), body=body) == Done(State.RUNNING)
    await yard.release(claim)
    again = yard.claimed()
    assert (again.generation, [entry.seq for entry in again.entries]) == (1, [2, 3, None])
    assert Entry.FromString(again.entries[-1].body).checkpoint == checkpoint


async def test_seqs_offsets_and_keys_go_on(yard: Yard) -> None:
    claim = await yard.running()
    await append(yard.store, draft(key="k"), draft())
    await yard.restart(claim)
    assert short(await append(yard.store, draft(key="k"), draft())) == [1, 3]
    assert await yard.append(claim, "1.1", progress=applied(claim, 5)) == Appended(7)


async def test_what_is_consumed_later_is_replayed_all_the_same(yard: Yard) -> None:
    """The present generation begins from the cursors of its beginning, however often it is claimed."""
    claim = await yard.running(credit=3)
    await fill(yard.store, 2)
    await yard.restart(claim, progress=Progress(4, consumed=[("s", 1)]))
    await yard.append(claim, "1.1", progress=Progress(5, consumed=[("s", 2)]))
    await yard.suspend(claim, listening=["s"], progress=applied(claim, 6))
    await yard.send()
    again = yard.claimed()
    assert (again.generation, again.last_offset) == (1, 7)
    assert [entry.offset for entry in (await yard.page(claim.run_no)).entries] == [4, 5, 6, 7]
    assert [entry.offset for entry in (await yard.page(claim.run_no, after=4, max_entries=2)).entries] == [5, 6]


async def test_what_an_earlier_generation_still_says_is_not_heard(yard: Yard) -> None:
    """A step of it may end while the restart is on its way; its operations have the numbers of new ones."""
    claim = await yard.running()
    await fill(yard.store, 2)
    await yard.restart(claim, progress=applied(claim, 4))
    old = Progress(4, consumed=[("s", 2)])
    assert await yard.append(claim, progress=old) == Superseded()
    assert await yard.store.managed.note_progress(claim.run_no, 1, old, now_us=NOW_US) == Superseded()
    assert await yard.suspend(claim, progress=old) == Superseded()
    assert await yard.finish(claim, progress=old) == Superseded()
    assert await yard.restart(claim, progress=old) == Superseded()
    run = await yard.get()
    assert (run.state, run.last_offset, run.streams[0].cursor) == (State.RUNNING, 5, 0)
    assert await yard.append(claim, progress=applied(claim, 5)) == Appended(6)


async def test_generations_are_numbered(yard: Yard) -> None:
    claim = await yard.running(credit=2)
    for number in range(1, 4):
        assert await yard.restart(claim, progress=applied(claim, number + 1)) == Done(State.RUNNING)
        assert (await yard.page(claim.run_no)).generation == number
    await yard.suspend(claim, listening=["s"], progress=applied(claim, 5))
    await yard.send()
    assert yard.claimed().generation == 3


async def test_a_suspension_of_an_earlier_generation_is_forgotten(yard: Yard) -> None:
    await yard.suspended(listening=["s"])
    await yard.send()
    again = yard.claimed()
    await yard.restart(again)
    await yard.release(again)
    await yard.opened("another", credit=1)
    assert yard.claimed().checkpoint is None


# Cancel and deadline.


async def test_a_run_that_waits_for_its_first_worker_is_cancelled_at_once(yard: Yard) -> None:
    run = await create(yard.store, kind=Kind.MANAGED)
    assert (await yard.cancel()).state is State.CANCELLED
    assert await yard.kinds(run.no) == [EntryKind.CREATED, CANCEL, ENDED]
    await yard.opened(credit=1)
    assert yard.nothing_claimed()


async def test_a_running_run_is_told_and_may_clean_up(yard: Yard) -> None:
    claim = await yard.running()
    assert (await yard.cancel(now_us=NOW_US + 1)).state is State.RUNNING
    assert (await yard.kinds(claim.run_no))[2:] == [CANCEL]
    assert await yard.append(claim) == Appended(4)
    assert await yard.finish(claim, State.CANCELLED) == Done(State.CANCELLED)
    assert await yard.fire(NOW_US + 2 * GRACE_US) == []


async def test_a_run_that_takes_too_long_to_clean_up_is_cancelled(yard: Yard) -> None:
    claim = await yard.running()
    await yard.cancel()
    assert await yard.fire(NOW_US + GRACE_US - 1) == []
    assert await yard.fire(NOW_US + GRACE_US) == [Fired(claim.run_no, "run", TimerKind.CANCEL_GRACE, State.CANCELLED)]
    assert await yard.finish(claim) == Fenced()
    assert await yard.append(claim) == Fenced()


async def test_a_run_that_waits_for_a_worker_again_is_told(yard: Yard) -> None:
    claim = await yard.suspended(listening=["s"])
    yard.desks.by_no.clear()
    await yard.send()
    assert (await yard.cancel()).state is State.QUEUED
    await yard.opened("another", credit=1)
    assert (await yard.kinds(claim.run_no))[2:] == [EntryKind.RECORD, CANCEL]
    assert yard.claimed().last_offset == 4


async def test_no_worker_within_the_grace(yard: Yard) -> None:
    await yard.suspended(listening=["s"])
    yard.desks.by_no.clear()
    assert (await yard.cancel()).state is State.QUEUED
    await yard.fire(NOW_US + GRACE_US)
    assert await yard.state() is State.CANCELLED
    await yard.opened("late", credit=1)
    assert yard.nothing_claimed()


async def test_a_run_may_be_suspended_while_it_cleans_up(yard: Yard) -> None:
    claim = await yard.running()
    await yard.cancel()
    assert await yard.suspend(claim, timers={1: NOW_US + 9}, progress=applied(claim, 3)) == Suspended()
    await yard.fire(NOW_US + GRACE_US)
    assert await yard.state() in (State.CANCELLED, State.QUEUED)
    await yard.fire(NOW_US + GRACE_US)
    assert await yard.state() is State.CANCELLED


async def test_a_deadline_asks_a_run_to_stop(yard: Yard) -> None:
    claim = await yard.running(max_duration_us=SECOND_US)
    deadline_us = NOW_US + SECOND_US
    assert await yard.fire(deadline_us - 1) == []
    assert await yard.fire(deadline_us) == [Fired(claim.run_no, "run", TimerKind.DEADLINE, None)]
    assert fact((await yard.log(claim.run_no))[-1]).cancel_requested.deadline_passed
    assert await yard.finish(claim, State.CANCELLED, now_us=deadline_us + 1) == Done(State.EXPIRED)


async def test_a_run_that_does_not_heed_its_deadline_expires(yard: Yard) -> None:
    await yard.running(max_duration_us=SECOND_US)
    await yard.fire(NOW_US + SECOND_US)
    await yard.fire(NOW_US + SECOND_US + GRACE_US)
    assert await yard.state() is State.EXPIRED


async def test_a_deadline_wakes_a_suspended_run(yard: Yard) -> None:
    claim = await yard.running(credit=2, max_duration_us=SECOND_US)
    await yard.suspend(claim, listening=["s"])
    await yard.fire(NOW_US + SECOND_US)
    assert yard.claimed().last_offset == 3


async def test_a_run_that_waits_for_its_first_worker_expires(yard: Yard) -> None:
    await create(yard.store, kind=Kind.MANAGED, max_duration_us=SECOND_US)
    await yard.fire(NOW_US + SECOND_US)
    assert await yard.state() is State.EXPIRED


@pytest.mark.parametrize("by_grace", [False, True])
async def test_a_run_that_somebody_cancelled_before_its_deadline_is_cancelled(yard: Yard, by_grace: bool) -> None:
    claim = await yard.running(max_duration_us=SECOND_US)
    await yard.cancel(now_us=NOW_US + 1)
    await yard.fire(NOW_US + SECOND_US)
    if by_grace:
        await yard.fire(NOW_US + 1 + GRACE_US)
    else:
        await yard.finish(claim, State.CANCELLED, now_us=NOW_US + 2 * SECOND_US)
    assert await yard.state() is State.CANCELLED


async def test_a_value_after_the_deadline_is_a_result(yard: Yard) -> None:
    claim = await yard.running(max_duration_us=SECOND_US)
    await yard.fire(NOW_US + SECOND_US)
    assert await yard.finish(claim, now_us=NOW_US + 2 * SECOND_US) == Done(State.COMPLETED)


# Deletion.


async def test_nothing_is_left_of_a_deleted_run(engine: Engine) -> None:
    yard = await open_yard(engine)
    claim = await yard.suspended(listening=["s", "t"], timers={1: NOW_US + 1})
    await yard.send()
    again = yard.claimed()
    await yard.append(again, progress=Progress(3, consumed=[("s", 1)], failures=[("s", failure(1))]))
    await yard.restart(again, progress=applied(again, 4))
    await yard.finish(again, progress=applied(again, 5))
    await purge_all(yard.store, now_us=NOW_US + 2 * PERIODS.retention_us, limit=2)
    read = yard.store.managed.read_entries
    assert await read(claim.run_no, after_offset=0, max_entries=9, max_bytes=MUCH) is None
    assert await yard.assignments(claim.run_no) == []
    assert await yard.append(again) == Fenced()
    assert await yard.store.list_runs(NAMESPACE, task=None, states=(), before_no=None, limit=9) == []
    assert await yard.store.next_due_us() is not None, "the lease of its worker"
    again_no = (await yard.running("run", credit=1)).run_no
    assert again_no > claim.run_no
    await yard.store.close()
