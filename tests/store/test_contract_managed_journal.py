"""Every store: what a worker asks for is appended under its epoch, once for each key, and read in pages."""

import asyncio

import pytest

from midstream_server.domain.run import EntryKind, Kind
from midstream_server.store.managed import Appended, Early, Fenced, Progress, StoredEntry
from store.engines import NAMESPACE, NOW_US, Engine, create, fill
from store.managed_runs import Yard, applied, failure, open_yard


async def test_an_entry_is_appended_where_the_log_ends(yard: Yard) -> None:
    claim = await yard.running()
    assert await yard.append(claim, "a", body=b"result", now_us=NOW_US + 1) == Appended(3)
    await yard.send()
    assert await yard.append(claim, "b", kind=EntryKind.STEP_BEGAN, body=b"begin", now_us=NOW_US + 2) == Appended(5)
    assert [(entry.offset, entry.kind, entry.at_us, entry.body) for entry in (await yard.page(claim.run_no)).entries][
        2:
    ] == [
        (3, EntryKind.STEP_ENDED, NOW_US + 1, b"result"),
        (4, EntryKind.RECORD, NOW_US + 1, b"p+envelope"),
        (5, EntryKind.STEP_BEGAN, NOW_US + 2, b"begin"),
    ]


async def test_a_key_is_appended_once(yard: Yard) -> None:
    claim = await yard.running()
    answers = await asyncio.gather(*(yard.append(claim, "a", body=b"%d" % number) for number in range(5)))
    assert answers == [Appended(3)] * 5
    await yard.send()
    assert await yard.append(claim, "a", body=b"late") == Appended(3)
    assert [entry.body for entry in await yard.log(claim.run_no)][2:] == [b"0", b"p+envelope"]


async def test_keys_of_workers_and_senders_are_apart(yard: Yard) -> None:
    claim = await yard.running()
    await fill(yard.store, 3)
    assert await yard.append(claim, "k0") == Appended(6)
    assert await yard.append(claim, "k1") == Appended(7)
    assert [stream.last_seq for stream in (await yard.get()).streams] == [3], "it is no record of any stream"


async def test_every_run_has_keys_of_its_own(yard: Yard) -> None:
    await yard.opened(credit=2)
    first, second = await yard.running("first"), await yard.running("second")
    assert [await yard.append(each, "k") for each in (first, second, first)] == [Appended(3)] * 3


@pytest.mark.parametrize("epoch", [0, 2, -1, 2**62])
async def test_another_epoch_appends_nothing(yard: Yard, epoch: int) -> None:
    claim = await yard.running()
    assert await yard.append(claim, epoch=epoch) == Fenced()
    assert await yard.append(claim._replace(run_no=99)) == Fenced()
    assert (await yard.get()).last_offset == 2


async def test_an_epoch_is_over_when_the_run_is_no_longer_running(yard: Yard) -> None:
    claim = await yard.suspended()
    assert await yard.append(claim) == Fenced()
    assert await yard.store.managed.note_progress(claim.run_no, 1, applied(claim), now_us=NOW_US) == Fenced()
    finished = await yard.running("finished")
    await yard.finish(finished)
    assert await yard.append(finished) == Fenced()


async def test_time_never_goes_backwards(yard: Yard) -> None:
    claim = await yard.running()
    await yard.append(claim, "a", now_us=NOW_US + 50)
    await yard.append(claim, "b", now_us=NOW_US + 10)
    await yard.send(now_us=NOW_US + 20)
    assert [entry.at_us for entry in await yard.log(claim.run_no)] == [NOW_US] * 2 + [NOW_US + 50] * 3


async def test_a_timer_is_refused_before_it_is_due(yard: Yard) -> None:
    claim = await yard.running()
    timer = EntryKind.TIMER_FIRED
    due_us = NOW_US + 10
    assert await yard.append(claim, kind=timer, due_us=due_us, now_us=due_us - 1) == Early(due_us - 1)
    assert (await yard.get()).last_offset == 2
    assert await yard.append(claim, kind=timer, due_us=due_us, now_us=due_us) == Appended(3)
    assert await yard.append(claim, kind=timer, due_us=due_us, now_us=due_us) == Appended(3), "once"


async def test_a_timer_is_due_by_the_logs_own_time(yard: Yard) -> None:
    claim = await yard.running()
    await yard.send(now_us=NOW_US + 10)
    answer = await yard.append(claim, kind=EntryKind.TIMER_FIRED, due_us=NOW_US + 10, now_us=NOW_US)
    assert answer == Appended(4)


# Progress.


async def test_consumption_is_reported_with_an_entry(yard: Yard) -> None:
    claim = await yard.running()
    await fill(yard.store, 3)
    await fill(yard.store, 2, stream_id="t")
    await yard.append(claim, progress=Progress(7, consumed=[("s", 2), ("t", 2), ("unknown", 1)]))
    assert [(stream.cursor, stream.unread, stream.unread_bytes) for stream in (await yard.get()).streams] == [
        (2, 1, 1),
        (2, 0, 0),
    ]
    newest, unread, _ = await yard.store.newest(NAMESPACE, "run", "s")
    assert (newest is not None and newest.seq, unread) == (3, 1)


