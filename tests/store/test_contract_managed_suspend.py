"""Every store: a run is suspended unless something would wake it, and woken by the first thing that does."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from midstream_server.domain.managed import Ending
from midstream_server.domain.run import EntryKind, State, TimerKind
from midstream_server.store import Change, Demand, Fired
from midstream_server.store.managed import Appended, Fenced, Progress, Refused, Suspended
from store.engines import NAMESPACE, NOW_US, SECOND_US, Engine, append, draft, drafts, fill, short
from store.managed_runs import Desks, Yard, applied, fact, open_yard

RECORD, TIMER, CANCEL = EntryKind.RECORD, EntryKind.TIMER_FIRED, EntryKind.CANCEL_REQUESTED
DUE_US = NOW_US + 5 * SECOND_US


def give_credit(yard: Yard) -> None:
    for desk in yard.desks.by_no.values():
        desk.credit = 1


async def test_a_run_that_has_applied_everything_is_suspended(yard: Yard) -> None:
    claim = await yard.running()
    progress = Progress(3, consumed=[("s", 1)])
    await yard.send()
    answer = await yard.suspend(claim, listening=["s", "new"], timers={4: DUE_US}, progress=progress, now_us=NOW_US + 9)
    assert answer == Suspended()
    run = await yard.get()
    assert (run.state, run.last_offset) == (State.SUSPENDED, 3)
    assert [(stream.stream_id, stream.cursor) for stream in run.streams] == [("new", 0), ("s", 1)]
    (assignment,) = await yard.assignments(claim.run_no)
    assert (assignment.ended_us, assignment.ending) == (NOW_US + 9, Ending.SUSPENDED)
    assert await yard.suspend(claim) == Fenced(), "the epoch is over"


async def refused_by_a_record(yard: Yard, claim_no: int) -> None:
    await yard.send("listened")


async def refused_by_a_step(yard: Yard, claim_no: int) -> None:
    claim = yard.desks.claims[0]
    assert isinstance(await yard.append(claim), Appended)


async def refused_by_a_cancel(yard: Yard, claim_no: int) -> None:
    await yard.cancel()


async def refused_by_a_timer(yard: Yard, claim_no: int) -> None:
    claim = yard.desks.claims[0]
    assert isinstance(await yard.append(claim, kind=TIMER, due_us=NOW_US), Appended)


async def refused_by_a_beginning(yard: Yard, claim_no: int) -> None:
    assert isinstance(await yard.append(yard.desks.claims[0], kind=EntryKind.STEP_BEGAN), Appended)


@pytest.mark.parametrize(
    "something",
    [
        refused_by_a_record,
        refused_by_a_step,
        refused_by_a_cancel,
        refused_by_a_timer,
        refused_by_a_beginning,
    ],
)
async def test_something_unapplied_keeps_a_run_warm(
    yard: Yard, something: Callable[[Yard, int], Awaitable[None]]
) -> None:
    claim = await yard.running()
    yard.desks.claims.append(claim)
    await something(yard, claim.run_no)
    await yard.send("other")
    assert await yard.suspend(claim, listening=["listened"], now_us=NOW_US + 1) == Refused(NOW_US + 1)
    run = await yard.get()
    assert run.state is State.RUNNING
    assert await yard.suspend(claim, listening=["listened"], progress=applied(claim, 3)) == Suspended()


async def test_a_record_on_a_stream_that_it_does_not_listen_to_is_no_reason(yard: Yard) -> None:
    claim = await yard.running()
    await yard.send("other")
    assert await yard.suspend(claim, listening=["listened"]) == Suspended()
    give_credit(yard)
    await yard.send("other")
    await yard.send("another")
    assert await yard.state() is State.SUSPENDED
    assert yard.nothing_claimed()
    await yard.send("listened")
    assert yard.claimed().last_offset == 6


@pytest.mark.parametrize(("now_us", "refused"), [(DUE_US - 1, False), (DUE_US, True), (DUE_US + 1, True)])
async def test_a_due_timer_keeps_a_run_warm(yard: Yard, now_us: int, refused: bool) -> None:
    claim = await yard.running()
    answer = await yard.suspend(claim, timers={1: DUE_US + 10, 2: DUE_US}, now_us=now_us)
    assert answer == (Refused(now_us) if refused else Suspended())


async def test_the_log_s_time_makes_a_timer_due(yard: Yard) -> None:
    claim = await yard.running()
    await yard.send("other", now_us=DUE_US)
    assert await yard.suspend(claim, timers={1: DUE_US}, now_us=NOW_US) == Refused(DUE_US)


async def test_a_refused_suspension_only_counts_what_was_consumed(yard: Yard) -> None:
    claim = await yard.running()
    await yard.send()
    before = await yard.get()
    progress = Progress(2, consumed=[("s", 1)])
    assert isinstance(await yard.suspend(claim, listening=["s"], timers={1: DUE_US}, progress=progress), Refused)
    after = await yard.get()
    assert [stream.cursor for stream in after.streams] == [1]
    assert replace(after, streams=before.streams) == before
    assert await yard.store.next_due_us() is not None
    assert await yard.fire(DUE_US) == []


# Waking.


async def test_a_record_wakes_in_the_transaction_that_stores_it(engine: Engine) -> None:
    commits: list[set[Change]] = []
    desks = Desks()
    yard = Yard(await engine.open(seats=desks, on_commit=lambda report: commits.append(report.changes)), desks)
    claim = await yard.suspended(listening=["s"], timers={1: DUE_US})
    commits.clear()
    await yard.send()
    assert commits == [{Change(claim.run_no, "s"), Change(claim.run_no, None)}]
    again = yard.claimed()
    assert (again.epoch, again.last_offset, again.checkpoint) == (2, 3, b"checkpoint")
    assert await yard.fire(DUE_US) == [], "its timers are the worker's again"
    await yard.store.close()


async def test_without_a_worker_it_is_queued(yard: Yard) -> None:
    claim = await yard.suspended(listening=["s"])
    yard.desks.by_no.clear()
    await yard.send()
    assert await yard.state() is State.QUEUED
    await yard.send()
    await yard.opened("another", credit=1)
    assert yard.claimed().last_offset == 4
    assert (await yard.assignments(claim.run_no))[-1].worker_id == "another"


async def test_two_sends_for_one_wait(yard: Yard) -> None:
    claim = await yard.suspended(listening=["s"])
    receipts = await asyncio.gather(append(yard.store, draft(b"1")), append(yard.store, draft(b"2")))
    assert [short(receipt) for receipt in receipts] == [[1], [2]]
    again = yard.claimed()
    assert again.epoch == 2, "it was woken once"
    assert [entry.kind for entry in (await yard.page(claim.run_no, after=2)).entries] == [RECORD, RECORD]
    progress = Progress(3, consumed=[("s", 1)])
    assert isinstance(await yard.suspend(again, listening=["s"], progress=progress), Refused), "the second is unapplied"


async def test_a_known_record_wakes_nobody(yard: Yard) -> None:
    claim = await yard.running(credit=2)
    await append(yard.store, draft(key="k"))
    await yard.suspend(claim, listening=["s"], progress=applied(claim, 3))
    assert short(await append(yard.store, draft(key="k"))) == [1]
    assert await yard.state() is State.SUSPENDED
    assert short(await append(yard.store, draft(key="k"), draft())) == [1, 2]
    assert await yard.state() is State.RUNNING


async def test_a_timer_that_is_due_precedes_the_record(yard: Yard) -> None:
    """A wait of 5 s takes no record that was sent after 8 s."""
    claim = await yard.suspended(listening=["s"], timers={3: DUE_US, 1: DUE_US, 2: DUE_US - 1, 9: DUE_US + SECOND_US})
    await yard.send(now_us=DUE_US + 3)
    entries = (await yard.page(claim.run_no, after=2)).entries
    assert [entry.kind for entry in entries] == [TIMER, TIMER, TIMER, RECORD]
    fired = [fact(entry).timer_fired for entry in entries[:3]]
    assert [timer.operation for timer in fired] == [2, 1, 3]
    assert [timer.due_time.ToMicroseconds() for timer in fired] == [DUE_US - 1, DUE_US, DUE_US]
    assert {entry.at_us for entry in entries} == {DUE_US + 3}
    assert yard.claimed().last_offset == 6


async def test_a_record_on_another_stream_lets_a_due_timer_fire(yard: Yard) -> None:
    claim = await yard.suspended(listening=["s"], timers={1: DUE_US})
    await yard.send("other", now_us=DUE_US - 1)
    assert await yard.state() is State.SUSPENDED
    await yard.send("other", now_us=DUE_US)
    assert yard.claimed().last_offset == 5
    assert await yard.kinds(claim.run_no) == [EntryKind.CREATED, EntryKind.STARTED, RECORD, TIMER, RECORD]


async def test_a_known_record_lets_a_due_timer_fire(yard: Yard) -> None:
    claim = await yard.running(credit=2)
    await append(yard.store, draft(key="k"))
    await yard.suspend(claim, timers={1: DUE_US}, progress=applied(claim, 3))
    await append(yard.store, draft(key="k"), now_us=DUE_US)
    assert yard.claimed().last_offset == 4


async def test_a_timer_wakes(yard: Yard) -> None:
    claim = await yard.suspended(timers={7: DUE_US})
    assert await yard.store.next_due_us() == DUE_US
    assert await yard.fire(DUE_US - 1) == []
    assert await yard.fire(DUE_US) == [Fired(claim.run_no, "run", TimerKind.OPERATION, None)]
    assert yard.claimed().last_offset == 3
    assert fact((await yard.log(claim.run_no))[-1]).timer_fired.operation == 7
    assert await yard.fire(DUE_US) == []


async def test_timers_outlive_the_store(engine: Engine) -> None:
    yard = await open_yard(engine)
    claim = await yard.suspended(listening=["s"], timers={7: DUE_US})
    await yard.store.close()
    yard = await open_yard(engine)
    assert await yard.store.next_due_us() == DUE_US
    assert len(await yard.fire(DUE_US)) == 1
    assert (await yard.kinds(claim.run_no))[-1] is TIMER
    await yard.store.close()


async def test_listening_outlives_the_store(engine: Engine) -> None:
    yard = await open_yard(engine)
    await yard.suspended(listening=["s"])
    await yard.store.close()
    yard = await open_yard(engine)
    await yard.send("other")
    assert await yard.state() is State.SUSPENDED
    await yard.send()
    assert await yard.state() is State.QUEUED
    await yard.store.close()


async def test_many_timers_that_are_due_wake_many_runs(yard: Yard) -> None:
    for number in range(30):
        await yard.suspended(f"run{number}", timers={1: DUE_US, 2: DUE_US})
    fired: list[Fired] = []
    while batch := await yard.store.fire_due(now_us=DUE_US, last_held_us=lambda _: None, limit=7):
        fired += batch
    assert sorted(each.run_id for each in fired) == sorted(f"run{number}" for number in range(30))
    assert (await yard.store.snapshot()).runs_by_state.get(State.SUSPENDED) is None


async def test_a_cancel_wakes_behind_due_timers(yard: Yard) -> None:
    claim = await yard.suspended(timers={1: DUE_US, 2: DUE_US + 2})
    run = await yard.cancel(now_us=DUE_US + 1)
    assert (run.state, run.cancel_us) == (State.RUNNING, DUE_US + 1)
    assert (await yard.kinds(claim.run_no))[2:] == [TIMER, CANCEL]
    assert yard.claimed().last_offset == 4
    assert await yard.cancel() == run, "one request for each run"


async def test_what_it_listened_to_counts_for_one_suspension(yard: Yard) -> None:
    await yard.suspended(listening=["first"])
    await yard.send("first")
    again = yard.claimed()
    assert await yard.suspend(again, listening=["second"], progress=applied(again)) == Suspended()
    give_credit(yard)
    await yard.send("first")
    assert await yard.state() is State.SUSPENDED
    await yard.send("second")
    assert await yard.state() is State.RUNNING


async def test_listening_needs_no_room_among_the_streams_that_senders_may_make(engine: Engine) -> None:
    yard = await open_yard(engine)
    claim = await yard.running()
    streams = [f"s{number}" for number in range(50)]
    assert await yard.suspend(claim, listening=streams) == Suspended()
    await yard.send("s49")
    assert [stream.stream_id for stream in (await yard.get()).streams] == sorted(streams)
    await yard.store.close()


@pytest.mark.parametrize("seed", range(4))
async def test_no_run_stays_suspended_with_something_to_wake_it(engine: Engine, seed: int) -> None:
    """Sends, timers, cancels and suspensions, in one transaction or in several, in every order."""
    randomness = random.Random(seed)
    yard = await open_yard(engine)
    yard.tasks = {"task": "1"}
    await yard.opened(credit=10_000)
    for number in range(30):
        run_id = f"run{number}"
        claim = await yard.running(run_id)
        due_us = NOW_US + randomness.randint(1, 4)
        calls: list[Callable[[int], Awaitable[object]]] = [
            lambda now_us, claim=claim, due_us=due_us: yard.suspend(  # type: ignore[misc]
                claim, listening=["s"], timers={1: due_us}, now_us=now_us
            ),
            lambda now_us, run_id=run_id: yard.send(run_id=run_id, now_us=now_us),  # type: ignore[misc]
            lambda now_us, run_id=run_id: yard.send("other", run_id=run_id, now_us=now_us),  # type: ignore[misc]
            lambda now_us: yard.fire(now_us),
        ]
        if randomness.random() < 0.3:
            calls.append(lambda now_us, run_id=run_id: yard.cancel(run_id, now_us=now_us))  # type: ignore[misc]
        if randomness.random() < 0.3:
            calls.append(lambda _, claim=claim: yard.append(claim))  # type: ignore[misc]
        randomness.shuffle(calls)
        together: list[Awaitable[object]] = []
        for call, now_us in zip(calls, itertools.count(NOW_US), strict=False):
            together.append(call(now_us))
            if randomness.random() < 0.5:
                await asyncio.gather(*together)
                together = []
        await asyncio.gather(*together)
        await yard.fire(NOW_US + 100)
        run = await yard.get(run_id)
        later = [entry.kind for entry in (await yard.page(run.no, after=2)).entries]
        assert run.state is not State.SUSPENDED, later
        assert later.count(TIMER) <= 1
        yard.desks.claims.clear()
    await yard.store.close()


async def test_a_long_log_is_suspended_by_what_is_new(yard: Yard) -> None:
    claim = await yard.running()
    await fill(yard.store, 1_000)
    assert short(await append(yard.store, *drafts(3), stream_id="t")) == [1, 2, 3]
    progress = Progress(1_002, consumed=[("s", 1_000)])
    assert await yard.suspend(claim, listening=["s"], progress=progress) == Suspended()
    assert [stream.unread for stream in (await yard.store.get_run(NAMESPACE, "run")).streams] == [0, 3]


async def test_a_suspended_run_wants_no_worker_until_it_is_woken(yard: Yard) -> None:
    claim = await yard.running()
    assert await yard.store.demand() == Demand(queued={}, assigned={"task": 1})
    await yard.suspend(claim, listening=["s"])
    assert await yard.store.demand() == Demand(queued={}, assigned={})
    await yard.send()
    assert await yard.store.demand() == Demand(queued={"task": 1}, assigned={})