@pytest.mark.parametrize("cursor", [0, 1, -5, 4, 2**62])
async def test_a_cursor_never_goes_back_nor_beyond_what_is_there(yard: Yard, cursor: int) -> None:
    claim = await yard.running()
    await fill(yard.store, 3)
    note = yard.store.managed.note_progress
    assert await note(claim.run_no, 1, Progress(5, consumed=[("s", 2)]), now_us=NOW_US) == Appended(5)
    await note(claim.run_no, 1, Progress(5, consumed=[("s", cursor)]), now_us=NOW_US)
    assert [stream.cursor for stream in (await yard.get()).streams] == [2]


async def test_handler_failures_are_recorded_once_though_every_replay_has_them(yard: Yard) -> None:
    claim = await yard.running()
    await fill(yard.store, 200)
    failures = [("s", failure(seq)) for seq in range(1, 151)]
    note = yard.store.managed.note_progress
    for cursor in (150, 150, 0):
        progress = Progress(202, consumed=[("s", cursor)], failures=failures)
        await note(claim.run_no, 1, progress, now_us=NOW_US)
    if_all_were_new = [*failures, ("s", failure(151)), ("unknown", failure(1))]
    await note(claim.run_no, 1, Progress(202, failures=if_all_were_new), now_us=NOW_US)
    run = await yard.get()
    assert run.handler_failure_count == 151
    assert run.handler_failures[-1] == ("s", NOW_US, b"failure 151")


# Reading.


async def test_the_log_is_read_in_pages(yard: Yard) -> None:
    claim = await yard.running()
    await fill(yard.store, 30)
    for number in range(10):
        await yard.append(claim, f"{number}")
    everything = await yard.log(claim.run_no)
    assert [entry.offset for entry in everything] == list(range(1, 43))
    paged: list[StoredEntry] = []
    sizes: list[int] = []
    while page := (await yard.page(claim.run_no, after=len(paged), max_entries=9)).entries:
        sizes.append(len(page))
        paged += page
    assert paged == everything
    assert sizes == [9, 9, 9, 9, 6]


async def test_a_page_is_bounded_by_bytes_but_holds_one_entry_at_least(yard: Yard) -> None:
    claim = await yard.running()
    for number in range(4):
        await yard.append(claim, f"{number}", body=bytes(100))
    pages = [await yard.page(claim.run_no, after=2, max_bytes=limit) for limit in (1, 199, 200, 399, 400)]
    assert [len(page.entries) for page in pages] == [1, 1, 2, 3, 4]


async def test_a_page_tells_how_the_run_stands(yard: Yard) -> None:
    claim = await yard.running()
    page = await yard.page(claim.run_no, after=2)
    assert (page.entries, page.task, page.state.name, page.epoch, page.generation, page.last_offset) == (
        *([], "task", "RUNNING"),
        *(1, 0, 2),
    )
    assert await yard.store.managed.read_entries(99, after_offset=0, max_entries=9, max_bytes=9) is None
    assert await yard.store.managed.read_log(99, after_offset=0, max_entries=9, max_bytes=9) is None
    assert (await yard.page(claim.run_no, after=2**62)).entries == []


async def test_the_newest_assignments_are_read(yard: Yard) -> None:
    claim = await yard.suspended(listening=["s"])
    for _ in range(4):
        await yard.send()
        (desk,) = yard.desks.by_no.values()
        desk.credit = 1
        await yard.suspend(yard.claimed(), listening=["s"])
    newest = await yard.store.managed.assignments(claim.run_no, limit=3)
    assert [each.epoch for each in newest] == [3, 4, 5]


async def test_everything_is_there_when_the_store_is_opened_again(engine: Engine) -> None:
    yard = await open_yard(engine)
    claim = await yard.suspended(listening=["s"])
    await yard.send()
    claim = yard.claimed()
    await yard.append(claim, "step", body=b"result", progress=Progress(3, consumed=[("s", 1)]))
    before = [
        await yard.log(claim.run_no),
        await yard.page(claim.run_no),
        await yard.assignments(claim.run_no),
        await yard.get(),
    ]
    await yard.store.close()
    yard = await open_yard(engine)
    assert before == [
        await yard.log(claim.run_no),
        await yard.page(claim.run_no),
        await yard.assignments(claim.run_no),
        await yard.get(),
    ]
    assert await yard.append(claim, "step") == Appended(4)
    assert await yard.append(claim, "another") == Appended(5)
    await yard.store.close()


async def test_a_queued_run_has_a_log_too(yard: Yard) -> None:
    run = await create(yard.store, kind=Kind.MANAGED)
    assert [entry.kind for entry in (await yard.page(run.no)).entries] == [EntryKind.CREATED]
